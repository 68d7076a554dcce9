"""The bridge process's end of the broker's control socket: messages into our log, and the word that it has grown.

One connection for all bridges of the process. It is connected to anew whatever becomes of either side; a request that was
under way then fails, and what became of it the log says (`settle`, then look).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import structlog
import trio

from appliance.core.errors import RemoteProtocolError, Unavailable
from broker.control_messages import CONTROL_VERSION, MessageReader, encode_message

RETRY_MS: Final = 200
SILENCE_S: Final = 10.0
"""The broker says something every second; one that is silent for so long is connected to anew."""

log = structlog.get_logger(__name__)

Record: TypeAlias = tuple[bytes, bytes, int, int, bytes]
"""Topic, payload, flags (QoS and RETAIN), packet identifier or 0, property bytes."""


class _Request:
    """One that waits for its answer."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.is_done = False
        self.seq = 0


class LocalBroker:
    """See the module's docstring.

    Args:
        path: Of the broker's Unix socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: trio.SocketStream | None = None
        self._sending = trio.Lock()
        self._requests: dict[int, _Request] = {}
        self._last_id = 0
        self._growth = trio.Event()
        self.growth_count = 0
        """How often the log has grown."""
        self._connected = trio.Event()

    @property
    def connected(self) -> bool:
        return self._stream is not None

    async def run(self) -> None:
        """Connect, listen, reconnect. Runs until cancelled."""
        while True:
            try:
                await self._connect_and_listen()
                log.info("the broker closed the control connection")
            except (
                OSError,
                trio.BrokenResourceError,
                trio.ClosedResourceError,
                trio.TooSlowError,
                RemoteProtocolError,
            ) as error:
                log.debug("no control connection to the broker", reason=str(error))
            await trio.sleep(RETRY_MS / 1000)

    async def wait_connected(self) -> None:
        """Wait for the broker; without a deadline, because without it there is nothing else to do."""
        while self._stream is None:
            await self._connected.wait()

    async def wait_growth(self, seen_count: int, timeout_ms: int) -> None:
        """Wait until the log has grown since `growth_count` was looked at, or for a time."""
        with trio.move_on_after(timeout_ms / 1000):
            while self.growth_count == seen_count:
                await self._growth.wait()

    async def publish(self, principal: str, records: Sequence[Record]) -> int:
        """Append messages to our log; returns the last one's sequence when they are on disk.

        There is no deadline: a full disk may take hours, and the broker answers or its connection breaks.

        Raises:
            Unavailable: the broker has gone; some of them may be in the log, or come into it.
        """
        return await self._ask("publish", principal=principal, records=records)

    async def settle(self, principal: str) -> None:
        """Wait until nothing of a bridge is on its way into the log.

        Raises:
            Unavailable: the broker has gone.
        """
        await self._ask("settle", principal=principal)

    async def _ask(self, kind: str, **fields: Any) -> int:
        stream = self._stream
        if stream is None:
            raise _gone()
        self._last_id += 1
        number, request = self._last_id, _Request()
        self._requests[number] = request
        try:
            async with self._sending:
                with trio.CancelScope(shield=True), trio.fail_after(SILENCE_S):
                    # Half a frame would make nonsense of all that follow, whosever they are.
                    await stream.send_all(encode_message(kind, id=number, **fields))
            await request.event.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
            await trio.aclose_forcefully(stream)
            raise _gone() from error
        finally:
            self._requests.pop(number, None)
        if not request.is_done:
            raise _gone()
        return request.seq

    async def _connect_and_listen(self) -> None:
        client = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        async with trio.SocketStream(client) as stream:
            with trio.fail_after(SILENCE_S):
                await client.connect(str(self._path))
            await stream.send_all(encode_message("hello", version=CONTROL_VERSION, role="bridge"))
            self._stream = stream
            self._connected.set()
            self._connected = trio.Event()
            try:
                await self._listen(stream)
            finally:
                self._stream = None
                for request in self._requests.values():
                    request.event.set()

    async def _listen(self, stream: trio.SocketStream) -> None:
        reader = MessageReader()
        while True:
            with trio.fail_after(SILENCE_S):
                data = await stream.receive_some()
            if not data:
                return
            for message in reader.receive_bytes(bytes(data)):
                match message:
                    case {"t": "grew"}:
                        self.growth_count += 1
                        self._growth.set()
                        self._growth = trio.Event()
                    case {"t": "done", "id": int(number), "seq": int(seq)} if number in self._requests:
                        request = self._requests[number]
                        request.is_done, request.seq = True, seq
                        request.event.set()


def _gone() -> Unavailable:
    return Unavailable(
        "The broker of this box is not connected.",
        hint="It is started again by itself; see 'homeport status'.",
    )
