"""The node's end of the control socket: keeps a connection to the broker, whatever becomes of either.

Questions wait for their answers with a deadline; when the connection is lost, they end at once. What devices ask is answered by service
apart: slow answers of one keep up no other.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
import trio

from appliance.core.errors import HomeportError, RemoteProtocolError, Unavailable
from appliance.core.limits import (
    BROKER_QUESTION_COUNT_MAX,
    BROKER_QUESTION_TIMEOUT_MS,
)
from appliance.core.limits_requests import REQUEST_LIMITS
from appliance.management.request_topics import parse
from appliance.tracing.span import Span, of_plain

from .control_messages import (
    CONTROL_VERSION,
    DeviceReply,
    DeviceRequest,
    MessageReader,
    SessionEvent,
    decode_error,
    decode_request,
    decode_session_events,
    encode_message,
)
from .pushing import Pushing

RETRY_MS: Final = 200
"""The broker is on the same machine: a fixed short pause between attempts."""
SEND_TIMEOUT_S: Final = 2.0
REPLIES_BYTES_MAX: Final = 1 << 20
"""Answers that wait to be sent together; beyond that whoever has one waits, and holds its place among those that answer."""
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
        on_request: Answers what devices ask; cancelled when the broker goes away. Without it the broker tells them that nobody can.
        on_sessions: Called with devices that begin to listen or do so no more, in order; with True where all that was told before
            counts no more: the connection is new, or lost.

    Attributes:
        on_spans: Called with the broker's steps of traced messages.
    """

    def __init__(
        self,
        path: Path,
        on_grew: Callable[[], None],
        on_first_contact: Callable[[list[str]], None],
        on_request: Callable[[DeviceRequest], Awaitable[DeviceReply]] | None = None,
        on_sessions: Callable[[list[SessionEvent], bool], None] = lambda _events, _is_anew: None,
    ) -> None:
        self.on_spans: Callable[[list[Span]], None] = lambda _spans: None
        self._path = path
        self._on_grew = on_grew
        self._on_first_contact = on_first_contact
        self._on_request = on_request
        self._on_sessions = on_sessions
        self._answering = {
            service: trio.CapacityLimiter(limits.answering_count_max)
            for service, limits in REQUEST_LIMITS.items()
        }
        self._answered_by: dict[int, trio.CancelScope] = {}
        """Requests that are being answered, or wait for it."""
        self._pushing = Pushing(self.ask)
        self._replies: deque[bytes] = deque()
        self._reply_bytes = 0
        self._has_replies, self._has_room = trio.Event(), trio.Event()
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
            except* (
                OSError,
                trio.BrokenResourceError,
                trio.ClosedResourceError,
                trio.TooSlowError,
                RemoteProtocolError,
            ) as errors:
                log.debug("no control connection to the broker", reasons=[str(e) for e in errors.exceptions])
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

    async def push(self, principal: str, messages: Sequence[tuple[str, bytes]]) -> int:
        """Say something to a device unasked: to its open connections that have subscribed to it, at QoS 0.

        Returns:
            Copies sent; 0 where nobody listens.
        Raises:
            Unavailable: the broker is not connected, or does not answer in time: it may have been said or not.
            LimitExceeded: `push_too_large`, or `pushes_waiting`: too many wait for the broker.
        """
        return await self._pushing.push(principal, messages)

    def answering_counts(self) -> dict[str, int]:
        """Requests that are being answered, or wait for it, by service."""
        return {
            service: limiter.borrowed_tokens + limiter.statistics().tasks_waiting
            for service, limiter in self._answering.items()
        }

    async def _send(self, data: bytes) -> None:
        stream = self._stream
        if stream is None:
            raise Unavailable(
                "The broker is not connected.", hint="Wait for it to start again; see 'homeport status'."
            )
        try:
            with trio.fail_after(SEND_TIMEOUT_S) as sending:
                async with self._sending:
                    # Whoever sends may be cancelled, its half of a frame would be the connection's end.
                    sending.shield = True
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
            answers = self._on_request is not None
            await stream.send_all(encode_message("hello", version=CONTROL_VERSION, answers_requests=answers))
            self._stream = stream
            try:
                await self._listen(stream)
            finally:
                self._stream = None
                self._on_sessions([], True)
                self.history.clear()
                for waiting in self._waiting.values():
                    waiting.error = Unavailable(
                        "The broker went away before it answered.", hint="Try again in a moment."
                    )
                    waiting.done.set()

    async def _listen(self, stream: trio.SocketStream) -> None:
        """Handle what comes until the broker closes; answers that are under way end with it."""
        reader = MessageReader()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_replies)
            while data := await _receive(stream):
                for message in reader.receive_bytes(bytes(data)):
                    self._handle(message, nursery)
            nursery.cancel_scope.cancel()

    def _handle(self, message: dict[str, Any], nursery: trio.Nursery) -> None:
        kind = message.pop("t")
        if kind == "request":
            asked = decode_request(message)
            if asked is not None and self._on_request is not None:
                nursery.start_soon(self._answer, *asked, self._on_request)
        elif kind == "called_off":
            self._call_off(message.get("ids"))
        elif kind == "grew":
            self._on_grew()
        elif kind == "sessions":
            self._on_sessions(decode_session_events(message), message.get("anew") is True)
        elif kind == "first_contact":
            self._on_first_contact([str(name) for name in message.get("user_names", ())])
        elif kind == "statistics":
            self.statistics = message
            self.history.append((trio.current_time(), message))
        elif kind == "spans":
            self.on_spans(of_plain(message.get("spans")))
        elif kind == "answer":
            self._take_answer(message)

    async def _answer(
        self, number: int, asked: DeviceRequest, answer: Callable[[DeviceRequest], Awaitable[DeviceReply]]
    ) -> None:
        topic = parse(asked.topic)
        if topic is None:
            return  # A broker of another version; it tells the device that nobody answers.
        with trio.move_on_after(REQUEST_LIMITS[topic.service].timeout_ms / 1000) as scope:
            self._answered_by[number] = scope
            try:
                # The broker bounds what it asks that nobody has answered yet: so many wait here.
                async with self._answering[topic.service]:
                    reply = await answer(asked)
                    message = encode_message(
                        "reply", id=number, accepted=reply.is_accepted, messages=reply.messages
                    )
                    while self._reply_bytes >= REPLIES_BYTES_MAX:
                        await self._has_room.wait()
                    self._replies.append(message)
                    self._reply_bytes += len(message)
                    self._has_replies.set()
            finally:
                del self._answered_by[number]

    def _call_off(self, numbers: Any) -> None:
        """Nobody waits for these answers any more; the broker says it only of requests that change nothing."""
        for number in numbers if isinstance(numbers, list) else ():
            scope = self._answered_by.get(number) if isinstance(number, int) else None
            if scope is not None:
                scope.cancel()

    async def _send_replies(self) -> None:
        """Send answers, as many as wait at a time. Runs until cancelled; the broker tells devices of those that it did not get."""
        self._replies.clear()
        self._reply_bytes = 0
        while True:
            self._has_replies = trio.Event()
            while self._replies:
                taken, size_bytes = [], 0
                while self._replies and size_bytes < REPLIES_BYTES_MAX:
                    taken.append(self._replies.popleft())
                    size_bytes += len(taken[-1])
                try:
                    await self._send(b"".join(taken))
                except Unavailable:
                    return  # The connection is lost, and listening ends with it.
                self._reply_bytes -= size_bytes
                self._has_room.set()
                self._has_room = trio.Event()
            await self._has_replies.wait()

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
