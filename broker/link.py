"""The node's end of the control socket: keeps a connection to the broker, whatever becomes of either.

Questions wait for their answers with a deadline; when the connection is lost, they end at once.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog
import trio

from appliance.core.errors import HomeportError, RemoteProtocolError, Unavailable
from appliance.core.limits import BROKER_QUESTION_COUNT_MAX, BROKER_QUESTION_TIMEOUT_MS

from .control_messages import CONTROL_VERSION, MessageReader, decode_error, encode_message

RETRY_MS: Final = 200
"""The broker is on the same machine: a fixed short pause between attempts."""
SEND_TIMEOUT_S: Final = 2.0
HISTORY_COUNT: Final = 11
"""Statistics come once a second: rates are over ten seconds."""
SILENCE_S: Final = 10.0
"""The broker says something every second; one that is silent for so long is connected to anew."""

log = structlog.get_logger(__name__)


class _Waiting:
    """A question on its way: set to its answer, or to why there is none."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.body: dict[str, Any] | None = None
        self.error: HomeportError | None = None


class BrokerLink:
    """See the module's docstring.

    Args:
        path: Of the broker's Unix socket.
        on_grew: Called when the telemetry log has grown.
        on_first_contact: Called with the user names of unknown devices that tried to connect.
    """

    def __init__(
        self, path: Path, on_grew: Callable[[], None], on_first_contact: Callable[[list[str]], None]
    ) -> None:
        self._path = path
        self._on_grew = on_grew
        self._on_first_contact = on_first_contact
        self._stream: trio.SocketStream | None = None
        self._sending = trio.Lock()
        self._asking = trio.CapacityLimiter(BROKER_QUESTION_COUNT_MAX)
        self._waiting: dict[int, _Waiting] = {}
        self._last_id = 0
        self.statistics: dict[str, Any] = {}
        """The broker's newest numbers; those of before while it is away."""
        self.history: deque[tuple[float, dict[str, Any]]] = deque(maxlen=HISTORY_COUNT)
        """The newest of them with their monotonic time, seconds, for rates; empty while it is away."""

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

    async def ask(self, question: str, **fields: Any) -> dict[str, Any]:
        """Ask the broker something, or have it do something; broker/questions.py says what and what it answers.

        Raises:
            Unavailable: the broker is not connected, or does not answer in time.
            HomeportError: as the broker says.
        """
        waiting = _Waiting()
        with trio.move_on_after(BROKER_QUESTION_TIMEOUT_MS / 1000):
            async with self._asking:
                self._last_id += 1
                number = self._last_id
                self._waiting[number] = waiting
                try:
                    await self._send(encode_message("ask", id=number, question=question, fields=fields))
                    await waiting.done.wait()
                finally:
                    del self._waiting[number]
        if waiting.error is not None:
            raise waiting.error
        if waiting.body is None:
            raise Unavailable(
                "The broker did not answer in time.", hint="Try again in a moment.", code="broker_silent"
            )
        return waiting.body

    async def kick(self, client_id: str) -> None:
        """Have a client's connection closed.

        Raises:
            NotFound: no such client is connected. Unavailable: as `ask`.
        """
        await self.ask("kick", client_id=client_id)

    async def revoke(self, principal: str) -> None:
        """Have all connections of a device or application closed.

        Raises:
            Unavailable: the broker is not connected.
        """
        await self._send(encode_message("revoke", principal=principal))

    async def tell_lag(self, *, lag_ms: int, behind_records: int) -> None:
        """Say how far the time-series store is behind the log.

        Raises:
            Unavailable: the broker is not connected.
        """
        await self._send(encode_message("lag", lag_ms=lag_ms, behind_records=behind_records))

    async def access_changed(self, principal: str) -> None:
        """Have the broker look at once at what a device or application may do now.

        Raises:
            Unavailable: the broker is not connected.
        """
        await self._send(encode_message("access_changed", principal=principal))

    async def _send(self, data: bytes) -> None:
        stream = self._stream
        if stream is None:
            raise Unavailable(
                "The broker is not connected.", hint="Wait for it to start again; see 'homeport status'."
            )
        try:
            with trio.fail_after(SEND_TIMEOUT_S):
                async with self._sending:
                    await stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
            # A part of it may be on its way, and nothing can follow half a frame: `run` connects anew.
            await trio.aclose_forcefully(stream)
            raise Unavailable(
                "The broker did not take the command.", hint="Try again in a moment."
            ) from error

    async def _connect_and_listen(self) -> None:
        client = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        async with trio.SocketStream(client) as stream:
            with trio.fail_after(SILENCE_S):
                await client.connect(str(self._path))
            await stream.send_all(encode_message("hello", version=CONTROL_VERSION))
            self._stream = stream
            try:
                reader = MessageReader()
                while data := await _receive(stream):
                    for message in reader.receive_bytes(bytes(data)):
                        self._handle(message)
            finally:
                self._stream = None
                self.history.clear()
                for waiting in self._waiting.values():
                    waiting.error = Unavailable(
                        "The broker went away before it answered.", hint="Try again in a moment."
                    )
                    waiting.done.set()

    def _handle(self, message: dict[str, Any]) -> None:
        kind = message.pop("t")
        if kind == "grew":
            self._on_grew()
        elif kind == "first_contact":
            self._on_first_contact([str(name) for name in message.get("user_names", ())])
        elif kind == "statistics":
            self.statistics = message
            self.history.append((trio.current_time(), message))
        elif kind == "answer":
            self._take_answer(message)

    def _take_answer(self, message: dict[str, Any]) -> None:
        waiting = self._waiting.get(message.get("id", 0))
        if waiting is None:
            return  # Whoever asked has given up.
        body = message.get("body")
        if isinstance(body, dict):
            waiting.body = body
        else:
            waiting.error = decode_error(message.get("error"))
        waiting.done.set()


async def _receive(stream: trio.SocketStream) -> bytes | bytearray:
    with trio.fail_after(SILENCE_S):
        return await stream.receive_some()
