"""MQTT over WebSocket (MQTT 5.0 §6): carries bytes between a WebSocket and a socket pair whose other end the data plane reads.

To the data plane a WebSocket client is a plain stream socket: same batch, same bounds, same backpressure. When the plane does
not read, the pair's buffer fills, then the one message that waits, then TCP's window; when the client does not read, it is the
same the other way round.

MQTT packets and WebSocket messages need not have the same borders (§6.0), so pieces of messages are passed on as they come and no
message is ever put together: what a client may make us hold is a read of READ_BYTES, however long it says its message is and
in however many frames it sends it.

A carrier (one per client) outlives the handshake's task and ends when either side has ended. What the plane said last is
still sent, and so is what the client said last.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import structlog
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest
from wsproto import ConnectionType, WSConnection
from wsproto.events import BytesMessage, Event, TextMessage
from wsproto.utilities import ProtocolError

from appliance.core.limits import WEBSOCKET_CONNECTION_COUNT_MAX

from .origins import OriginPolicy
from .transport import Closed, PlainTransport, Refused, TlsTransport
from .transport_stream import TransportStream, secure

PATH: Final = "/mqtt"
SUBPROTOCOL: Final = "mqtt"
READ_BYTES: Final = 16 * 1024
PAIR_BUFFER_BYTES: Final = 64 * 1024
"""Asked for in each direction; the kernel doubles it for its own book-keeping."""
SEND_TIMEOUT_MS: Final = 30_000
"""A client that takes less than READ_BYTES in this time is given up: the plane has long stopped feeding it."""
CLOSE_TIMEOUT_MS: Final = 2000
"""For a close frame and the answer to it."""
NORMAL: Final = 1000
UNSUPPORTED_DATA: Final = 1003
"""RFC 6455 §7.4.1. MQTT 5.0 §6.0: a frame of another kind than binary ends the connection."""

BROKEN: Final = (
    ConnectionClosed,
    ProtocolError,
    ValueError,
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)
"""What reading a stranger's WebSocket may end with. ValueError: headers that are not text, which wsproto lets through."""

log = structlog.get_logger(__name__)


class PieceByPiece(WSConnection):
    """wsproto's connection, which calls every piece of a message a whole one: nobody waits for the rest, or keeps what came."""

    def events(self) -> Iterator[Event]:  # type: ignore[override]
        for event in super().events():
            if isinstance(event, BytesMessage | TextMessage):
                if event.data or isinstance(event, TextMessage):
                    yield replace(event, message_finished=True)
            else:
                yield event


@dataclass(frozen=True, slots=True)
class Carried:
    """A WebSocket client's end for the data plane.

    Attributes:
        sock: Not blocking; closing it closes the WebSocket, after what was sent has gone out.
        certificate: Of the client, DER, where TLS verified one.
    """

    sock: socket.socket
    certificate: bytes | None


class WebSockets:
    """All carriers.

    Args:
        origins: Which pages may connect.
    """

    def __init__(self, origins: OriginPolicy) -> None:
        self._origins = origins
        self._nursery: trio.Nursery | None = None
        self._idle = trio.Event()
        self.count = 0
        """WebSockets that are open or being opened."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the carriers until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    async def finish(self) -> None:
        """Wait until all have ended, for as long as a close may take; nobody new comes any more."""
        with trio.move_on_after(CLOSE_TIMEOUT_MS / 1000):
            while self.count:
                self._idle = trio.Event()
                await self._idle.wait()

    async def upgrade(self, sock: socket.socket, context: ssl.SSLContext | None) -> Carried:
        """TLS where there is a context, the HTTP upgrade, and a carrier from then on. Takes the socket over: it is closed when all is over.

        Raises:
            Refused: the request was answered with an HTTP status: `websocket_path`, `websocket_subprotocol`,
                `websocket_origin`, `websocket_connection_count_max`.
            Closed: the peer went away, or sent no request that can be read.
        """
        assert self._nursery is not None
        carried: Carried = await self._nursery.start(self._carry, sock, context)
        return carried

    async def _carry(
        self, sock: socket.socket, context: ssl.SSLContext | None, *, task_status: trio.TaskStatus[Carried]
    ) -> None:
        self.count += 1
        try:
            transport: PlainTransport | TlsTransport = PlainTransport(sock)
            certificate: bytes | None = None
            if context is not None:
                transport = await secure(sock, context)
                certificate = transport.peer_certificate()
            await self._serve(TransportStream(sock, transport), certificate, task_status)
        finally:
            self.count -= 1
            self._idle.set()
            if sock.fileno() >= 0:
                trio.lowlevel.notify_closing(sock)
                sock.close()

    async def _serve(
        self,
        stream: TransportStream,
        certificate: bytes | None,
        task_status: trio.TaskStatus[Carried],
    ) -> None:
        # Not `wrap_server_stream`: it waits for ever for the request of a peer that sends something else or goes away,
        # and puts messages together.
        websocket = WebSocketConnection(
            stream, PieceByPiece(ConnectionType.SERVER), message_queue_size=1, receive_buffer_size=READ_BYTES
        )
        is_begun = False
        refused: Refused | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, websocket, stream, nursery.cancel_scope)
            request = await websocket._get_request()
            # Known before it is answered: a page that hangs up at once ends the answer, and the refusal is said all the same.
            status, refused = self._judge(request)
            try:
                await _answer(request, status, refused)
            except BROKEN as error:
                log.debug("a WebSocket ended before it was one", reason=str(error))
            else:
                if refused is None:
                    ours, theirs = _pair()
                    is_begun = True
                    try:
                        task_status.started(Carried(ours, certificate))
                        await _carry_on(websocket, theirs)
                    except trio.Cancelled:
                        ours.close()  # Nobody may have been there any more to take it.
                        raise
            nursery.cancel_scope.cancel()
        if refused is not None:
            raise refused
        if not is_begun:
            raise Closed("no WebSocket request came")

    def _judge(self, request: WebSocketRequest) -> tuple[int, Refused | None]:
        """The HTTP status of the answer, and why the request is refused, if it is."""
        origins = [value.decode("latin-1") for name, value in request.headers if name.lower() == b"origin"]
        host = request._event.host
        if self.count > WEBSOCKET_CONNECTION_COUNT_MAX:
            refusal = 503, "websocket_connection_count_max", "as many WebSockets are open as may be"
        elif request.path.partition("?")[0] != PATH:
            refusal = 404, "websocket_path", f"MQTT is at {PATH}"
        elif SUBPROTOCOL not in request.proposed_subprotocols:
            refusal = 400, "websocket_subprotocol", f"the subprotocol {SUBPROTOCOL!r} was not offered"
        elif len(origins) > 1 or not self._origins.allows(origins[0] if origins else None, host):
            refusal = 403, "websocket_origin", f"a page of {', '.join(origins)} may not connect to {host}"
        else:
            return 101, None
        status, code, reason = refusal
        hint = "List the page in broker.ws_origins if it is yours." if code == "websocket_origin" else ""
        return status, Refused(code, reason, hint)


async def _answer(request: WebSocketRequest, status: int, refused: Refused | None) -> None:
    """Accept the request, or reject it and say why."""
    if refused is None:
        await request.accept(subprotocol=SUBPROTOCOL)
        return
    await request.reject(
        status,
        extra_headers=[(b"Content-Type", b"text/plain; charset=utf-8")],
        body=f"{refused}\n".encode(),
    )


async def _read(websocket: WebSocketConnection, stream: TransportStream, scope: trio.CancelScope) -> None:
    """Read until the WebSocket is closed; if no request came until then, nobody waits for one any more."""
    try:
        await websocket._reader_task()
    except BROKEN as error:
        log.debug("a WebSocket was broken off", reason=str(error))
        await stream.aclose()
    if websocket.subprotocol is None:
        scope.cancel()


async def _carry_on(websocket: WebSocketConnection, pair: trio.SocketStream) -> None:
    async with pair, trio.open_nursery() as nursery:
        nursery.start_soon(_inwards, websocket, pair)
        try:
            await _outwards(websocket, pair)
        except trio.TooSlowError:
            log.info("a WebSocket client takes nothing any more", timeout_ms=SEND_TIMEOUT_MS)
        nursery.cancel_scope.cancel()


async def _inwards(websocket: WebSocketConnection, pair: trio.SocketStream) -> None:
    """From the client to the plane; the plane then reads the end of the stream, behind everything that came."""
    try:
        while isinstance(message := await websocket.get_message(), bytes):
            await pair.send_all(message)
        log.info("a WebSocket client sent text where MQTT is binary")
        await _close(websocket, UNSUPPORTED_DATA)
    except ConnectionClosed:
        pass  # The client's doing; what it sent before has been passed on.
    except trio.BrokenResourceError:
        return  # The plane has closed its end: what it said last is on its way.
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await pair.send_eof()  # Unless the plane was quicker.


async def _outwards(websocket: WebSocketConnection, pair: trio.SocketStream) -> None:
    """From the plane to the client, until the plane has closed its end."""
    is_open = True
    while data := await _receive(pair):
        if is_open:
            try:
                with trio.fail_after(SEND_TIMEOUT_MS / 1000):
                    await websocket.send_message(bytes(data))
            except BROKEN:
                is_open = False  # Read on: the plane is to get to what the client has said before.
    await _close(websocket, NORMAL)


async def _receive(pair: trio.SocketStream) -> bytes | bytearray:
    try:
        return await pair.receive_some(READ_BYTES)
    except trio.BrokenResourceError:
        return b""  # Closed with something unread in it.


async def _close(websocket: WebSocketConnection, code: int) -> None:
    with trio.move_on_after(CLOSE_TIMEOUT_MS / 1000):
        try:
            await websocket.aclose(code)
        except BROKEN:
            return  # It is gone already.


def _pair() -> tuple[socket.socket, trio.SocketStream]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PAIR_BUFFER_BYTES)
    return ours, trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
