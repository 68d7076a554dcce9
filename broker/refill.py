"""Out of the log to sessions that could not be served live: their clients were too slow, or away.

A session gets, in this order, a slice at a time with a turn of everything else in between: what was in flight when its
connection before ended, with DUP; what its queue of positions names; the retained messages that a subscription asks
for; what the log holds from `Outbound.lag_seq` on. When that has caught up with what was fanned out it is live again; both happen
between two turns of the data plane, so no message falls between or comes by both ways.

A session whose client left while it was a cursor is brought to rest: what the log holds for it becomes positions, by the
rule of its queue.

What the log no longer holds, or holds damaged, is skipped and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Final

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import CursorExpired, LogDamaged, StorageError
from storage.log.columns import MESSAGE_KINDS

from .delivery import Delivery, as_duplicate, recipe
from .local_messages import LOCAL_ROOT
from .log_window import BlockSource, LogWindow, Slice
from .mqtt.reason_codes import ReasonCode
from .mqtt.subscriptions import SubscriptionTree
from .mqtt.topics import is_shared_filter, matches
from .outbound import Step
from .router import Grant, merged
from .session_records import CloseReason
from .state.retained import RetainedMessages, RetainedWalk

if TYPE_CHECKING:
    from .data_plane import DataPlane
    from .delivery import Recipe
    from .state.session import Session

SLICE_RECORD_COUNT: Final = 1000
"""Records looked at for one session before others have their turn: 1 to 4 ms."""
LINEAR_FILTER_COUNT_MAX: Final = 4
"""More filters than this are worth a tree: a block may have 20,000 topics, a session 1,024 filters."""
BEGUN_WALK_COUNT_MAX: Final = 4
"""Of one session. A walk that was begun remembers all topics beside its way, which may be 4 MB; others wait for their turn."""
log = structlog.get_logger(__name__)


class Refill:
    """See the module's docstring.

    Args:
        source: The log.
        retained, local: For new subscriptions: messages of the log, and those that are in none.
    """

    def __init__(
        self, source: BlockSource, retained: RetainedMessages, local: RetainedMessages, clock: Clock
    ) -> None:
        self._window = LogWindow(source)
        self._retained = retained
        self._local = local
        self._clock = clock
        self._lagging: dict[int, Session] = {}
        self._wanted: dict[int, Session] = {}
        self._work = trio.Event()
        self.delivered_messages = 0
        self.skipped_records = 0
        """Records that a cursor could not look at, because they were no longer in the log or damaged there."""

    @property
    def lagging_count(self) -> int:
        """Sessions of connected clients that are cursors now."""
        return sum(session.connection is not None for session in self._lagging.values())

    # --- who is to be fed -----------------------------------------------------------------------------------

    def add(self, session: Session) -> None:
        """A session has become a cursor."""
        self._lagging[id(session)] = session

    def want(self, session: Session) -> None:
        """Called when a session that is a cursor may have room again, or has come to rest."""
        if session.outbound.wants_refill:
            self._lagging[id(session)] = session
            if not session.is_refilling:
                self._wanted[id(session)] = session
                self._work.set()

    def forget(self, session: Session) -> None:
        """A session has ended."""
        self._lagging.pop(id(session), None)
        self._wanted.pop(id(session), None)
        self._forget_blocks()

    async def run(self, plane: DataPlane) -> None:
        """Feed them one slice at a time in turn. Runs until cancelled."""
        while True:
            await self._work.wait()
            if self._wanted:
                await self._serve(self._wanted.pop(next(iter(self._wanted))), plane)
            else:
                self._work = trio.Event()
            await trio.lowlevel.checkpoint()

    async def _serve(self, session: Session, plane: DataPlane) -> None:
        session.is_refilling = True
        try:
            await self._feed(session, plane)
        except StorageError as error:
            log.error("a session can't be fed from the log", client_id=session.client_id, error=str(error))
            connection = session.connection
            if connection is not None:
                plane.close(connection, CloseReason.KICKED, ReasonCode.UNSPECIFIED_ERROR)
            self._lagging.pop(id(session), None)
            plane.wake()
            return
        finally:
            session.is_refilling = False
        if session.connection is not None:
            plane.mark_dirty(session.connection)
            plane.wake()
        self.want(session)

    async def _feed(self, session: Session, plane: DataPlane) -> None:
        outbound = session.outbound
        seq = outbound.lag_seq
        if seq is None:
            return
        if outbound.resend:
            await self._resend(session)
        elif outbound.is_online and outbound.positions:
            await self._deliver_positions(session, plane)
        elif session.retained:
            self._deliver_retained(session, plane)
        elif seq >= plane.durable_next_seq:
            self._caught_up(session)
            plane.shared_refill.want(session)
        else:
            await self._deliver_after(session, seq, plane)

    def _caught_up(self, session: Session) -> None:
        session.outbound.lag_seq = None
        session.outbound.handed.clear()
        self._lagging.pop(id(session), None)
        self._forget_blocks()

    def _forget_blocks(self) -> None:
        if not self._lagging:
            self._window.clear()

    # --- what was in flight, what waited --------------------------------------------------------------------

    async def _resend(self, session: Session) -> None:
        """Send what was in flight again (MQTT 5.0 §4.4), as far as window and bounds allow."""
        outbound, connection = session.outbound, session.connection
        grant_of = _granting(session.filters)
        for _ in range(SLICE_RECORD_COUNT):
            if not outbound.resend or not outbound.is_window_open or outbound.is_full:
                return
            packet_id = outbound.resend[0]
            sent = outbound.sent(packet_id)
            delivery = None
            if sent is not None and sent.step is not Step.PUBCOMP:
                delivery = await self._message(sent.seq)
                if session.connection is not connection or not outbound.resend:
                    return
            outbound.resend.popleft()
            # The client may have answered meanwhile what it had got before.
            if sent is None or sent.step is Step.PUBCOMP or sent != outbound.sent(packet_id):
                continue
            if delivery is None:
                outbound.forget(packet_id)
                outbound.lost_count += 1
                continue
            grant = grant_of(delivery.topic.decode())
            how = recipe(int(sent.step), sent.retain, grant.identifiers if grant is not None else ())
            # One that was begun is brought to its end, whatever its message expiry interval.
            packet = outbound.send_again(packet_id, delivery.aged(self._clock.now_ms()) or delivery, how)
            if not outbound.has_room_for(len(packet)):
                # As if it had been delivered (MQTT 5.0 §3.1.2.11.4): the client takes less than it did.
                outbound.forget(packet_id)
                outbound.oversize_count += 1
            elif connection is not None:
                outbound.unsent_bytes += len(packet)
                connection.outbox.append(as_duplicate(packet))

    async def _deliver_positions(self, session: Session, plane: DataPlane) -> None:
        outbound, connection = session.outbound, session.connection
        grant_of = _granting(session.filters)
        for _ in range(SLICE_RECORD_COUNT):
            position = outbound.positions.first()
            if position is None or outbound.is_full:
                return
            delivery = await self._message(position.seq)
            if session.connection is not connection or outbound.positions.first() != position:
                return
            outbound.positions.drop_first()
            if delivery is None:
                outbound.lost_count += 1
                continue
            delivery.is_kept = position.is_retained
            grant = grant_of(delivery.topic.decode())
            if grant is not None:
                qos = delivery.qos
                how = (
                    grant.retained_recipe(qos)
                    if position.is_retained
                    else grant.recipe(qos, delivery.is_retained)
                )
                self._send(session, delivery, how, plane)

    async def _message(self, seq: int) -> Delivery | None:
        """The message of a record; None if the log doesn't have it any more."""
        try:
            return await self._window.message(seq)
        except (CursorExpired, LogDamaged) as error:
            log.warning("a message that waited for a client is lost", seq=seq, error=error.message)
            return None

    # --- retained messages ----------------------------------------------------------------------------------

    def offer_retained(self, session: Session, topic_filter: str, grant: Grant, plane: DataPlane) -> None:
        """Send the retained messages of a subscription, a slice at a time as for those who lag; what is published
        meanwhile follows behind them out of the log.
        """
        now_ms = self._clock.now_ms()
        found = self._retained.find(topic_filter, now_ms)
        if topic_filter.partition("/")[0] == LOCAL_ROOT:
            found = chain(self._local.find(topic_filter, now_ms), found)
        if len(session.retained) < BEGUN_WALK_COUNT_MAX:
            try:
                found = chain((next(found),), found)
            except StopIteration:
                self._retained_done(session, topic_filter)
                return
        before_seq = plane.durable_next_seq
        session.retained[topic_filter] = RetainedWalk(grant, before_seq, found)
        session.outbound.hold_back(before_seq)
        self.want(session)

    @staticmethod
    def _retained_done(session: Session, topic_filter: str) -> None:
        session.retained.pop(topic_filter, None)
        if topic_filter in session.retained_due:
            session.retained_due.remove(topic_filter)
            session.outbound.is_changed = True

    def _deliver_retained(self, session: Session, plane: DataPlane) -> None:
        """Deliver a slice of the retained messages that a session's subscriptions wait for."""
        outbound = session.outbound
        steps_left = SLICE_RECORD_COUNT
        while session.retained:
            topic_filter = next(iter(session.retained))
            grant, before_seq, found = session.retained[topic_filter]
            for message in found:
                # What was kept since comes out of the log, behind these.
                if (
                    message is not None
                    and message.seq < before_seq
                    and not (grant.no_local and message.client_id == session.client_id)
                ):
                    delivery = Delivery(
                        seq=message.seq,
                        client=(message.client_id, ""),
                        topic=message.topic,
                        payload=message.payload,
                        properties=message.properties,
                        qos=message.qos,
                        is_retained=True,
                        is_kept=True,
                        received_at_ms=message.received_at_ms,
                    )
                    self._send(session, delivery, grant.retained_recipe(message.qos), plane)
                steps_left -= 1
                if steps_left <= 0 or outbound.is_full:
                    return
            self._retained_done(session, topic_filter)

    # --- what the log holds ---------------------------------------------------------------------------------

    async def _deliver_after(self, session: Session, seq: int, plane: DataPlane) -> None:
        """Deliver what matches of the records from `seq` on, a slice of them."""
        outbound, connection = session.outbound, session.connection
        try:
            found = await self._window.slice(seq, SLICE_RECORD_COUNT, plane.durable_next_seq)
        except (CursorExpired, LogDamaged) as error:
            if outbound.lag_seq != seq:
                return
            after = self._window.skip(seq, error, plane.durable_next_seq)
            self.skipped_records += after - seq
            outbound.lag_seq = after
            log.error(
                "records were skipped on the way to a client", client_id=session.client_id,
                first_seq=seq, next_seq=after, error=error.message,
            )  # fmt: skip
            return
        if session.connection is not connection or outbound.lag_seq != seq:
            return
        grant_of = _granting(session.filters)
        for part in found:
            outbound.lag_seq = self._deliver_records(session, part, grant_of, plane)
            if outbound.lag_seq < part.seqs.stop:
                return

    def _deliver_records(
        self, session: Session, part: Slice, grant_of: Callable[[str], Grant | None], plane: DataPlane
    ) -> int:
        """Deliver what matches; returns where to go on: at the first message that has no room, or behind the part."""
        outbound, columns = session.outbound, part.columns
        grants: dict[int, Grant | None] = {}
        for seq in part.seqs:
            index = seq - part.block.first_seq
            if columns.kinds[index] not in MESSAGE_KINDS:
                continue
            slot = columns.topic_index[index]
            if slot not in grants:
                grants[slot] = grant_of(columns.topics[slot].decode())
            grant = grants[slot]
            if grant is None or seq < grant.since_seq or seq in outbound.handed:
                continue
            if grant.no_local and columns.clients[columns.client_index[index]] == session.client:
                continue
            if not outbound.is_online:
                qos = columns.flags[index] >> 1 & 3
                if min(qos, grant.qos):
                    outbound.park(seq, part.message(index).size_bytes)
                continue
            if outbound.is_full:
                return seq
            delivery = part.message(index)
            self._send(session, delivery, grant.recipe(delivery.qos, delivery.is_retained), plane)
        return part.seqs.stop

    def _send(self, session: Session, delivery: Delivery, how: Recipe, plane: DataPlane) -> None:
        """Give a session a message of before; there is room."""
        outbound, connection = session.outbound, session.connection
        aged = delivery.aged(self._clock.now_ms())
        if aged is None:
            outbound.expired_count += 1
            return
        data = outbound.refill(aged, how)
        if outbound.withheld:
            plane.lifecycle.record_sent(session)
        if data and connection is not None:
            self.delivered_messages += 1
            outbound.unsent_bytes += len(data)
            connection.outbox.append(data)


def _granting(filters: dict[str, Grant]) -> Callable[[str], Grant | None]:
    """What one session's own subscriptions give for a topic, shared ones apart."""
    own = {f: grant for f, grant in filters.items() if not is_shared_filter(f)}
    if len(own) <= LINEAR_FILTER_COUNT_MAX:

        def matching(topic: str) -> list[Grant]:
            return [grant for topic_filter, grant in own.items() if matches(topic_filter, topic)]

    else:
        tree: SubscriptionTree[Grant] = SubscriptionTree()
        for topic_filter, grant in own.items():
            tree.add(topic_filter, topic_filter, grant)

        def matching(topic: str) -> list[Grant]:
            return [grant for _, grant in tree.match(topic)]

    def granted(topic: str) -> Grant | None:
        found = matching(topic)
        return merged(*found) if found else None

    return granted
