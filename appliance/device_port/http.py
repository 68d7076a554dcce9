"""HTTP/1.1 on one connection: requests in, the routes' answers out, each step with a deadline and a limit.

Source: RFC 9112; h11 does the parsing. A body is read only after its route was found, and no further than that route
allows; a client that is answered before it has sent everything is disconnected.
"""

from __future__ import annotations

from contextlib import aclosing
from http import HTTPStatus
from typing import Final

import h11
import trio
from cryptography import x509

from appliance.core import logs
from appliance.core.errors import HomeportError, LimitExceeded, Unavailable, UsageError
from appliance.core.limits import (
    DEVICE_PORT_ANSWER_TIMEOUT_MS,
    DEVICE_PORT_BODY_TIMEOUT_MS,
    DEVICE_PORT_DISCARD_BYTES_MAX,
    DEVICE_PORT_DISCARD_TIMEOUT_MS,
    DEVICE_PORT_HEADER_BYTES_MAX,
    DEVICE_PORT_HEADER_TIMEOUT_MS,
    DEVICE_PORT_REQUEST_COUNT_MAX,
    DEVICE_PORT_SEND_TIMEOUT_MS,
)
from appliance.device_port.messages import Request, Response, Route, Routes, TooOften, error_response
from appliance.device_port.statistics import Tally
from appliance.identity.device_rate_limit import DeviceRateLimit

RECEIVE_BYTES: Final = 16 * 1024
_log = logs.get(__name__)


class HttpConnection:
    """One connection, after TLS.

    Args:
        stream: Closed by the caller.
        address: The peer's.
        certificate: That it showed.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        routes: Routes,
        tally: Tally,
        rate: DeviceRateLimit,
        *,
        address: str,
        certificate: x509.Certificate | None,
    ) -> None:
        self._stream = stream
        self._routes = routes
        self._tally = tally
        self._rate = rate
        self._address = address
        self._certificate = certificate
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=DEVICE_PORT_HEADER_BYTES_MAX)

    async def serve(self) -> None:
        """Answer requests until the peer or a limit ends it.

        Raises:
            trio.BrokenResourceError: the connection broke. trio.TooSlowError: the peer doesn't take the answer.
        """
        try:
            for _ in range(DEVICE_PORT_REQUEST_COUNT_MAX):
                event: object = None
                with trio.move_on_after(DEVICE_PORT_HEADER_TIMEOUT_MS / 1000):
                    event = await self._next_event()
                if not isinstance(event, h11.Request):
                    if event is None:
                        self._tally.refused("idle")
                    return
                await self._answer(event)
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    await self._discard()
                    return
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            self._tally.refused("http_invalid")
            _log.info("a device's request is no HTTP", address=self._address, error=str(error))
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self._send(
                    Response(status=HTTPStatus(error.error_status_hint), body=f"{error}\n".encode())
                )
                await self._discard()

    async def _answer(self, event: h11.Request) -> None:
        with logs.trace():
            await self._answer_traced(event)

    async def _answer_traced(self, event: h11.Request) -> None:
        name = "none"
        try:
            if wait_s := self._rate.take_address(self._address):
                raise TooOften(wait_s)
            method = event.method.decode("ascii")
            path, _, query = event.target.decode("ascii", "replace").partition("?")
            route, names = self._routes.find(method, path)
            name = route.name
            headers = {key.decode("ascii"): value.decode("latin-1") for key, value in event.headers}
            request = Request(
                method=method,
                path=path,
                query=query,
                names=names,
                headers=headers,
                body=await self._body_of(route, event),
                address=self._address,
                certificate=self._certificate,
            )
            response = await self._ask(route, request)
        except HomeportError as error:
            response = error_response(error)
            if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                _log.warning("a device's request failed", route=name, code=error.code, error=error.message)
        self._tally.answered(name, response.status)
        if response.pieces is None:
            await self._send(response, without_body=event.method == b"HEAD")
            return
        async with aclosing(response.pieces):
            await self._send(response, without_body=event.method == b"HEAD")

    async def _ask(self, route: Route, request: Request) -> Response:
        with trio.move_on_after(DEVICE_PORT_ANSWER_TIMEOUT_MS / 1000):
            return await route.handler(request)
        raise Unavailable(
            "The answer took too long to make.", hint="Ask again later.", code="answer_too_slow"
        )

    async def _body_of(self, route: Route, event: h11.Request) -> bytes:
        for name, value in event.headers:
            if name == b"content-length" and int(value) > route.body_bytes_max:
                raise _too_large(route)
        received = bytearray()
        with trio.move_on_after(DEVICE_PORT_BODY_TIMEOUT_MS / 1000):
            if self._http.they_are_waiting_for_100_continue:
                await self._send_event(h11.InformationalResponse(status_code=100, headers=[]))
            while isinstance(part := await self._next_event(), h11.Data):
                received += part.data
                if len(received) > route.body_bytes_max:
                    raise _too_large(route)
            return bytes(received)
        raise UsageError(
            f"The request's body did not arrive within {DEVICE_PORT_BODY_TIMEOUT_MS // 1000} s.",
            hint="Send it again over a better link.",
            code="body_too_slow",
        )

    async def _next_event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(bytes(await self._stream.receive_some(RECEIVE_BYTES)))

    async def _send(self, response: Response, *, without_body: bool = False) -> None:
        headers = [
            ("server", "Homeport"),
            ("content-type", response.content_type),
            ("content-length", str(len(response.body) + response.length_bytes)),
            ("x-content-type-options", "nosniff"),
            *response.headers,
        ]
        if self._http.their_state is not h11.DONE:
            headers.append(("connection", "close"))
        await self._send_event(h11.Response(status_code=int(response.status), headers=headers))
        if response.body and not without_body:
            await self._send_event(h11.Data(data=response.body))
        if response.pieces is None or without_body or await self._send_pieces(response):
            await self._send_event(h11.EndOfMessage())

    async def _send_pieces(self, response: Response) -> bool:
        """Send a body as it comes; False where it ended too early: then the connection is closed in the middle of the answer."""
        assert response.pieces is not None
        sent_bytes = 0
        try:
            async for piece in response.pieces:
                await self._send_event(h11.Data(data=piece))
                sent_bytes += len(piece)
        except HomeportError as error:
            self._tally.refused("body_failed")
            _log.info(
                "an answer ended in its middle", address=self._address, code=error.code, error=str(error)
            )
        return sent_bytes == response.length_bytes

    async def _send_event(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            with trio.fail_after(DEVICE_PORT_SEND_TIMEOUT_MS / 1000):
                await self._stream.send_all(data)

    async def _discard(self) -> None:
        """Read what the peer still sends, within bounds: closing before would reset the connection, and the answer be lost."""
        with trio.move_on_after(DEVICE_PORT_DISCARD_TIMEOUT_MS / 1000):
            discarded_bytes = 0
            while discarded_bytes < DEVICE_PORT_DISCARD_BYTES_MAX:
                data = await self._stream.receive_some(RECEIVE_BYTES)
                if not data:
                    return
                discarded_bytes += len(data)


def _too_large(route: Route) -> LimitExceeded:
    if not route.body_bytes_max:
        return LimitExceeded("This address takes no body.", hint="Send none.", code="body_too_large")
    return LimitExceeded(
        f"A body may have {route.body_bytes_max} bytes at most here.",
        hint="Send less.",
        code="body_too_large",
    )
