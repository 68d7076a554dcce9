"""From a block that is on disk to its receivers, live.

The router is asked once per topic of the block, and only records of topics that somebody wants are looked at. A session that
can't take its message now, and a shared subscription none of whose members can, gets it out of the log later (refill.py).

Fan-out never holds ingest up for long: a block that would take more than OFFERS_PER_BLOCK_MAX deliveries makes the rest of
its receivers cursors, and those are fed a slice at a time, with a turn of everything else in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .delivery import Delivery
from .refill import Refill
from .router import Receivers, Router
from .shared_refill import SharedRefill

if TYPE_CHECKING:
    from .data_plane import DataPlane
    from .mqtt.batch import Batch
    from .shared import SharedGroup
    from .state.session import Session

OFFERS_PER_BLOCK_MAX: Final = 20_000
"""At about 2 µs each 40 ms; four dashboards that see everything take part in blocks of 5,000 messages."""


class FanOut:
    """See the module's docstring.

    Args:
        refill, shared_refill: Who take over what can't be delivered live.
    """

    def __init__(self, router: Router, refill: Refill, shared_refill: SharedRefill) -> None:
        self._router = router
        self._refill = refill
        self._shared_refill = shared_refill
        self.delivered_messages = 0

    def deliver(self, batch: Batch, first_seq: int, plane: DataPlane) -> None:
        """Offer a block's messages to their receivers."""
        if not self._router.subscription_count:
            return
        hot: dict[int, Receivers] = {}
        for slot, topic in enumerate(batch.topics):
            if topic:
                receivers = self._router.receivers(topic)
                if receivers[0] or receivers[1]:
                    hot[slot] = receivers
        if not hot:
            return
        offers_left, delivered = OFFERS_PER_BLOCK_MAX, 0
        clients, senders = batch.clients, batch.client_index()
        marks = iter(batch.time_marks)
        received_at_ms, next_mark = next(marks)[1], next(marks, None)
        for index, slot in enumerate(batch.topic_index):
            receivers_of_topic = hot.get(slot)
            if receivers_of_topic is None:
                continue
            while next_mark is not None and next_mark[0] <= index:
                received_at_ms, next_mark = next_mark[1], next(marks, None)
            sessions, groups = receivers_of_topic
            flags = batch.flags[index]
            qos, is_retained = (flags >> 1) & 3, bool(flags & 1)
            seq = first_seq + index
            offers_left -= len(sessions) + len(groups)
            if offers_left < 0:
                self._let_fall_behind(hot, seq, plane)
                break
            sender = clients[senders[index]]
            delivery = Delivery(
                seq=seq,
                client=sender,
                topic=batch.topics[slot],
                payload=batch.payloads[index],
                properties=batch.properties.get(index, b""),
                qos=qos,
                is_retained=is_retained,
                received_at_ms=received_at_ms,
            )
            for session, grant in sessions:
                if seq < grant.since_seq or (grant.no_local and sender == session.client):
                    continue
                outbound = session.outbound
                data = outbound.offer(delivery, grant.recipe(qos, is_retained))
                if data:
                    connection = session.connection
                    assert connection is not None
                    delivered += 1
                    outbound.unsent_bytes += len(data)
                    connection.outbox.append(data)
                    plane.mark_dirty(connection)
                elif outbound.lag_seq == seq or outbound.withheld:
                    self._after_offer(session, plane)
            for group in groups:
                self._offer_to_group(group, delivery, plane)
        self.delivered_messages += delivered

    def _after_offer(self, session: Session, plane: DataPlane) -> None:
        """A session has become a cursor, or has something to be recorded before it goes out."""
        if session.outbound.withheld:
            plane.lifecycle.record_sent(session)
        if session.outbound.lag_seq is not None:
            self._refill.add(session)
            if session.connection is not None:
                plane.mark_dirty(session.connection)
            else:
                self._refill.want(session)

    def _offer_to_group(self, group: SharedGroup, delivery: Delivery, plane: DataPlane) -> None:
        member = None if group.is_behind else group.choose()
        if member is None:
            group.fall_behind(delivery.seq)
            self._shared_refill.add(group)
            return
        self._shared_refill.hand(group, member, delivery, plane)

    def _let_fall_behind(self, hot: dict[int, Receivers], seq: int, plane: DataPlane) -> None:
        """Have all receivers of a block get its records from `seq` on out of the log."""
        for sessions, groups in hot.values():
            for session, _ in sessions:
                if session.outbound.lag_seq is None:
                    session.outbound.fall_behind(seq)
                    self._after_offer(session, plane)
            for group in groups:
                group.fall_behind(seq)
                self._shared_refill.add(group)
