"""Calls to a JetStream cluster: connections that are kept, the next server when one is of no use, and JetStream's own requests. For trio.

**Who is believed.** Only the leader of the stream. It alone knows what was acknowledged; a follower may lack it for a moment, and did in tests, directly
after an acknowledgement. So where the end of a subject is, the leader says: it is asked to write after a place that can't be, refuses, and names the last
one. That costs a few bytes whatever the size of a piece. Bytes come from any server, and what one lacks the leader is asked for.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import trio

from appliance.core.limits_jetstream import (
    NATS_CALL_S,
    NATS_CONNECTION_COUNT_MAX,
    NATS_IDLE_S,
    NATS_RETRY_S,
    NATS_RETRY_S_MAX,
    NATS_SUBJECT_COUNT_MAX,
    NATS_UNREACHABLE_COUNT_MAX,
)
from replication.tier.engine import TierAway, TierUnfit
from replication.tier.engines.jetstream_access import Access
from replication.tier.engines.jetstream_connection import NOBODY, Address, Connection, connect
from replication.tier.engines.jetstream_wire import Message, headers_of
from replication.tier.engines.requests import Kind, Requests

T = TypeVar("T")
EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
NEVER: Final = 2**63 - 1
"""A place that no message has: to write after it is refused, with the place of the last one."""
STREAM_GONE: Final = 10059
CONSUMER_GONE: Final = (10014, 10149)
MESSAGE_GONE: Final = (10037, 10043, 10057)
"""No message found; no such sequence; it can't be deleted since it is not there."""
WRONG_LAST: Final = 10071
BUSY_LAST: Final = 10164
"""Somebody else's message to the same subject is under way."""
FULL: Final = (10047, 10077, 10122, 10002, 10023)
"""No room: storage, max_bytes, limits of the account or of the server."""
REFUSED: Final = (10054, 10110, 10111, 10123, 10125, 10039, 10076)
"""For people to mend: too large, may not delete, may not purge, JetStream not enabled (for this account)."""
_LAST: Final = re.compile(r"wrong last sequence: (\d+)")


class WrongLast(Exception):
    """The leader refuses to write: the subject's last message has another place.

    Attributes:
        seq: Its place in the stream; 0 where the subject has none.
    """

    def __init__(self, seq: int) -> None:
        super().__init__(str(seq))
        self.seq = seq


class NobodyThere(TierAway):
    """None of the servers could be connected to. Unlike an election this is not over in some seconds."""


class _NotNow(TierAway):
    """An answer that another attempt may better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A message of the stream.

    Attributes:
        seq: Its place in the stream.
    """

    subject: str
    seq: int
    headers: Mapping[str, str]
    data: bytes


class Calls:
    """Questions to a cluster about one stream.

    Args:
        addresses: Of its servers; the one that answered last is asked first.
        on_connected: What is looked at on each new connection, before it is used.
    """

    def __init__(
        self,
        stream: str,
        addresses: Sequence[Address],
        access: Access,
        on_connected: Callable[[Connection], None],
    ) -> None:
        self.stream = stream
        self._addresses = list(addresses)
        self._access = access
        self._on_connected = on_connected
        self._idle: list[Connection] = []
        self._places = trio.CapacityLimiter(NATS_CONNECTION_COUNT_MAX)
        self.requests = Requests()
        self.lost_count = 0
        """How often the servers were in trouble: one may have been started again since."""

    async def aclose(self) -> None:
        """Close all connections. Calls must have ended."""
        with trio.CancelScope(shield=True):
            while self._idle:
                await self._idle.pop().aclose()

    async def call(self, what: Callable[[Connection], Awaitable[T]]) -> T:
        """Do something with a connection, with another one if that fails, as long as there was progress within NATS_CALL_S.

        Raises:
            TierAway: no server could do it. TierUnfit, WrongLast: as `what` says.
        """
        failed: TierAway | None = None
        pause_s = NATS_RETRY_S
        unreachable = 0
        with trio.CancelScope() as scope:

            def extend() -> None:
                # Only of the first attempt: what fails again and again makes no progress.
                if failed is None:
                    scope.deadline = trio.current_time() + NATS_CALL_S

            scope.deadline = trio.current_time() + NATS_CALL_S
            while True:
                try:
                    async with self._connection(extend) as connection:
                        return await what(connection)
                except NobodyThere as error:
                    self._note_failure()
                    failed = error
                    unreachable += 1
                    if unreachable >= NATS_UNREACHABLE_COUNT_MAX:
                        break
                except TierAway as error:
                    self._note_failure()
                    failed = error
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, NATS_RETRY_S_MAX)
        raise TierAway(
            failed.message if failed is not None else "The NATS servers do not answer.",
            hint="It goes on by itself when a majority of the NATS servers is back.",
            code="tier_away",
        )

    def _note_failure(self) -> None:
        self.lost_count += 1
        self.requests.failed_count += 1

    async def api(
        self, subject: str, question: Mapping[str, Any] | None = None, *, kind: Kind = "list"
    ) -> dict[str, Any]:
        """Ask JetStream's own interface: the answer, or {"error": …} with its code where it is a lasting one.

        Args:
            kind: As what it counts.
        """
        data = json.dumps(question).encode() if question is not None else b""

        async def ask(connection: Connection) -> dict[str, Any]:
            self.requests.count(kind)
            return judged(await connection.ask(f"$JS.API.{subject}", data))

        return await self.call(ask)

    async def publish(self, subject: str, data: bytes, expected: int, headers: Mapping[str, str]) -> int:
        """Write a message after the subject's last one; its place when a majority has it on disk.

        Args:
            expected: The place of the subject's last message; 0 where it has none.
        Raises:
            WrongLast: the subject's last message is another. After an attempt whose answer did not come it may be this one.
            TierAway, TierUnfit: as above.
        """

        async def ask(connection: Connection) -> int:
            self.requests.count("put" if expected != NEVER else "get")
            answer = judged(await connection.ask(subject, data, {**headers, EXPECTED: str(expected)}))
            if "error" in answer:
                raise _error_of(answer)
            seq = answer.get("seq")
            if answer.get("stream") != self.stream or not isinstance(seq, int):
                raise TierUnfit(
                    f"Another stream than {self.stream} took a message to {subject}.",
                    hint="See that no other stream has the subject.",
                )
            return seq

        return await self.call(ask)

    async def last_seq(self, subject: str) -> int:
        """The place of a subject's last message as the leader knows it; 0 where there is none."""
        try:
            await self.publish(subject, b"", NEVER, {})
        except WrongLast as answer:
            return answer.seq
        raise TierUnfit(
            f"The stream {self.stream} wrote what it should have refused.", hint="Look at its settings."
        )

    async def message(self, seq: int) -> Stored | None:
        """A message by its place; None where the leader says that there is none (any more)."""
        return await self._direct({"seq": seq}) or await self._of_leader({"seq": seq})

    async def next_message(self, seq: int, subject: str) -> Stored | None:
        """The first message of a subject at or after a place, as the leader knows it."""
        return await self._of_leader({"seq": seq, "next_by_subj": subject})

    async def delete(self, seq: int) -> None:
        """Remove a message; one that is not there is no error."""
        self._checked(
            await self.api(f"STREAM.MSG.DELETE.{self.stream}", {"seq": seq, "no_erase": True}, kind="remove"),
            MESSAGE_GONE,
        )

    async def purge(self, subject: str) -> None:
        """Remove all messages of a subject."""
        self._checked(await self.api(f"STREAM.PURGE.{self.stream}", {"filter": subject}, kind="remove"))

    async def subjects(self, pattern: str) -> list[str]:
        """The subjects with messages, in no order."""
        found: list[str] = []
        while len(found) < NATS_SUBJECT_COUNT_MAX:
            answer = self._checked(
                await self.api(
                    f"STREAM.INFO.{self.stream}", {"subjects_filter": pattern, "offset": len(found)}
                )
            )
            page = (answer.get("state") or {}).get("subjects") or {}
            found += page
            if not page or len(found) >= int(answer.get("total", 0)):
                return found
        raise TierUnfit(f"The stream {self.stream} has more than {NATS_SUBJECT_COUNT_MAX} of {pattern}.")

    def _checked(self, answer: dict[str, Any], allowed: Sequence[int] = ()) -> dict[str, Any]:
        if "error" in answer and code_of(answer) not in allowed:
            raise _error_of(answer)
        return answer

    async def _direct(self, question: Mapping[str, Any]) -> Stored | None:
        """A message as any server has it; None where that one lacks it."""
        data = json.dumps(question).encode()

        async def ask(connection: Connection) -> Stored | None:
            self.requests.count("get")
            answer = await connection.ask(f"$JS.API.DIRECT.GET.{self.stream}", data)
            if answer.status == 404:
                return None
            if answer.status:
                raise _NotNow(f"The NATS servers give no message: {answer.status} {answer.reason}.")
            try:
                seq = int(answer.headers["nats-sequence"])
                return Stored(
                    subject=answer.headers["nats-subject"], seq=seq, headers=answer.headers, data=answer.data
                )
            except (KeyError, ValueError) as error:
                raise _NotNow("A NATS server gave a message without saying which.") from error

        return await self.call(ask)

    async def _of_leader(self, question: Mapping[str, Any]) -> Stored | None:
        answer = self._checked(
            await self.api(f"STREAM.MSG.GET.{self.stream}", question, kind="get"), MESSAGE_GONE
        )
        message = answer.get("message")
        if not isinstance(message, dict):
            return None
        raw = base64.b64decode(message.get("hdrs") or "")
        return Stored(
            subject=str(message.get("subject", "")),
            seq=int(message.get("seq", 0)),
            headers=headers_of(raw)[2] if raw else {},
            data=base64.b64decode(message.get("data") or ""),
        )

    @asynccontextmanager
    async def _connection(self, on_progress: Callable[[], None]) -> AsyncIterator[Connection]:
        """A connection for one call: kept for the next one if all went well, and closed if not."""
        async with self._places:
            connection = await self._kept() or await self._new(on_progress)
            connection.on_progress = on_progress
            is_good = False
            try:
                yield connection
                is_good = True
            except WrongLast:
                is_good = True
                raise
            except TierAway:
                # Another server may know better: one that was cut off from the others does not.
                self._pass_over(connection.address)
                raise
            finally:
                if is_good:
                    self._idle.append(connection)
                else:
                    await connection.aclose()

    async def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if trio.current_time() - connection.used_at < NATS_IDLE_S:
                return connection
            await connection.aclose()
        return None

    async def _new(self, on_progress: Callable[[], None]) -> Connection:
        failed: TierAway | None = None
        for address in list(self._addresses):
            try:
                connection = await connect(address, self._access, "homeport tier", on_progress)
            except TierAway as error:
                failed = error
                self._pass_over(address)
                continue
            try:
                self._on_connected(connection)
            except TierUnfit:
                await connection.aclose()
                raise
            return connection
        assert failed is not None
        raise NobodyThere(failed.message) from failed

    def _pass_over(self, address: Address) -> None:
        """Ask another one first the next time, unless somebody saw to that already."""
        if self._addresses[0] is address:
            self._addresses.append(self._addresses.pop(0))


def judged(answer: Message) -> dict[str, Any]:
    """What JetStream says, or that it can't say it now.

    Raises:
        TierAway: it can't.
    """
    if answer.status == NOBODY:
        raise _NotNow("The JetStream stream has no leader now, or the user has no JetStream.")
    try:
        values = json.loads(answer.data)
    except ValueError as error:
        raise _NotNow("JetStream's answer is no JSON.") from error
    if not isinstance(values, dict):
        raise _NotNow("JetStream's answer is no object.")
    if "error" in values:
        code = code_of(values)
        if code == BUSY_LAST or (int(values["error"].get("code", 0)) >= 500 and code not in REFUSED + FULL):
            raise _NotNow(f"JetStream can't do it now: {values['error'].get('description', code)}.")
        if code == WRONG_LAST:
            found = _LAST.search(str(values["error"].get("description", "")))
            if found is None:
                raise _NotNow("JetStream does not say which message is the last.")
            raise WrongLast(int(found[1]))
    return values


def code_of(answer: Mapping[str, Any]) -> int:
    """The number of what is wrong, by JetStream's own list; 0 where nothing is."""
    error = answer.get("error")
    return int(error.get("err_code", 0)) if isinstance(error, dict) else 0


def _error_of(answer: Mapping[str, Any]) -> Exception:
    code, words = code_of(answer), str(answer["error"].get("description", ""))
    if code in FULL:
        return TierAway(
            f"The JetStream stream takes nothing: {words}.",
            hint="Make room, or raise the limit.",
            code="tier_full",
        )
    return TierUnfit(
        f"JetStream refuses: {words} ({code}).", hint="Look at the stream and at the user's rights."
    )
