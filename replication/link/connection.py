"""A link after admission: what goes out by priority, what comes in, whether the other end is still there.

One task sends, one receives, one listens for silence. Messages of kinds 1 to 9 are the link's own; all others are passed on as
they are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import trio

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits_replication import (
    LINK_PING_S,
    LINK_PROBE_S,
    LINK_ROSTER_BURST,
    LINK_ROSTER_PER_S,
    LINK_SILENCE_S,
)
from replication.link.admission import PROTOCOL, SILENT, Refusal, refusal
from replication.link.messages import (
    Hello,
    LinkMessage,
    Ping,
    Pong,
    Refused,
    RenewAnswer,
    RenewAsk,
    RosterDigest,
    RosterEntries,
    Welcome,
    decode_link_message,
    encode_link_message,
    is_link_message,
)
from replication.link.transport import Wire, WireEnded
from replication.pace import Pace
from replication.scheduling import LinkQueue, Priority

RosterMessage: TypeAlias = RosterDigest | RosterEntries | RenewAsk | RenewAnswer
OnLeft: TypeAlias = Callable[[], None]
NUMBER_MASK: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatistics:
    """Of one link since it began.

    Attributes:
        rtt_ms: The newest measured; -1 before the first.
        clock_ahead_ms: By how much its clock was ahead of ours when the link began.
        waiting_bytes: What was not sent yet.
        refused_messages: Not taken, because too much of their priority waited.
    """

    node_id: str
    address: str
    is_dialled: bool
    since_at_ms: int
    release: str
    clock_ahead_ms: int
    rtt_ms: int
    sent_bytes: int
    received_bytes: int
    sent_messages: int
    received_messages: int
    waiting_bytes: int
    refused_messages: int


class Link:
    """See the module's docstring.

    Args:
        said: What the other end said of itself.
        is_dialled: We dialled.
        dialler_id: Node id of whoever did.
        bytes_per_s: The budget for repair and backlog; 0 is none.
    """

    def __init__(
        self,
        wire: Wire,
        said: Hello | Welcome,
        *,
        address: str,
        is_dialled: bool,
        dialler_id: str,
        now_ms: int,
        bytes_per_s: int,
    ) -> None:
        self.peer = said.node_id
        self.said = said
        self.address = address
        self.is_dialled = is_dialled
        self.dialler_id = dialler_id
        self.since_at_ms = now_ms
        self.began_at = trio.current_time()
        self.ended = trio.Event()
        """Nothing more is sent or taken."""
        self.closed = trio.Event()
        """The other end was told, too."""
        self._wire = wire
        self._queue: LinkQueue[tuple[bytes, OnLeft | None]] = LinkQueue(_mono_ms(), bytes_per_s=bytes_per_s)
        self._pace = Pace()
        self._unsent_bytes = self._pace.unsent_bytes
        self._sending = trio.Lock()
        self._is_leaving = False
        self._has_work = trio.Event()
        self._scope = trio.CancelScope()
        self._why: Refusal | None = None
        self._pings: dict[int, float] = {}
        self._number = 0
        self._ponged = trio.Event()
        self._rtt_ms = -1
        self._sent = self._received = 0
        self._may_ask = float(LINK_ROSTER_BURST)
        self._filled_at = self.began_at

    @property
    def run_id(self) -> str:
        """Of the other end's process."""
        return self.said.run

    @property
    def lived_ms(self) -> int:
        return int((trio.current_time() - self.began_at) * 1000)

    def statistics(self) -> LinkStatistics:
        return LinkStatistics(
            node_id=self.peer,
            address=self.address,
            is_dialled=self.is_dialled,
            since_at_ms=self.since_at_ms,
            release=self.said.release,
            clock_ahead_ms=self.said.now_ms - self.since_at_ms,
            rtt_ms=self._rtt_ms,
            sent_bytes=self._wire.stream.sent_bytes,
            received_bytes=self._wire.stream.received_bytes,
            sent_messages=self._sent,
            received_messages=self._received,
            waiting_bytes=self._queue.waiting_bytes,
            refused_messages=self._queue.refused_count,
        )

    def send(self, data: bytes, priority: Priority, on_left: OnLeft | None = None) -> bool:
        """Have a message go out in its turn.

        Args:
            on_left: Called once it was sent, or the link is gone with it.
        Returns:
            False where so much of its priority waits that it was not taken; `on_left` is not called then.
        """
        if self.ended.is_set() or not self._queue.put((data, on_left), len(data), priority):
            return False
        self._has_work.set()
        return True

    def say(self, message: LinkMessage) -> bool:
        """The same for what is the link's own."""
        return self.send(encode_link_message(message), Priority.CONTROL)

    def may_ask(self, cost: int) -> bool:
        """Whether the other end may have so much done about the roster now; counts it if so."""
        now = trio.current_time()
        self._may_ask += (now - self._filled_at) * LINK_ROSTER_PER_S
        self._may_ask = min(self._may_ask, float(LINK_ROSTER_BURST))
        self._filled_at = now
        if cost > self._may_ask:
            return False
        self._may_ask -= cost
        return True

    def end(self, why: Refusal) -> None:
        """End it; `run` returns soon."""
        if self._why is None:
            self._why = why
        self._scope.cancel()

    async def is_alive(self) -> bool:
        """Ask the other end; False where it doesn't answer within LINK_PROBE_S."""
        self._ponged = ponged = trio.Event()
        self._ping()
        with trio.move_on_after(LINK_PROBE_S):
            await ponged.wait()
            return not self.ended.is_set()
        return False

    async def run(
        self,
        on_message: Callable[[str, bytes], None],
        on_roster: Callable[[Link, RosterMessage], None],
    ) -> Refusal:
        """Carry messages until the link is over, or `end` was called.

        Args:
            on_message: Gets the peer and each message; raises RemoteProtocolError for what it can't understand.
            on_roster: The same for messages about roster and certificates.
        Returns:
            Why it ended.
        """
        ends: list[Refusal] = []
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for task in (self._send_all, self._watch):
                        nursery.start_soon(self._until_ended, task, ends, nursery.cancel_scope)
                    try:
                        await self._receive_all(on_message, on_roster)
                    except WireEnded as ended:
                        ends.append(ended.refusal)
                    except RemoteProtocolError as error:
                        ends.append(refusal(PROTOCOL, error.message))
                    if ends[0].is_ours:
                        await self._sent_to_its_end()
                    nursery.cancel_scope.cancel()
        except BaseException:
            self.closed.set()
            raise
        finally:
            self._forget()
        why = self._why or (ends[0] if ends else refusal(SILENT))
        try:
            if why.is_ours:
                await self._take_leave(why)
        finally:
            self.closed.set()
        return why

    async def _sent_to_its_end(self) -> None:
        """Let the message that is being sent go out whole, or what is said after it can't be read."""
        self._is_leaving = True
        with trio.move_on_after(LINK_PROBE_S):
            async with self._sending:
                return

    async def _take_leave(self, why: Refusal) -> None:
        with trio.move_on_after(LINK_PROBE_S):
            try:
                await self._wire.send(
                    encode_link_message(Refused(reason=why.reason, message=why.message[:400]))
                )
            except WireEnded:
                return
        await self._wire.close(why.reason)

    async def _until_ended(
        self,
        task: Callable[[], Awaitable[None]],
        ends: list[Refusal],
        scope: trio.CancelScope,
    ) -> None:
        try:
            await task()
        except WireEnded as ended:
            ends.append(ended.refusal)
        scope.cancel()

    async def _send_all(self) -> None:
        while not self._is_leaving:
            self._has_work = trio.Event()
            now_ms = _mono_ms()
            item = self._queue.take(now_ms)
            if item is not None:
                data, on_left = item
                try:
                    async with self._sending:
                        await self._wire.send(data)
                finally:
                    if on_left is not None:
                        on_left()
                self._sent += 1
                self._keep_pace(len(data))
                continue
            wait_ms = self._queue.wait_ms(now_ms)
            with trio.move_on_after(_seconds(wait_ms)):
                await self._has_work.wait()

    def _keep_pace(self, size_bytes: int) -> None:
        self._pace.left(size_bytes, _mono_ms(), is_more=bool(self._queue))
        if self._pace.unsent_bytes != self._unsent_bytes:
            self._unsent_bytes = self._pace.unsent_bytes
            self._wire.keep_unsent(self._unsent_bytes)

    async def _receive_all(
        self,
        on_message: Callable[[str, bytes], None],
        on_roster: Callable[[Link, RosterMessage], None],
    ) -> None:
        while True:
            data = await self._wire.receive()
            self._received += 1
            if not is_link_message(data):
                on_message(self.peer, data)
                continue
            match decode_link_message(data):
                case Ping(number):
                    self.say(Pong(number))
                case Pong(number):
                    sent_at = self._pings.pop(number, None)
                    if sent_at is not None:
                        self._rtt_ms = int((trio.current_time() - sent_at) * 1000)
                        self._ponged.set()
                case Refused(reason, message):
                    raise WireEnded(Refusal(reason=reason, message=message, is_ours=False))
                case Hello() | Welcome():
                    raise RemoteProtocolError("It said hello twice.")
                case message:
                    on_roster(self, message)

    async def _watch(self) -> None:
        while True:
            await trio.sleep(LINK_PING_S)
            silent_s = trio.current_time() - self._wire.stream.received_at
            if silent_s >= LINK_SILENCE_S:
                raise WireEnded(refusal(SILENT))
            self._ping()

    def _ping(self) -> None:
        # Pings that were never answered are forgotten with the silence that ends the link.
        self._number = (self._number + 1) & NUMBER_MASK
        self._pings[self._number] = trio.current_time()
        if len(self._pings) > LINK_SILENCE_S:
            self._pings.pop(next(iter(self._pings)))
        self.say(Ping(self._number))

    def _forget(self) -> None:
        """Say of all that waits that it is gone with the link."""
        self.ended.set()
        self._ponged.set()
        # By a time far ahead no budget holds anything back.
        while (item := self._queue.take(_mono_ms() + (1 << 40))) is not None:
            if item[1] is not None:
                item[1]()


def _seconds(wait_ms: int | None) -> float:
    """How long to wait, s."""
    return float("inf") if wait_ms is None else wait_ms / 1000


def _mono_ms() -> int:
    return int(trio.current_time() * 1000)
