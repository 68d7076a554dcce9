"""A session as the checkpoint keeps it: plain values, taken at once on the event loop and packed in a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..mqtt.topics import SharedFilter
from ..outbound import Step
from ..progress import all_waiting
from ..router import packed_options, unpacked_grant
from .positions import Positions
from .session import LastWill

if TYPE_CHECKING:
    from ..shared import SharedGroup
    from .session import Session
    from .sessions import Sessions


def session_snapshot(session: Session) -> dict[str, Any]:
    """All of a session that is not its connection's."""
    outbound, will = session.outbound, session.will
    in_flight = [
        (packet_id, entry)
        for packet_id, entry in outbound.in_flight.items()
        # Of a shared subscription only what is somebody's for good; the rest is the group's.
        if packet_id not in outbound.shared or entry & 3 != Step.PUBACK
    ]
    positions, sizes = all_waiting(outbound).packed()
    return {
        "client_id": session.client_id,
        "principal": session.principal,
        "expiry_s": session.expiry_s,
        "is_open": session.is_open,
        "closed_at_ms": session.closed_at_ms,
        "will": None
        if will is None
        else (will.topic, will.payload, will.flags, will.properties, will.delay_s),
        "filters": [
            (topic_filter, packed_options(grant), grant.identifiers, grant.since_seq)
            for topic_filter, grant in session.filters.items()
        ],
        "retained_due": list(session.retained_due),
        "unreleased": list(session.unreleased.items()),
        "in_flight": in_flight,
        "positions": positions,
        "sizes": sizes,
        "lag_seq": outbound.lag_seq,
        "handed": sorted(outbound.handed),
        "dropped_count": outbound.dropped_count,
        "lost_count": outbound.lost_count,
    }


def restore_session(sessions: Sessions, fields: dict[str, Any]) -> Session:
    """Have a session of a checkpoint.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    session = sessions.new(fields["client_id"], fields["principal"], fields["expiry_s"])
    session.is_open = session.outbound.keeps_all = fields["is_open"]
    session.closed_at_ms = fields["closed_at_ms"]
    if fields["will"] is not None:
        topic, payload, flags, properties, delay_s = fields["will"]
        session.will = LastWill(
            topic=topic, payload=payload, flags=flags, properties=properties, delay_s=delay_s
        )
    for topic_filter, options, identifiers, since_seq in fields["filters"]:
        sessions.router.subscribe(
            session, topic_filter, unpacked_grant(options, tuple(identifiers), since_seq)
        )
    session.retained_due = set(fields["retained_due"])
    for packet_id, digest in fields["unreleased"]:
        session.unreleased.add(packet_id, digest)
    outbound = session.outbound
    outbound.in_flight = dict(fields["in_flight"])
    outbound.positions = Positions(fields["positions"], fields["sizes"])
    outbound.lag_seq = fields["lag_seq"]
    outbound.handed = set(fields["handed"])
    outbound.dropped_count = fields["dropped_count"]
    outbound.lost_count = fields["lost_count"]
    return session


def group_snapshot(group: SharedGroup, next_seq: int) -> tuple[str, str, int, list[int]]:
    """A shared subscription: its name and filter, how far it has come, and what of the rest is given to somebody for good."""
    return group.name, group.topic_filter, group.first_unfinished(next_seq), sorted(group.handed)


def restore_group(groups: Mapping[SharedFilter, SharedGroup], fields: Sequence[Any]) -> None:
    """Have what a checkpoint says of a shared subscription; its members are there already.

    Raises:
        KeyError, TypeError, ValueError: it is none, or has no member.
    """
    name, topic_filter, through, handed = fields
    group = groups[SharedFilter(name, topic_filter)]
    group.apply_through(through)
    group.handed = set(handed)
