"""Makes of the log's records what the sessions were: at the start, block by block, what live connections did before.

The counterpart of lifecycle.py. Messages become places in the queues of the sessions that they were for; records of what
was acknowledged take them away again. So after a loss of power a session has what its client had not acknowledged, as far as
records said so: QoS 1 at least once, QoS 2 exactly once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from appliance.core.errors import LogDamaged
from storage.log.columns import MESSAGE_KINDS, Columns, Kind

from ..mqtt.packet_ids import message_digest
from ..mqtt.topics import SharedFilter, parse_shared
from ..progress import Progress, apply_progress, apply_sent
from ..router import Grant, Router, unpacked_grant
from .session import LastWill, Session
from .sessions import Sessions

if TYPE_CHECKING:
    from storage.log.block import Block

SESSION_KINDS: Final = bytes(
    (Kind.SESSION_OPENED, Kind.SESSION_CHANGED, Kind.SESSION_CLOSED, Kind.QOS2_STEP, Kind.BROKER_STARTED)
)
QOS_2_FLAG: Final = 4


class Replay:
    """See the module's docstring.

    Args:
        sessions: As a checkpoint had them; changed here.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._router: Router = sessions.router

    def apply(self, block: Block, columns: Columns) -> None:
        """Take a block.

        Raises:
            LogDamaged: a session record isn't what a broker writes.
        """
        events = np.flatnonzero(np.isin(np.frombuffer(columns.kinds, np.uint8), list(SESSION_KINDS))).tolist()
        start = 0
        for index in (*events, len(columns)):
            self._messages(block, columns, start, index)
            if index < len(columns):
                self._event(block, columns, index)
            start = index + 1

    # --- messages -------------------------------------------------------------------------------------------

    def _messages(self, block: Block, columns: Columns, start: int, stop: int) -> None:
        """Records that are no session's: to whom they were to go, and which of them are of QoS 2."""
        if start >= stop or not len(self._sessions):
            return
        flags = np.frombuffer(columns.flags, np.uint8)[start:stop]
        for index in (np.flatnonzero(flags & QOS_2_FLAG) + start).tolist():
            session = self._of(columns, index)
            if session is not None and columns.packet_ids[index]:
                topic = columns.topics[columns.topic_index[index]]
                digest = message_digest(topic, columns.payload(index))
                session.unreleased.add(columns.packet_ids[index], digest)
        if Kind.SERVER_PUBLISH in columns.kinds[start:stop]:
            self._wills(columns, start, stop)
        if not self._router.subscription_count:
            return
        topic_index = np.frombuffer(columns.topic_index, np.uint16)[start:stop]
        wanted: dict[int, list[tuple[Session, Grant]]] = {}
        for slot in np.unique(topic_index).tolist():
            receivers, _ = self._router.receivers(columns.topics[slot])
            if receivers:
                wanted[slot] = receivers
        for index in (np.flatnonzero(np.isin(topic_index, list(wanted))) + start).tolist():
            self._message(block, columns, index, wanted[columns.topic_index[index]])

    def _message(
        self, block: Block, columns: Columns, index: int, receivers: list[tuple[Session, Grant]]
    ) -> None:
        if columns.kinds[index] not in MESSAGE_KINDS:
            return
        seq = block.first_seq + index
        qos = columns.flags[index] >> 1 & 3
        sender = columns.clients[columns.client_index[index]]
        start, stop = columns.payload_offsets[index], columns.payload_offsets[index + 1]
        size_bytes = len(columns.topics[columns.topic_index[index]]) + stop - start
        size_bytes += len(columns.published_properties(index))
        for session, grant in receivers:
            if (
                not (qos and grant.qos)
                or seq < grant.since_seq
                or (grant.no_local and sender == session.client)
            ):
                continue
            outbound = session.outbound
            if outbound.lag_seq is None:
                outbound.park(seq, size_bytes)

    def _wills(self, columns: Columns, start: int, stop: int) -> None:
        for index in columns.of_kind(Kind.SERVER_PUBLISH):
            if start <= index < stop:
                session = self._of(columns, index)
                if session is not None:
                    session.will = None
                    if not session.is_open and not session.is_durable:
                        self._sessions.remove(session)

    def _of(self, columns: Columns, index: int) -> Session | None:
        client_id, principal = columns.clients[columns.client_index[index]]
        session = self._sessions.get(client_id)
        return session if session is not None and session.principal == principal else None

    # --- session records ------------------------------------------------------------------------------------

    def _event(self, block: Block, columns: Columns, index: int) -> None:
        kind, seq = columns.kinds[index], block.first_seq + index
        at_ms = block.first_time_ms + columns.received_delta_ms[index]
        if kind == Kind.BROKER_STARTED:
            self._restarted(at_ms)
            return
        try:
            fields: dict[str, Any] = msgspec.msgpack.decode(columns.payload(index), type=dict[str, Any])
            if kind == Kind.SESSION_OPENED:
                self._opened(fields, *columns.clients[columns.client_index[index]])
            elif fields.get("op") == "group":
                group = self._router.groups.get(SharedFilter(fields["name"], fields["filter"]))
                if group is not None:
                    group.apply_through(fields["through"])
            else:
                session = self._of(columns, index)
                if session is None:
                    return  # Of a session that the log no longer tells the beginning of.
                if kind == Kind.SESSION_CLOSED:
                    self._closed(session, fields, at_ms)
                elif kind == Kind.QOS2_STEP:
                    self._step(session, fields)
                else:
                    self._changed(session, fields, seq)
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
            raise LogDamaged(
                f"The session record {seq} can't be read: {error}.",
                hint="It was written by another version of the broker, or a faulty one; the session may miss something.",
                first_seq=block.first_seq,
                next_seq=block.next_seq,
            ) from error

    def _opened(self, fields: dict[str, Any], client_id: str, principal: str) -> None:
        session = self._sessions.get(client_id)
        expiry_s = int(fields.get("expiry_s", 0))
        if session is not None and not (fields.get("present") and session.principal == principal):
            self._sessions.remove(session)
            session = None
        if session is None:
            session = self._sessions.new(client_id, principal, expiry_s)
        session.set_expiry(expiry_s)
        session.will = LastWill(**fields["will"]) if "will" in fields else None
        session.is_open = session.outbound.keeps_all = True

    def _closed(self, session: Session, fields: dict[str, Any], at_ms: int) -> None:
        session.is_open = session.outbound.keeps_all = False
        session.closed_at_ms = at_ms
        session.set_expiry(int(fields.get("expiry_s", 0)))
        if not fields.get("will"):
            session.will = None
        if not session.is_durable:
            self._sessions.remove(session)

    def _restarted(self, at_ms: int) -> None:
        """Connections that were open before a BROKER_STARTED record are gone; their wills are published after it."""
        for session in list(self._sessions):
            if session.is_open:
                session.is_open = session.outbound.keeps_all = False
                session.closed_at_ms = at_ms
                if not session.is_durable and session.will is None:
                    self._sessions.remove(session)

    def _changed(self, session: Session, fields: dict[str, Any], seq: int) -> None:
        op = fields["op"]
        if op == "subscribed":
            for topic_filter, options, identifiers, wants_retained in fields["filters"]:
                self._subscribed(session, topic_filter, options, tuple(identifiers), seq)
                if wants_retained:
                    session.retained_due.add(topic_filter)
        elif op == "unsubscribed":
            for topic_filter in fields["filters"]:
                self._router.unsubscribe(session, topic_filter)
                session.retained_due.discard(topic_filter)
        elif op == "progress":
            made = Progress(
                fields["through"],
                [(packet_id, entry) for packet_id, entry in fields["unacknowledged"]],
                fields["completed"],
            )
            apply_progress(session.outbound, made)
            session.retained_due = set(fields["retained_due"])
        elif op == "ended":
            self._sessions.remove(session)

    def _subscribed(
        self, session: Session, topic_filter: str, options: int, identifiers: tuple[int, ...], seq: int
    ) -> None:
        held = session.filters.get(topic_filter)
        grant = unpacked_grant(options, identifiers, seq if held is None else held.since_seq)
        self._router.subscribe(session, topic_filter, grant)
        shared = parse_shared(topic_filter)
        if shared is not None and held is None:
            # What follows is given out when the broker serves again: here nobody can take it.
            self._router.groups[shared].fall_behind(seq)

    def _step(self, session: Session, fields: dict[str, Any]) -> None:
        step = fields["step"]
        if step == "released":
            session.unreleased.discard(fields["packet_id"])
        elif step == "received":
            session.outbound.receive(fields["packet_id"])
        elif step == "sent":
            for packet_id, entry, full_filter in fields["messages"]:
                apply_sent(session.outbound, packet_id, entry)
                shared = parse_shared(full_filter)
                if shared is not None and (group := self._router.groups.get(shared)) is not None:
                    group.handed.add(entry >> 3)
