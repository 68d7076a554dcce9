"""Out of the log to shared subscriptions none of whose members could take a message when it came.

First what members had and did not acknowledge before their sessions ended, then what the log holds from the group's cursor
on, a slice at a time. What the log no longer holds, or holds damaged, is skipped and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import CursorExpired, LogDamaged, StorageError

from .log_window import MESSAGE_KINDS, BlockSource, LogWindow
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
        self._lagging: dict[int, SharedGroup] = {}
        self._wanted: dict[int, SharedGroup] = {}
        self._work = trio.Event()
        self.delivered_messages = 0
        self.skipped_records = 0

    def add(self, group: SharedGroup) -> None:
        """Something waits in the log for a group."""
        self._lagging[id(group)] = group

    def want(self) -> None:
        """Called when a member of any group may have room again; costs nothing where no group is behind."""
        for key, group in self._lagging.items():
            if group.wants_refill:
                self._wanted[key] = group
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
        if not group.members:
            self._lagging.pop(id(group), None)
            return
        try:
            if group.returned:
                await self._give_out_returned(group, plane)
            elif group.lag_seq is not None:
                await self._give_out_after(group, group.lag_seq, plane)
        except StorageError as error:
            log.error("a shared subscription can't be fed", group=group.full_filter, error=str(error))
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
            is_wanted = [matches(group.topic_filter, topic.decode()) for topic in part.columns.topics]
            for seq in part.seqs:
                index = seq - part.block.first_seq
                columns = part.columns
                if (
                    columns.kinds[index] not in MESSAGE_KINDS
                    or not is_wanted[columns.topic_index[index]]
                    or seq in group.handed
                ):
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
