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
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
import trio

from appliance.core.errors import HomeportError, RemoteProtocolError
from appliance.core.limits import BROKER_QUESTION_COUNT_MAX
from storage.log.head import Head

from .control_messages import CONTROL_VERSION, MessageReader, encode_error, encode_message

STATISTICS_INTERVAL_MS: Final = 1000
GREW_INTERVAL_MS: Final = 10
"""At most every so often the node is told that the log has grown."""
CLIENT_COUNT_MAX: Final = 8
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
ACCEPT_PAUSE_S: Final = 0.1
"""Without descriptors or memory left, accepting pauses; the node waits in the kernel's queue."""
CONTACT_COUNT_MAX: Final = 256
"""Unknown devices remembered until a node has been told; more are forgotten and heard of when they try again."""

log = structlog.get_logger(__name__)


class Commands(Protocol):
    """What the node may ask for."""

    def revoke(self, principal: str) -> int: ...

    def access_changed(self, principal: str) -> None: ...

    def lag_told(self, lag_ms: int, behind_records: int) -> None: ...

    def publish(self, principal: str, records: Sequence[object], done: Callable[[int], None]) -> None: ...

    def settle(self, principal: str, done: Callable[[], None]) -> None: ...


class Answers(Protocol):
    """Who knows the answers (questions.Questions)."""

    async def answer(self, question: str, fields: Mapping[str, Any]) -> dict[str, Any]: ...


class _Line:
    """One node's connection: what is sent from several tasks goes one after the other."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.questions = trio.CapacityLimiter(BROKER_QUESTION_COUNT_MAX)
        self._sending = trio.Lock()
        self.is_node = False
        """It has said hello and is no bridge: word of unknown devices, which is told once, is for it."""
        self._done: deque[tuple[int, int]] = deque()
        self._has_done = trio.Event()

    async def send(self, kind: str, **fields: Any) -> None:
        async with self._sending:
            await self.stream.send_all(encode_message(kind, **fields))

    def done(self, number: int, seq: int = 0) -> None:
        """Have a bridge told that its request is done; broker/ingest.py bounds how many there are.

        Args:
            seq: Of its last record; 0 where it has none.
        """
        self._done.append((number, seq))
        self._has_done.set()

    async def tell_done(self) -> None:
        """Tell it, until cancelled."""
        while True:
            while self._done:
                number, seq = self._done.popleft()
                await self.send("done", id=number, seq=seq)
            self._has_done = trio.Event()
            await self._has_done.wait()


class ControlServer:
    """Serves the control socket.

    Args:
        path: Of the Unix socket; its directory is private to this user (0700).
        commands: Who does what the node asks.
        answers: Who answers what the node asks.
        statistics: Gives a map of numbers to send every second.
    """

    def __init__(
        self,
        path: Path,
        commands: Commands,
        answers: Answers,
        statistics: Callable[[], dict[str, Any]],
    ) -> None:
        self._path = path
        self._commands = commands
        self._answers = answers
        self._statistics = statistics
        self._head: Head | None = None
        self._waiting = trio.lowlevel.ParkingLot()
        self._contacts: dict[str, None] = {}
        self._clients = 0

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
        line = _Line(trio.SocketStream(client))
        try:
            async with line.stream, trio.open_nursery() as nursery:
                await line.send("hello", version=CONTROL_VERSION)
                nursery.start_soon(self._tell, line)
                nursery.start_soon(line.tell_done)
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

    async def _listen(self, line: _Line, nursery: trio.Nursery) -> None:
        reader = MessageReader()
        while data := await line.stream.receive_some():
            for message in reader.receive_bytes(bytes(data)):
                match message:
                    case {"t": "hello"}:
                        line.is_node = message.get("role") != "bridge"
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
        statistics_at = trio.current_time()
        while True:
            if self._contacts and line.is_node:
                contacts, self._contacts = self._contacts, {}
                await line.send("first_contact", user_names=list(contacts))
            if self._head is not None and self._head is not told:
                told = self._head
                await line.send("grew", epoch=told.epoch, next_seq=told.next_seq)
                await trio.sleep(GREW_INTERVAL_MS / 1000)
            else:
                with trio.move_on_at(statistics_at):
                    await self._waiting.park()
            if trio.current_time() >= statistics_at:
                await line.send("statistics", **self._statistics())
                statistics_at = trio.current_time() + STATISTICS_INTERVAL_MS / 1000
