"""The one place where an error becomes an HTTP answer: problem details, RFC 9457.

`type` is `urn:homeport:problem:{code}`, stable like the code itself; `hint` is the operator's next step and
`trace_id` is what to look for in the log.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import Response

from appliance.core import logs
from appliance.core.errors import (
    Conflict,
    HomeportError,
    LimitExceeded,
    NotAuthorized,
    NotFound,
    Unavailable,
    UsageError,
)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2
"""What a client is told to wait when a dependency is away."""

STATUS_OF_CLASS: Final[tuple[tuple[type[HomeportError], HTTPStatus], ...]] = (
    (UsageError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (NotAuthorized, HTTPStatus.UNAUTHORIZED),
    (LimitExceeded, HTTPStatus.TOO_MANY_REQUESTS),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)
STATUS_OF_CODE: Final[dict[str, HTTPStatus]] = {
    "body_invalid": HTTPStatus.BAD_REQUEST,
    "body_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "body_too_slow": HTTPStatus.REQUEST_TIMEOUT,
    "query_invalid": HTTPStatus.BAD_REQUEST,
    "csrf_failed": HTTPStatus.FORBIDDEN,
    "forbidden": HTTPStatus.FORBIDDEN,
    "setup_code_wrong": HTTPStatus.FORBIDDEN,
    "setup_code_expired": HTTPStatus.FORBIDDEN,
    "setup_code_used": HTTPStatus.FORBIDDEN,
    "setup_code_locked": HTTPStatus.FORBIDDEN,
    "setup_code_missing": HTTPStatus.FORBIDDEN,
    "device_count": HTTPStatus.CONFLICT,
    "user_count": HTTPStatus.CONFLICT,
    "setting_size": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "disk_full": HTTPStatus.INSUFFICIENT_STORAGE,
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
}
TITLES: Final[dict[HTTPStatus, str]] = {
    HTTPStatus.BAD_REQUEST: "The request can't be read",
    HTTPStatus.UNAUTHORIZED: "Sign in first",
    HTTPStatus.FORBIDDEN: "Not allowed",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take that method",
    HTTPStatus.REQUEST_TIMEOUT: "The request took too long to arrive",
    HTTPStatus.CONFLICT: "It does not fit what is there",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "This kind of content is not taken",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The request makes no sense as it is",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Homeport failed",
    HTTPStatus.INSUFFICIENT_STORAGE: "The disk is full",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not available right now",
}


class Problem(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Problem details (RFC 9457) with Homeport's members."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""
    trace_id: str = ""


class Retryable(LimitExceeded):
    """A limit of so many in a time.

    Args:
        retry_after_s: When it is worth trying again, whole seconds, at least 1.
    """

    def __init__(self, message: str, *, hint: str, code: str, retry_after_s: int) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after_s = max(1, retry_after_s)


def status_of(error: HomeportError) -> HTTPStatus:
    """The HTTP status of an error: by its code where one is named, else by its class, else 500."""
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    for kind, status in STATUS_OF_CLASS:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem_of(error: HomeportError) -> Problem:
    """The problem details of an error."""
    status = status_of(error)
    return Problem(
        type=f"urn:homeport:problem:{error.code}",
        title=TITLES[status],
        status=int(status),
        detail=error.message,
        code=error.code,
        hint=error.hint,
        trace_id=logs.current_trace_id() or "",
    )


def response_of(error: HomeportError) -> Response:
    """The whole answer, with Retry-After where waiting helps (RFC 9110 §10.2.3)."""
    problem = problem_of(error)
    headers = {"cache-control": "no-store"}
    if isinstance(error, Retryable):
        headers["retry-after"] = str(error.retry_after_s)
    elif problem.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        headers["retry-after"] = str(RETRY_AFTER_S)
    return Response(
        msgspec.json.encode(problem), status_code=problem.status, media_type=MEDIA_TYPE, headers=headers
    )
