"""Out of the log to shared subscriptions none of whose members could take a message when it came.

First what members had and did not acknowledge before their sessions ended, then what the log holds from the group's cursor
on, a slice at a time. What the log no longer holds, or holds damaged, is skipped and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import CursorExpired, LogDamaged, StorageError
from storage.log.columns import MESSAGE_KINDS

from .log_window import BlockSource, LogWindow
from .mqtt.topics import matches

if TYPE_CHECKING:
    from .data_plane import DataPlane
    from .delivery import Delivery
    from .router import Grant
    from .shared import SharedGroup
    from .state.session import Session

SLICE_RECORD_COUNT: Final = 1000
"""Records looked at for one group before others have their turn."""
RETURNED_SLICE_COUNT: Final = 64
"""Messages given out again at a time."""

log = structlog.get_logger(__name__)


class SharedRefill:
    """See the module's docstring."""

    def __init__(self, source: BlockSource, clock: Clock) -> None:
        self._window = LogWindow(source)
        self._clock = clock
        self._lagging: WeakValueDictionary[int, SharedGroup] = WeakValueDictionary()
        """Something waits for them. One that has no members any more is nobody's, and is forgotten."""
        self._wanted: dict[int, SharedGroup] = {}
        self._work = trio.Event()
        self.delivered_messages = 0
        self.skipped_records = 0

    def add(self, group: SharedGroup) -> None:
        """Something waits in the log for a group, and a member may have room for it already."""
        if id(group) not in self._lagging:
            self._lagging[id(group)] = group
            self._wanted[id(group)] = group
            self._work.set()

    def want(self, session: Session) -> None:
        """Called when a member may have room again: what waits for its groups, and for those alone, is looked at."""
        if not session.groups or not session.outbound.can_take:
            return
        for group in session.groups.values():
            if group.is_behind and id(group) not in self._wanted:
                self._lagging[id(group)] = self._wanted[id(group)] = group
                self._work.set()

    async def run(self, plane: DataPlane) -> None:
        """Feed them one slice at a time in turn. Runs until cancelled."""
        while True:
            await self._work.wait()
            if self._wanted:
                await self._serve(self._wanted.pop(next(iter(self._wanted))), plane)
            else:
                self._work = trio.Event()
            await trio.lowlevel.checkpoint()

    async def _serve(self, group: SharedGroup, plane: DataPlane) -> None:
        try:
            if not group.wants_refill:
                pass
            elif group.returned:
                await self._give_out_returned(group, plane)
            elif group.lag_seq is not None:
                await self._give_out_after(group, group.lag_seq, plane)
        except StorageError as error:
            log.error("a shared subscription can't be fed", group=group.full_filter, error=str(error))
            self._lagging.pop(
                id(group), None
            )  # The next message for it, or room in a member, has it tried again.
            return
        plane.wake()
        if not group.is_behind:
            self._lagging.pop(id(group), None)
            if not self._lagging:
                self._window.clear()
        elif group.wants_refill:
            self._wanted[id(group)] = group

    def hand(
        self, group: SharedGroup, member: tuple[Session, Grant], delivery: Delivery, plane: DataPlane
    ) -> None:
        """Give a message to the member that was chosen; it can take it."""
        session, grant = member
        how = grant.recipe(delivery.qos, delivery.is_retained)
        if how.qos:
            group.give_out(delivery.seq)
        outbound, connection = session.outbound, session.connection
        data = outbound.offer(delivery, how, group)
        if outbound.withheld:
            plane.lifecycle.record_sent(session)
        if data and connection is not None:
            self.delivered_messages += 1
            outbound.unsent_bytes += len(data)
            connection.outbox.append(data)
            plane.mark_dirty(connection)

    async def _give_out_returned(self, group: SharedGroup, plane: DataPlane) -> None:
        """What members had and did not acknowledge."""
        for _ in range(RETURNED_SLICE_COUNT):
            if not group.returned:
                return
            seq = group.returned[0]
            try:
                delivery = await self._window.message(seq)
            except (CursorExpired, LogDamaged) as error:
                log.warning("a message that waited for a group is lost", seq=seq, error=error.message)
                self.skipped_records += 1
                group.returned.remove(seq)
                continue
            member = group.choose()
            if member is None:
                return
            group.returned.remove(seq)
            aged = delivery.aged(self._clock.now_ms())
            if aged is not None:
                self.hand(group, member, aged, plane)

    async def _give_out_after(self, group: SharedGroup, seq: int, plane: DataPlane) -> None:
        """What the log holds from `seq` on, a slice of it."""
        if seq >= plane.durable_next_seq:
            group.caught_up()
            return
        try:
            found = await self._window.slice(seq, SLICE_RECORD_COUNT, plane.durable_next_seq)
        except (CursorExpired, LogDamaged) as error:
            after = self._window.skip(seq, error, plane.durable_next_seq)
            self.skipped_records += after - seq
            group.lag_seq = after
            log.error(
                "records were skipped on the way to a shared subscription", group=group.full_filter,
                first_seq=seq, next_seq=after, error=error.message,
            )  # fmt: skip
            return
        now_ms = self._clock.now_ms()
        for part in found:
            columns, is_wanted = part.columns, dict[int, bool]()
            for seq in part.seqs:
                index = seq - part.block.first_seq
                if columns.kinds[index] not in MESSAGE_KINDS or seq in group.handed:
                    continue
                slot = columns.topic_index[index]
                if slot not in is_wanted:
                    is_wanted[slot] = matches(group.topic_filter, columns.topics[slot].decode())
                if not is_wanted[slot]:
                    continue
                aged = part.message(index).aged(now_ms)
                if aged is None:
                    continue
                member = group.choose()
                if member is None:
                    group.lag_seq = seq
                    return
                self.hand(group, member, aged, plane)
            group.lag_seq = part.seqs.stop
