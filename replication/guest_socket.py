"""Links for another process of this box: what guests.py does in the replicator, over a Unix socket.

Frames as on the control socket (u32 length, msgpack map), in the folder that only this user can enter:

    replicator → guest   {"t": "hello", "version": 1, "first_request": n, "peers": [...]}
                         {"t": "up" | "down", "peer": …}    {"t": "message", "peer": …, "data": …}
    guest → replicator   {"t": "send", "peer": …, "data": …}

A guest that doesn't take what it asked for is cut off. When the connection ends, so does the guest, however its process ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import structlog
import trio

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits_replication import GUEST_COUNT_MAX, GUEST_FRAME_BYTES_MAX, GUEST_WAITING_BYTES_MAX
from replication.control import away, bound, receive_frame, send_frame
from replication.guests import Guest, GuestListener, Guests
from replication.scheduling import Priority

GUEST_VERSION: Final = 1
CONNECT_S: Final = 5.0
HELLO_BYTES_MAX: Final = GUEST_FRAME_BYTES_MAX
log = structlog.get_logger(__name__)


class _Waiting:
    """Frames that wait for one connection, bounded by their bytes."""

    def __init__(self) -> None:
        self._frames: deque[dict[str, Any]] = deque()
        self._bytes = 0
        self._news = trio.Event()
        self.is_over = False
        """More waited than may; nothing is put any more."""

    def put(self, frame: dict[str, Any]) -> None:
        self._bytes += len(frame.get("data", b""))
        self.is_over = self.is_over or self._bytes > GUEST_WAITING_BYTES_MAX
        if not self.is_over:
            self._frames.append(frame)
        self._news.set()

    async def send_all(self, stream: trio.SocketStream) -> None:
        """Sends what comes, until cancelled or there is too much of it."""
        while not self.is_over:
            while self._frames:
                frame = self._frames.popleft()
                self._bytes -= len(frame.get("data", b""))
                await send_frame(stream, frame, GUEST_FRAME_BYTES_MAX)
            self._news = trio.Event()
            if not self.is_over:
                await self._news.wait()


class _Told:
    """A guest's listener in the replicator: what happens goes to the other process."""

    def __init__(self) -> None:
        self.waiting = _Waiting()

    def link_up(self, peer: str) -> None:
        self.waiting.put({"t": "up", "peer": peer})

    def link_down(self, peer: str) -> None:
        self.waiting.put({"t": "down", "peer": peer})

    def message(self, peer: str, data: bytes) -> None:
        self.waiting.put({"t": "message", "peer": peer, "data": data})


class GuestServer:
    """See the module's docstring."""

    def __init__(self, path: Path, guests: Guests) -> None:
        self._path = path
        self._guests = guests

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled."""
        self._path.unlink(missing_ok=True)
        listener = trio.socket.from_stdlib_socket(bound(self._path))
        listener.listen(GUEST_COUNT_MAX)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(trio.serve_listeners, self._serve, [trio.SocketListener(listener)])
                task_status.started()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, stream: trio.SocketStream) -> None:
        told = _Told()
        async with stream:
            try:
                guest = self._guests.join(lambda guest: told)
            except HomeportError as error:
                log.warning("a guest was turned away", reason=error.message)
                return
            try:
                await self._talk(stream, guest, told)
            finally:
                guest.leave()

    async def _talk(self, stream: trio.SocketStream, guest: Guest, told: _Told) -> None:
        hello = {
            "t": "hello",
            "version": GUEST_VERSION,
            "first_request": guest.first_request,
            "peers": guest.peers(),
        }
        try:
            await send_frame(stream, hello, HELLO_BYTES_MAX)
            async with trio.open_nursery() as nursery:

                async def send() -> None:
                    try:
                        await told.waiting.send_all(stream)
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        pass  # it has gone, which its side of the talk finds as well
                    nursery.cancel_scope.cancel()

                nursery.start_soon(send)
                while (frame := await receive_frame(stream, GUEST_FRAME_BYTES_MAX)) is not None:
                    match frame:
                        case {"t": "send", "peer": str(peer), "data": bytes(data)}:
                            guest.send(peer, data, Priority.CONTROL)
                        case _:
                            raise UsageError("That is nothing that a guest says.")
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, HomeportError) as group:
            log.debug("a guest's connection ended", reason=str(group.exceptions[0]))
        if told.waiting.is_over:
            log.warning("a guest was cut off: it did not take what it had asked for")


class GuestLinks:
    """The replicator's links, for a process of this box. `listener` is set before anything is asked.

    Made by `guest_links`.
    """

    def __init__(self, first_request: int, peers: list[str]) -> None:
        self.first_request = first_request
        self.listener: GuestListener | None = None
        self._peers = dict.fromkeys(peers)
        self.waiting = _Waiting()

    def peers(self) -> list[str]:
        return list(self._peers)

    def send(
        self, peer: str, data: bytes, priority: Priority, on_left: Callable[[], None] | None = None
    ) -> bool:
        """Asks; whether the peer is connected as far as this process knows. `on_left` is called at once."""
        if peer not in self._peers or self.waiting.is_over:
            return False
        self.waiting.put({"t": "send", "peer": peer, "data": data})
        if on_left is not None:
            on_left()
        return True

    def take(self, frame: dict[str, Any]) -> None:
        """What the replicator says."""
        assert self.listener is not None
        match frame:
            case {"t": "up", "peer": str(peer)}:
                self._peers[peer] = None
                self.listener.link_up(peer)
            case {"t": "down", "peer": str(peer)}:
                self._peers.pop(peer, None)
                self.listener.link_down(peer)
            case {"t": "message", "peer": str(peer), "data": bytes(data)}:
                self.listener.message(peer, data)
            case _:
                raise away("it says what can't be understood")

    def lost(self) -> None:
        """The replicator has gone, and all peers with it."""
        assert self.listener is not None
        for peer in self.peers():
            del self._peers[peer]
            self.listener.link_down(peer)


@asynccontextmanager
async def guest_links(path: Path, listen: Callable[[GuestLinks], GuestListener]) -> AsyncIterator[GuestLinks]:
    """The replicator's links, for as long as the block lasts.

    Args:
        listen: Makes the listener.
    Raises:
        Unavailable: `replicator_away`: it is not there, or says nothing that can be understood.
    """
    try:
        stream = await trio.open_unix_socket(path)
    except OSError as error:
        raise away(str(error)) from error
    async with stream:
        hello = None
        with trio.move_on_after(CONNECT_S):
            try:
                hello = await receive_frame(stream, HELLO_BYTES_MAX)
            except (trio.BrokenResourceError, UsageError) as error:
                raise away(str(error)) from error
        match hello:
            case {"version": 1, "first_request": int(first_request), "peers": list(peers)}:
                links = GuestLinks(first_request, [str(peer) for peer in peers])
            case _:
                raise away("it has no room, or is of another version")
        links.listener = listen(links)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_receive_all, stream, links)
            nursery.start_soon(_send_all, stream, links)
            try:
                yield links
            finally:
                nursery.cancel_scope.cancel()


async def _receive_all(stream: trio.SocketStream, links: GuestLinks) -> None:
    try:
        while (frame := await receive_frame(stream, GUEST_FRAME_BYTES_MAX)) is not None:
            links.take(frame)
    except (trio.BrokenResourceError, trio.ClosedResourceError, HomeportError) as error:
        log.warning("the replicator's links are lost", reason=str(error))
    links.lost()


async def _send_all(stream: trio.SocketStream, links: GuestLinks) -> None:
    try:
        await links.waiting.send_all(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # whoever reads finds it as well
