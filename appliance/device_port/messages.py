"""A request as a route's handler sees it, and its answer. Must not know: sockets, TLS, how HTTP is written."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from cryptography import x509

from appliance.core.errors import (
    Conflict,
    HomeportError,
    LimitExceeded,
    NotAuthorized,
    NotFound,
    Unavailable,
    UsageError,
)
from appliance.core.limits import DEVICE_PORT_WAIT_S

TEXT: Final = "text/plain; charset=utf-8"
_RETRY_AFTER_S: Final = {
    HTTPStatus.ACCEPTED: DEVICE_PORT_WAIT_S,
    HTTPStatus.TOO_MANY_REQUESTS: 60,
    HTTPStatus.SERVICE_UNAVAILABLE: 5,
}
"""What a device is told to wait: for adoption, for its turn, for something that is away for now."""
_RETRY_AFTER_S_OF_CODE: Final = {"delivery_paused": 60}
"""A person has paused it: that is not over in a moment."""
_STATUS_OF_CODE: Final = {
    # Accepted, and not decided yet (RFC 7030 §4.2.3): the device asks again after a while.
    "waiting_for_adoption": HTTPStatus.ACCEPTED,
    "credentials_missing": HTTPStatus.UNAUTHORIZED,
    "bad_credentials": HTTPStatus.UNAUTHORIZED,
    "body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "body_too_slow": HTTPStatus.REQUEST_TIMEOUT,
    "csr_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "content_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "device_unknown": HTTPStatus.FORBIDDEN,
    "disk_full": HTTPStatus.INSUFFICIENT_STORAGE,
}
_STATUS_OF_CLASS: Final[tuple[tuple[type[HomeportError], HTTPStatus], ...]] = (
    (UsageError, HTTPStatus.BAD_REQUEST),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (NotAuthorized, HTTPStatus.FORBIDDEN),
    (LimitExceeded, HTTPStatus.TOO_MANY_REQUESTS),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)
_NAME: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What came.

    Attributes:
        path: Without its query, as it was sent.
        query: What follows its question mark, as it was sent; "" for none.
        names: Those of the route's path.
        headers: By their name in small letters; a repeated one has the last value.
        address: The peer's IP address.
        certificate: That the peer showed and TLS verified against the site's authority; None without one.
    """

    method: str
    path: str
    query: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    address: str = ""
    certificate: x509.Certificate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What goes back; the length is added.

    Attributes:
        pieces: The body where it is not at hand as a whole, after `body`, which is empty then. Whoever sends it closes it. When it ends before
            `length_bytes`, or fails, the connection is closed, by which the peer sees that something is missing.
        length_bytes: Of all pieces together.
    """

    status: HTTPStatus = HTTPStatus.OK
    body: bytes = b""
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()
    pieces: AsyncGenerator[bytes, None] | None = None
    length_bytes: int = 0


Handler = Callable[[Request], Awaitable[Response]]
"""Raises HomeportError, which becomes an answer in `error_response`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An address of this port.

    Attributes:
        name: For statistics.
        path: With {names}, each for one segment.
        body_bytes_max: Of a request; 0 for one without a body.
    """

    name: str
    method: str
    path: str
    handler: Handler
    body_bytes_max: int = 0


class TooOften(LimitExceeded):
    """`rate_limited`: a request over the rate of its address, its device, or all.

    Args:
        retry_after_s: When the next one is let in, whole seconds.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            "Requests come too often.", hint=f"Ask again in {retry_after_s} s.", code="rate_limited"
        )
        self.retry_after_s = retry_after_s


class Routes:
    """Finds the route of a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(re.compile(_pattern(route.path)), route) for route in routes]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route, and the names in its path. HEAD is taken where GET is.

        Raises:
            NotFound: `no_such_address`. UsageError: `method_not_allowed`.
        """
        wanted = "GET" if method == "HEAD" else method
        others = []
        for pattern, route in self._routes:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            if route.method == wanted:
                return route, found.groupdict()
            others.append(route.method)
        if others:
            raise UsageError(
                f"This address does not take {method[:20]}.",
                hint=f"It takes {', '.join(others)}.",
                code="method_not_allowed",
            )
        raise NotFound(
            "Nothing is at this address.",
            hint="This port is for devices; people use the pages on another one.",
            code="no_such_address",
        )


def error_response(error: HomeportError) -> Response:
    """The answer that an error is: its message and hint as text (RFC 7030 §4.2.3), waiting times where waiting helps."""
    status = _status_of(error)
    headers = [("cache-control", "no-store"), ("homeport-code", error.code)]
    if status is HTTPStatus.UNAUTHORIZED:
        headers.append(("www-authenticate", 'Basic realm="Homeport devices", charset="UTF-8"'))
    if status in _RETRY_AFTER_S:
        usual_s = _RETRY_AFTER_S_OF_CODE.get(error.code, _RETRY_AFTER_S[status])
        wait_s = error.retry_after_s if isinstance(error, TooOften) else usual_s
        headers.append(("retry-after", str(wait_s)))
    return Response(status=status, body=f"{error}\n".encode(errors="replace"), headers=tuple(headers))


def _status_of(error: HomeportError) -> HTTPStatus:
    if error.code in _STATUS_OF_CODE:
        return _STATUS_OF_CODE[error.code]
    for kind, status in _STATUS_OF_CLASS:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def _pattern(path: str) -> str:
    parts = _NAME.split(path)
    return "".join(
        f"(?P<{part}>[^/]{{1,256}})" if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )
