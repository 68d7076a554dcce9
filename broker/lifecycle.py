"""The life of sessions: a connection takes one up or begins one, leaves it behind, and it ends.

Everything here happens within the data plane's task. What must be known after a loss of power is a record of the log
(session_records.py), and replay.py makes of the records what was done here.

Source: MQTT 5.0 §3.1.2.4 (clean start), §3.1.2.11.2 (session expiry), §3.1.3.2.2 (will delay), §4.1 (session state).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog
import trio

from appliance.core.believed_time import BelievedTime, is_known_wrong
from appliance.management.access import AccessPolicy, Principal
from storage.log.columns import Kind

from . import session_records
from .listening import Listening
from .mqtt.codec import encode
from .mqtt.packets import Pubrel
from .open_block import PendingRecord
from .progress import take_progress
from .session_records import CloseReason
from .state.sessions import Due, Sessions

if TYPE_CHECKING:
    from .connection import Connection
    from .data_plane import DataPlane
    from .shared import SharedGroup
    from .state.session import LastWill, Session

PROGRESS_MS: Final = 1000
"""How often a session's acknowledgements are recorded, if there are any. What was acknowledged since the last record is
delivered once more after a loss of power, at QoS 1 (at least once)."""
PROGRESS_COUNT_MAX: Final = 512
"""Sessions, and shared subscriptions, whose progress is recorded at a time; the others follow with the next turns."""
DUE_COUNT_MAX: Final = 512
"""Sessions and wills whose time has come, that are dealt with at a time: at up to 1 ms each, with all their subscriptions."""

log = structlog.get_logger(__name__)


class Lifecycle:
    """See the module's docstring. The data plane sets `plane`.

    Args:
        sessions_per_device_max: Sessions of one device, under any client ids; the one left longest ago gives way.
        believed: By which sessions end that were left before the start.
    """

    plane: DataPlane

    def __init__(
        self,
        sessions: Sessions,
        policy: AccessPolicy,
        *,
        sessions_per_device_max: int,
        believed: BelievedTime,
    ) -> None:
        self._believed = believed
        self.sessions = sessions
        self.listening = Listening(sessions)
        self._sessions_per_device_max = sessions_per_device_max
        self._policy = policy
        self._changed: dict[int, Session] = {}
        """Durable sessions with progress to record."""
        self._changed_groups: list[SharedGroup] = []
        """Of one look at all of them, those that are still to be recorded."""
        self._progress_mono_ms = 0

    # --- a connection begins --------------------------------------------------------------------------------

    def take_up(self, connection: Connection) -> bool:
        """Give a connection its session: the one that is there, or a new one.

        Returns:
            Whether it was there (session present).
        """
        accepted = connection.accepted
        assert accepted is not None
        session = self.sessions.get(connection.client_id)
        is_clean = accepted.connect.clean_start
        if session is not None and (is_clean or session.principal != connection.principal.name):
            # A client id that is somebody else's is only accepted where it is the device's own (handshake.py).
            self.end(session, "clean_start" if is_clean else "owner")
            session = None
        is_present = session is not None
        if session is None:
            self._make_room(connection.principal)
            session = self.sessions.new(
                connection.client_id, connection.principal.name, accepted.session_expiry_s
            )
        session.set_expiry(accepted.session_expiry_s)
        self._look_at_groups(session)
        # A will of before is cancelled: the client is back before its delay was over.
        session.will = session_records.last_will(accepted.connect.will) if accepted.connect.will else None
        session.connection = connection
        session.is_open = True
        connection.attach(session)
        if is_present:
            self.narrow(session, connection.principal)
        return is_present

    def _make_room(self, principal: Principal) -> None:
        """Hold a device to its share: otherwise one of them could have all sessions that there may be."""
        if principal.kind != "device":
            return
        theirs = self.sessions.of(principal.name)
        away = sorted((s for s in theirs if s.connection is None), key=lambda s: s.closed_at_ms)
        for session in away[: max(len(theirs) + 1 - self._sessions_per_device_max, 0)]:
            log.warning(
                "a device has more sessions than it may: the one that it left longest ago is ended",
                device=principal.name, client_id=session.client_id,
                hint="Give the device a client id that stays the same, or raise connections_per_device_max.",
            )  # fmt: skip
            self.end(session, "device_share")

    def narrow(self, session: Session, principal: Principal) -> int:
        """Hold a session to what its client may do now; returns how many subscriptions ended."""
        client_id, may_subscribe = session.client_id, self._policy.may_subscribe
        ended = [f for f in session.filters if not may_subscribe(principal, f, client_id)]
        for topic_filter in ended:
            session.retained.pop(topic_filter, None)
            session.retained_due.discard(topic_filter)
            self.sessions.router.unsubscribe(session, topic_filter)
        if ended and session.is_durable:
            payload = session_records.unsubscribed(ended)
            self.plane.record(PendingRecord(Kind.SESSION_CHANGED, session.client, payload=payload))
        will = session.will
        if will is not None and not self._policy.may_publish(principal, will.topic.decode(), client_id):
            session.will = None
        return len(ended)

    def begin(self, connection: Connection) -> None:
        """The client is told now that it is accepted: what it missed follows."""
        session = connection.session
        accepted = connection.accepted
        assert accepted is not None
        released = session.outbound.attach(
            has_properties=connection.has_properties,
            receive_maximum=accepted.client_receive_maximum,
            packet_bytes_max=accepted.client_packet_bytes_max,
            topic_alias_max=accepted.client_topic_alias_max,
            next_seq=self.plane.durable_next_seq,
        )
        self._look_at_groups(session)
        connection.outbox += [
            encode(Pubrel(packet_id=packet_id), connection.version) for packet_id in released
        ]
        for topic_filter in list(session.retained_due):
            grant = session.filters.get(topic_filter)
            if grant is not None and topic_filter not in session.retained:
                self.plane.refill.offer_retained(session, topic_filter, grant, self.plane)
        self.plane.shared_refill.want(session)
        self.listening.subscribed(session, session.filters)

    # --- a connection ends ----------------------------------------------------------------------------------

    def leave(self, connection: Connection, reason: CloseReason, code: int) -> None:
        """A connection has ended: record it, and see what becomes of session and will."""
        session = connection.session
        plane = self.plane
        if not session_records.publishes_will(reason, code):
            session.will = None
        returned_to = session.outbound.detach()
        self._look_at_groups(session)
        session.connection = None
        self.listening.left(session)
        session.closed_at_ms = plane.now_ms
        session.is_open = False
        is_durable = session.is_durable
        # What a subscription asked for of the retained messages and did not get whole is sent anew when the client is back.
        session.retained_due &= session.retained.keys()
        if is_durable and session.outbound.is_changed:
            self._record_progress(session)
        session.retained.clear()
        will = None
        if session.will is not None and not session.will_delay_s():
            will, session.will = session.will, None
        self._publish(session, will)
        plane.record(
            PendingRecord(
                Kind.SESSION_CLOSED,
                session.client,
                payload=session_records.closed(session, reason, code, connection.last_packet_at_ms),
            )
        )
        if is_durable:
            self.sessions.set_deadlines(session, since_ms=0, mono_ms=plane.mono_ms)
            if session.outbound.lag_seq is not None:
                plane.refill.want(session)
        else:
            self._remove(session)
        self._wake_groups(returned_to)

    def end(self, session: Session, why: str) -> None:
        """End a session whose client is away: its will is published, nothing of it is left."""
        assert session.connection is None
        will, session.will = session.will, None
        self._publish(session, will)
        if session.is_durable:
            self.plane.record(
                PendingRecord(Kind.SESSION_CHANGED, session.client, payload=session_records.ended(why))
            )
        self._remove(session)

    def restart(self) -> None:
        """After a start: the sessions that were open when the broker went are left behind now; their wills wait for
        their delay like others, and those that don't outlive a connection end.
        """
        plane = self.plane
        now_ms = self._believed.look()
        for session in list(self.sessions):
            if session.is_open:
                session.is_open = session.outbound.keeps_all = False
                session.closed_at_ms = plane.now_ms
            if not session.is_durable:
                self.end(session, "restart")
                continue
            # A clock that was set back since is no reason to end anything early, and neither is one that leapt ahead, or was
            # wrong when the client went: nobody knows how long ago that is.
            since_ms = 0 if is_known_wrong(session.closed_at_ms) else max(now_ms - session.closed_at_ms, 0)
            self.sessions.set_deadlines(session, since_ms=since_ms, mono_ms=plane.mono_ms)
            if session.outbound.lag_seq is not None:
                plane.refill.want(session)
        for group in self.sessions.router.groups.values():
            if group.is_behind:
                plane.shared_refill.add(group)

    def keep_house(self) -> None:
        """End sessions and publish wills whose time has come; record progress."""
        for session, due in islice(self.sessions.due(self.plane.mono_ms), DUE_COUNT_MAX):
            if due is Due.WILL:
                will, session.will = session.will, None
                self._publish(session, will)
            else:
                self.sessions.expired_count += 1
                self.end(session, "expired")
        if self.plane.mono_ms - self._progress_mono_ms >= PROGRESS_MS:
            self._progress_mono_ms = self.plane.mono_ms
            self.record_changes()

    async def settled(self) -> None:
        """Wait until everything that clients have said so far is on disk."""
        event = trio.Event()
        mark = session_records.checkpointed()
        self.plane.record(
            PendingRecord(Kind.SESSION_CHANGED, ("", ""), payload=mark, then=lambda _seq: event.set())
        )
        self.plane.wake()
        await event.wait()

    # --- what the log says ----------------------------------------------------------------------------------

    def room_was_made(self, session: Session) -> None:
        """A client has acknowledged something: say so in the log some time, and serve who waits for room."""
        if session.is_durable:
            self._changed[id(session)] = session
        self.plane.shared_refill.want(session)

    def was_flushed(self, session: Session) -> None:
        """A client's socket may have room again: at QoS 0 nothing else says so."""
        if session.outbound.lag_seq is not None:
            self.plane.refill.want(session)
        self.plane.shared_refill.want(session)

    def record_changes(self) -> None:
        """Record the progress of sessions and groups that have made some."""
        for key in list(self._changed)[:PROGRESS_COUNT_MAX]:
            session = self._changed.pop(key)
            if session.connection is not None and session.outbound.is_changed:
                self._record_progress(session)
        if not self._changed_groups:
            self._changed_groups = [g for g in self.sessions.router.groups.values() if g.is_changed]
        for group in self._changed_groups[:PROGRESS_COUNT_MAX]:
            if group.is_changed and group.is_durable:
                payload = session_records.group_progress(group, group.advance(self.plane.durable_next_seq))
                self.plane.record(PendingRecord(Kind.SESSION_CHANGED, ("", ""), payload=payload))
        del self._changed_groups[:PROGRESS_COUNT_MAX]

    def record_sent(self, session: Session) -> None:
        """Have a record say under which identifiers QoS 2 messages go out, and send them when it is on disk."""
        outbound, connection = session.outbound, session.connection
        withheld, outbound.withheld = outbound.withheld, []
        messages = [
            (packet_id, entry, group.full_filter if (group := outbound.shared.get(packet_id)) else "")
            for packet_id, entry, _ in withheld
        ]

        for packet_id, entry, _ in withheld:
            if (group := outbound.shared.get(packet_id)) is not None:
                group.handed.add(entry >> 3)

        def send(_seq: int) -> None:
            # After a reconnect they go out with everything else that is in flight.
            if connection is not None and connection.fd >= 0 and session.connection is connection:
                outbound.withheld_bytes -= sum(len(packet) for _, _, packet in withheld)
                outbound.unsent_bytes += sum(len(packet) for _, _, packet in withheld)
                connection.outbox += [
                    packet
                    for packet_id, entry, packet in withheld
                    if outbound.in_flight.get(packet_id) == entry
                ]
                self.plane.mark_dirty(connection)
                self.plane.shared_refill.want(session)

        self.plane.record(
            PendingRecord(Kind.QOS2_STEP, session.client, payload=session_records.sent(messages), then=send)
        )

    def _record_progress(self, session: Session) -> None:
        made = take_progress(session.outbound, self.plane.durable_next_seq)
        session.retained_due &= session.retained.keys()
        payload = session_records.progress(made, sorted(session.retained_due))
        self.plane.record(PendingRecord(Kind.SESSION_CHANGED, session.client, payload=payload))

    def _publish(self, session: Session, will: LastWill | None) -> None:
        if will is not None:
            self.plane.record(
                PendingRecord(
                    Kind.SERVER_PUBLISH, session.client, will.topic, will.payload, will.flags, will.properties
                )
            )

    def _remove(self, session: Session) -> None:
        self._changed.pop(id(session), None)
        self.plane.refill.forget(session)
        self._wake_groups(self.sessions.remove(session))

    def _wake_groups(self, groups: Iterable[SharedGroup]) -> None:
        """Messages have come back to groups: to whom of the members there is room."""
        for group in groups:
            self.plane.shared_refill.add(group)

    @staticmethod
    def _look_at_groups(session: Session) -> None:
        for group in session.groups.values():
            group.look_at(session)
