"""The broker's end of the control socket: tells the node what happened, does and answers what the node asks.

Several nodes' connections are served at once (a new node process may come before the old one's socket has gone). A
node that does not read loses notices in between, never holds the broker up: `grew` and `statistics` say how things are
now, so only the newest matters. Of each node BROKER_QUESTION_COUNT_MAX questions are answered at once; one that asks and
does not take the answers is read no further.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
import trio

from appliance.core.errors import HomeportError, RemoteProtocolError
from appliance.core.limits import BROKER_QUESTION_COUNT_MAX
from appliance.core.limits_requests import (
    REQUEST_UNTOLD_COUNT_MAX,
    SESSION_EVENT_COUNT_MAX,
    SESSION_EVENTS_WAITING_COUNT_MAX,
)
from storage.log.head import Head

from .control_messages import (
    CONTROL_VERSION,
    MessageReader,
    decode_messages,
    encode_error,
    encode_message,
)

STATISTICS_INTERVAL_MS: Final = 1000
GREW_INTERVAL_MS: Final = 10
"""At most every so often the node is told that the log has grown."""
CLIENT_COUNT_MAX: Final = 8
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
ACCEPT_PAUSE_S: Final = 0.1
"""Without descriptors or memory left, accepting pauses; the node waits in the kernel's queue."""
CONTACT_INTERVAL_MS: Final = 1000
"""The node looks at them in a write to the catalog, which strangers who connect again and again are not to fill."""
CONTACT_COUNT_MAX: Final = 256
"""Unknown devices remembered until a node has been told; more are forgotten and heard of when they try again."""
NEWS_BYTES: Final = 64 * 1024
"""Requests and events told at a time: a thousand devices that ask together are not a thousand calls of the kernel."""

log = structlog.get_logger(__name__)


class Commands(Protocol):
    """What the node may ask for."""

    def revoke(self, principal: str) -> int: ...

    def access_changed(self, principal: str) -> None: ...

    def lag_told(self, lag_ms: int, behind_records: int) -> None: ...

    def publish(self, principal: str, records: Sequence[object], done: Callable[[int], None]) -> None: ...

    def settle(self, principal: str, done: Callable[[], None]) -> None: ...


class Waiting(Protocol):
    """Devices whose requests the node answers (requests.Requests)."""

    def reply(self, number: int, messages: Sequence[tuple[str, bytes]], *, is_accepted: bool) -> None: ...

    def node_left(self) -> None: ...


class Listeners(Protocol):
    """Who listens to what the node says unasked (listening.Listening)."""

    def everybody(self) -> Iterable[dict[str, Any]]: ...


class Answers(Protocol):
    """Who knows the answers (questions.Questions)."""

    async def answer(self, question: str, fields: Mapping[str, Any]) -> dict[str, Any]: ...


class _Line:
    """One node's connection: what is sent from several tasks goes one after the other."""

    def __init__(self, stream: trio.SocketStream, listeners: Listeners) -> None:
        self.stream = stream
        self._listeners = listeners
        self.questions = trio.CapacityLimiter(BROKER_QUESTION_COUNT_MAX)
        self._sending = trio.Lock()
        self.is_node = False
        """It has said hello and is no bridge: word of unknown devices, which is told once, is for it."""
        self._done: deque[tuple[int, int]] = deque()
        self._requests: deque[dict[str, Any]] = deque()
        self._called_off: deque[int] = deque()
        """Behind the requests: no more than were asked."""
        self._events: deque[dict[str, Any]] = deque()
        self._events_max = SESSION_EVENTS_WAITING_COUNT_MAX
        """Beyond those that it is being told of because all are told anew."""
        self._is_anew = False
        """It has to be told of all who listen."""
        self._has_news = trio.Event()

    async def send(self, kind: str, **fields: Any) -> None:
        async with self._sending:
            await self.stream.send_all(encode_message(kind, **fields))

    def done(self, number: int, seq: int = 0) -> None:
        """Have a bridge told that its request is done; broker/ingest.py bounds how many there are.

        Args:
            seq: Of its last record; 0 where it has none.
        """
        self._done.append((number, seq))
        self._has_news.set()

    def request(self, fields: dict[str, Any]) -> bool:
        """Have a node told of a device's request; False where so many wait to be told that it does not read.

        Who asked is told after a while that nobody answers and asks again: without a bound of its own this would grow for as
        long as a node hangs.
        """
        if len(self._requests) >= REQUEST_UNTOLD_COUNT_MAX:
            return False
        self._requests.append(fields)
        self._has_news.set()
        return True

    def call_off(self, numbers: Sequence[int]) -> None:
        """Have a node told that nobody waits for these answers any more."""
        self._called_off.extend(numbers)
        self._has_news.set()

    def session_event(self, event: dict[str, Any]) -> None:
        """Have a node told of a device that listens or does so no more; where it does not read, it is told of all anew."""
        if len(self._events) >= self._events_max:
            self.tell_everybody()
        elif not self._is_anew:
            self._events.append(event)
            self._has_news.set()

    def tell_everybody(self) -> None:
        """Have a node told of all who listen now."""
        self._events.clear()
        self._is_anew = True
        self._has_news.set()

    async def tell_news(self) -> None:
        """Tell it, until cancelled."""
        while True:
            while self._done:
                number, seq = self._done.popleft()
                await self.send("done", id=number, seq=seq)
            while frames := self._next_frames():
                async with self._sending:
                    await self.stream.send_all(frames)
            self._has_news = trio.Event()
            await self._has_news.wait()

    def _next_frames(self) -> bytes:
        """Requests and events to tell now, b"" where there are none."""
        frames = bytearray()
        is_anew = self._is_anew
        if is_anew:
            self._is_anew = False
            self._events.extend(self._listeners.everybody())
            self._events_max = len(self._events) + SESSION_EVENTS_WAITING_COUNT_MAX
        if is_anew or self._events:
            count = min(len(self._events), SESSION_EVENT_COUNT_MAX)
            events = [self._events.popleft() for _ in range(count)]
            frames += encode_message("sessions", anew=is_anew, events=events)
        while self._requests and len(frames) < NEWS_BYTES:
            frames += encode_message("request", **self._requests.popleft())
        if self._called_off and not self._requests:
            frames += encode_message("called_off", ids=list(self._called_off))
            self._called_off.clear()
        return bytes(frames)


class ControlServer:
    """Serves the control socket.

    Args:
        path: Of the Unix socket; its directory is private to this user (0700).
        commands: Who does what the node asks.
        answers: Who answers what the node asks.
        requests: Who is told what the node answers.
        listeners: Whom a node that comes new is told of.
        statistics: Gives a map of numbers to send every second.
        take_spans: Gives spans of traced messages (tracer.py), for the newest node; sent with them.
    """

    def __init__(
        self,
        path: Path,
        commands: Commands,
        answers: Answers,
        requests: Waiting,
        listeners: Listeners,
        statistics: Callable[[], dict[str, Any]],
        take_spans: Callable[[], list[Any]] = list,
    ) -> None:
        self._path = path
        self._take_spans = take_spans
        self._commands = commands
        self._answers = answers
        self._requests = requests
        self._listeners = listeners
        self._statistics = statistics
        self._head: Head | None = None
        self._waiting = trio.lowlevel.ParkingLot()
        self._contacts: dict[str, None] = {}
        self._clients = 0
        self._nodes: list[_Line] = []
        """Those that answer requests, the newest last."""

    def call_off(self, numbers: Sequence[int]) -> None:
        """Have the node stop what it does for these requests."""
        if self._nodes:
            self._nodes[-1].call_off(numbers)

    def request(self, fields: dict[str, Any]) -> bool:
        """Have the node answer a device's request (`Commands.reply`); False where there is none now."""
        return bool(self._nodes) and self._nodes[-1].request(fields)

    def session_event(self, event: dict[str, Any]) -> None:
        """Have the nodes that answer requests told (listening.py)."""
        for line in self._nodes:
            line.session_event(event)

    def log_grew(self, head: Head) -> None:
        """Have the nodes told; called after every block."""
        self._head = head
        self._waiting.unpark_all()

    def first_contact(self, user_name: str) -> None:
        """Have the nodes told that an unknown device tried to connect."""
        if len(self._contacts) < CONTACT_COUNT_MAX:
            self._contacts[user_name] = None
            self._waiting.unpark_all()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled."""
        self._path.unlink(missing_ok=True)
        with trio.socket.from_stdlib_socket(self._bound()) as listener:
            listener.listen(CLIENT_COUNT_MAX)
            task_status.started()
            async with trio.open_nursery() as nursery:
                while True:
                    try:
                        client, _ = await listener.accept()
                    except OSError as error:
                        if error.errno not in EXHAUSTED:
                            raise
                        log.error(
                            "the node can't connect for now", error=str(error), hint="Raise LimitNOFILE."
                        )
                        await trio.sleep(ACCEPT_PAUSE_S)
                        continue
                    if self._clients >= CLIENT_COUNT_MAX:
                        client.close()
                        continue
                    nursery.start_soon(self._serve_client, client)

    def _bound(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Nothing else runs in between: the mask is the whole process's, and would make folders that nobody can enter.
        before = os.umask(0o177)
        try:
            sock.bind(str(self._path))
        except OSError:
            sock.close()
            raise
        finally:
            os.umask(before)
        return sock

    async def _serve_client(self, client: trio.socket.SocketType) -> None:
        self._clients += 1
        line = _Line(trio.SocketStream(client), self._listeners)
        try:
            async with line.stream, trio.open_nursery() as nursery:
                await line.send("hello", version=CONTROL_VERSION)
                nursery.start_soon(self._tell, line)
                nursery.start_soon(line.tell_news)
                await self._listen(line, nursery)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            log.info("a node's control connection was lost")
        except* RemoteProtocolError as errors:
            log.error(
                "a node's control connection spoke nonsense", errors=[str(e) for e in errors.exceptions]
            )
        finally:
            self._clients -= 1
            if line in self._nodes:
                self._nodes.remove(line)
                self._requests.node_left()

    async def _listen(self, line: _Line, nursery: trio.Nursery) -> None:
        reader = MessageReader()
        while data := await line.stream.receive_some():
            for message in reader.receive_bytes(bytes(data)):
                match message:
                    case {"t": "hello"}:
                        line.is_node = message.get("role") != "bridge"
                        if (
                            line.is_node
                            and line not in self._nodes
                            and message.get("answers_requests") is True
                        ):
                            self._nodes.append(line)
                            line.tell_everybody()
                        self._waiting.unpark_all()
                    case {"t": "revoke", "principal": str(principal)}:
                        self._commands.revoke(principal)
                    case {"t": "access_changed", "principal": str(principal)}:
                        self._commands.access_changed(principal)
                    case {"t": "lag", "lag_ms": int(lag_ms), "behind_records": int(behind)}:
                        self._commands.lag_told(lag_ms, behind)
                    case {"t": "ask", "id": int(number), "question": str(question), "fields": dict(fields)}:
                        token = object()
                        await line.questions.acquire_on_behalf_of(token)
                        nursery.start_soon(self._answer, line, token, number, question, fields)
                    case {
                        "t": "publish",
                        "id": int(number),
                        "principal": str(principal),
                        "records": list(records),
                    }:
                        self._commands.publish(principal, records, partial(line.done, number))
                    case {"t": "settle", "id": int(number), "principal": str(principal)}:
                        self._commands.settle(principal, partial(line.done, number))
                    case {
                        "t": "reply",
                        "id": int(number),
                        "accepted": bool(is_accepted),
                        "messages": list(told),
                    } if (messages := decode_messages(told)) is not None:
                        self._requests.reply(number, messages, is_accepted=is_accepted)
                    case _:
                        log.debug("control message ignored", kind=message["t"])

    async def _answer(
        self, line: _Line, token: object, number: int, question: str, fields: dict[str, Any]
    ) -> None:
        try:
            try:
                body = await self._answers.answer(question, fields)
            except HomeportError as error:
                await line.send("answer", id=number, error=encode_error(error))
            else:
                await line.send("answer", id=number, body=body)
        finally:
            line.questions.release_on_behalf_of(token)

    async def _tell(self, line: _Line) -> None:
        told: Head | None = None
        statistics_at = contacts_at = trio.current_time()
        while True:
            if self._contacts and line.is_node and trio.current_time() >= contacts_at:
                contacts, self._contacts = self._contacts, {}
                await line.send("first_contact", user_names=list(contacts))
                contacts_at = trio.current_time() + CONTACT_INTERVAL_MS / 1000
            if self._head is not None and self._head is not told:
                told = self._head
                await line.send("grew", epoch=told.epoch, next_seq=told.next_seq)
                await trio.sleep(GREW_INTERVAL_MS / 1000)
            else:
                with trio.move_on_at(statistics_at):
                    await self._waiting.park()
            if trio.current_time() >= statistics_at:
                await line.send("statistics", **self._statistics())
                if self._nodes and line is self._nodes[-1] and (spans := self._take_spans()):
                    await line.send("spans", spans=spans)
                statistics_at = trio.current_time() + STATISTICS_INTERVAL_MS / 1000
