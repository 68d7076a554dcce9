"""One connection as messages: TCP, TLS 1.3, WebSocket, each message whole and at most so large.

What ends a connection is said in words here (`WireEnded`), whichever of the layers found it. A message that comes in pieces is
put together only up to the limit, and empty pieces, of which a peer could send any number, are not kept.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection
from wsproto import ConnectionType, WSConnection
from wsproto.events import BytesMessage, Event, TextMessage
from wsproto.utilities import ProtocolError

from appliance.core.limits_replication import (
    LINK_CLOSE_S,
    LINK_RECEIVE_BYTES,
    LINK_SEND_S,
    LINK_UNSENT_BYTES_MIN,
    WIRE_MESSAGE_BYTES_MAX,
)
from replication.link.admission import OVERSIZE, PROTOCOL, SLOW, STRANGER, Refusal, refusal

NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of openssl/x509_vfy.h: admission.py judges a certificate's end."""
TOO_BIG: Final = 1009
GONE: Final = "gone"
HOST: Final = "homeport"
"""For the Host header; peers are known by their certificates."""
BROKEN: Final = (
    ConnectionClosed,
    HandshakeError,
    ProtocolError,
    ValueError,
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)
"""What reading a stranger's WebSocket may end with. ValueError: headers that are not text, which wsproto lets through."""


class WireEnded(Exception):  # noqa: N818 - what happened, not always an error
    """The connection is over; why stands in `refusal`."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(why.message)
        self.refusal = why


class _WholeMessages(WSConnection):
    """wsproto's connection without what is empty and not the end of a message: a peer can send any number of those."""

    def events(self) -> Iterator[Event]:  # type: ignore[override]
        for event in super().events():
            if isinstance(event, BytesMessage | TextMessage) and not (event.message_finished or event.data):
                continue
            yield event


class CountedStream(trio.abc.Stream):
    """A stream that knows how much went through it, when something came last, and what broke it."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner
        self.received_bytes = 0
        self.sent_bytes = 0
        self.received_at = trio.current_time()
        self.error: BaseException | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._noted():
            await self._inner.send_all(data)
        self.sent_bytes += len(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        with self._noted():
            data = await self._inner.receive_some(max_bytes)
        self.received_bytes += len(data)
        self.received_at = trio.current_time()
        return data

    async def aclose(self) -> None:
        await self._inner.aclose()

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except trio.BrokenResourceError as error:
            self.error = error.__cause__ or error
            raise


class Wire:
    """A connection after its handshakes.

    Args:
        peer_der: The other end's certificate, None where it showed none.
        sock: Whose connection it is.
    """

    def __init__(
        self,
        stream: CountedStream,
        websocket: WebSocketConnection,
        *,
        peer_der: bytes | None,
        path: str,
        sock: trio.socket.SocketType,
    ) -> None:
        self.stream = stream
        self.peer_der = peer_der
        self.path = path
        self._websocket = websocket
        self._sock = sock

    async def receive(self) -> bytes:
        """The next message.

        Raises:
            WireEnded: the connection is over, or text came.
        """
        try:
            message = await self._websocket.get_message()
        except ConnectionClosed as closed:
            raise WireEnded(self._why(closed)) from closed
        if not isinstance(message, bytes):
            await self.close(PROTOCOL)
            raise WireEnded(refusal(PROTOCOL))
        return message

    async def send(self, data: bytes) -> None:
        """Send a message.

        Raises:
            WireEnded: the connection is over, or the peer takes nothing.
        """
        with trio.move_on_after(LINK_SEND_S) as scope:
            try:
                await self._websocket.send_message(data)
            except ConnectionClosed as closed:
                raise WireEnded(self._why(closed)) from closed
            except BROKEN as error:
                raise WireEnded(self._why(None)) from error
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self.stream)
            raise WireEnded(refusal(SLOW))

    def keep_unsent(self, size_bytes: int) -> None:
        """Have the kernel take no more while it holds so many bytes unsent."""
        with contextlib.suppress(OSError):  # it is over, which whoever sends or receives says
            _keep_unsent(self._sock, size_bytes)

    async def close(self, reason: str) -> None:
        """End it, with a reason for the other end; within LINK_CLOSE_S."""
        try:
            with trio.move_on_after(LINK_CLOSE_S), contextlib.suppress(*BROKEN):
                await self._websocket.aclose(1000, reason)
        finally:
            await trio.aclose_forcefully(self.stream)

    def _why(self, closed: ConnectionClosed | None) -> Refusal:
        reason = None if closed is None else closed.reason
        if reason is not None and reason.code == TOO_BIG:
            return refusal(OVERSIZE)
        if self.stream.error is not None:
            return why_broken(self.stream.error)
        said = "" if reason is None or reason.reason is None else reason.reason
        return Refusal(reason=said[:60] or GONE, message="The connection was closed.", is_ours=False)


def why_broken(error: BaseException) -> Refusal:
    """What a broken connection means. An alert of TLS about our certificate is the other end's refusal."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return refusal(STRANGER, f"TLS says: {error.verify_message}.")
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "no TLS"
        if "UNKNOWN_CA" in reason or "CERTIFICATE" in reason:
            return Refusal(
                reason=STRANGER,
                message=f"The other end does not take this box's certificate: it is of another fleet ({reason}).",
                is_ours=False,
            )
        return Refusal(reason="tls", message=f"TLS failed: {reason}.", is_ours=True)
    return Refusal(reason=GONE, message=f"The connection broke: {error}.", is_ours=False)


def server_context(ca_path: Path, link_path: Path) -> ssl.SSLContext:
    """TLS of whoever is connected to. A client without a certificate gets in as far as joining.

    Raises:
        OSError: a file can't be read, or isn't what it should be.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, ca_path, link_path)
    context.verify_mode = ssl.CERT_OPTIONAL
    # Each connection shows its certificate: a ticket would carry a judgement of before.
    context.num_tickets = 0
    return context


def client_context(ca_path: Path, link_path: Path) -> ssl.SSLContext:
    """TLS of whoever dials a peer.

    Raises:
        OSError: a file can't be read, or isn't what it should be.
    """
    return _context(ssl.PROTOCOL_TLS_CLIENT, ca_path, link_path)


def joining_context() -> ssl.SSLContext:
    """TLS of a box that has no certificate yet: it looks at the other end's itself, before it says anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _context(protocol: int, ca_path: Path, link_path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ca_path)
    context.load_cert_chain(link_path)
    context.verify_flags |= NO_CHECK_TIME
    return context


async def with_wire(
    transport: trio.SocketStream,
    context: ssl.SSLContext,
    talk: Callable[[Wire], Awaitable[None]],
    *,
    path: str | None,
    message_bytes_max: int = WIRE_MESSAGE_BYTES_MAX,
) -> None:
    """Shake hands and talk over a connection, which is closed in the end.

    Args:
        talk: Called once both handshakes are through; whoever calls this bounds how long they may take.
        path: What to ask for; None for whoever was connected to.
    Raises:
        WireEnded: it came to nothing, or ended while it was talked over.
    """
    is_server = path is None
    _keep_short(transport.socket)
    tls = trio.SSLStream(
        transport,
        context,
        server_side=is_server,
        server_hostname=None if is_server else HOST,
        https_compatible=True,
    )
    stream = CountedStream(tls)
    ended: list[WireEnded] = []
    is_open = False
    try:
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, ssl.SSLError):
                await _tell_alert(tls, transport)
            raise WireEnded(why_broken(error.__cause__ or error)) from error
        websocket = WebSocketConnection(
            stream,
            _WholeMessages(ConnectionType.SERVER if is_server else ConnectionType.CLIENT),
            host=HOST,
            path=path or "/",
            message_queue_size=1,
            max_message_size=message_bytes_max,
            receive_buffer_size=LINK_RECEIVE_BYTES,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, websocket, stream, nursery.cancel_scope)
            try:
                if is_server:
                    request = await websocket._get_request()
                    asked = request.path
                    await request.accept()
                else:
                    await websocket._open_handshake.wait()
                    asked = str(path)
                wire = Wire(
                    stream,
                    websocket,
                    peer_der=tls.getpeercert(binary_form=True),
                    path=asked,
                    sock=transport.socket,
                )
                is_open = True
                await talk(wire)
            except WireEnded as error:
                ended.append(error)
            except BROKEN as error:
                ended.append(WireEnded(why_broken(stream.error or error)))
            nursery.cancel_scope.cancel()
        if ended:
            raise ended[0]
        if not is_open:
            raise WireEnded(why_broken(stream.error or trio.BrokenResourceError("nothing was answered")))
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)


async def _tell_alert(tls: trio.SSLStream[trio.SocketStream], transport: trio.SocketStream) -> None:
    """Send the alert that says why, which trio leaves unsent; and take what the other end said meanwhile, or it is lost on the way."""
    with trio.move_on_after(LINK_CLOSE_S), contextlib.suppress(*BROKEN):
        await transport.send_all(tls._outgoing.read())
        await transport.send_eof()
        taken_bytes = 0
        while taken_bytes < LINK_RECEIVE_BYTES and (data := await transport.receive_some()):
            taken_bytes += len(data)


async def _read(websocket: WebSocketConnection, stream: CountedStream, scope: trio.CancelScope) -> None:
    """Read until the WebSocket is over; if it never was one, nobody waits for it any more."""
    try:
        await websocket._reader_task()
    except BROKEN as error:
        stream.error = stream.error or error
    if not websocket._open_handshake.is_set():
        scope.cancel()


def _keep_short(sock: trio.socket.SocketType) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _keep_unsent(sock, LINK_UNSENT_BYTES_MIN)


def _keep_unsent(sock: trio.socket.SocketType, size_bytes: int) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size_bytes)
