"""A session in the checkpoint: there and back, all of it that is not its connection's."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from broker.delivery import Delivery, recipe
from broker.mqtt.topics import SharedFilter
from broker.outbound import Step
from broker.router import Grant, Router
from broker.state.positions import Position
from broker.state.session import LastWill, Session
from broker.state.session_snapshot import group_snapshot, restore_group, restore_session, session_snapshot
from broker.state.sessions import Sessions

WILL = LastWill(topic=b"w", payload=b"gone", flags=3, properties=b"\x01\x01", delay_s=9)


def sessions() -> Sessions:
    return Sessions(Router(), queue_messages_max=10, queue_bytes_max=1000)


def full(found: Sessions) -> Session:
    """A session with something of everything."""
    session = found.new("c", "site", 77)
    session.outbound.attach(
        has_properties=False, receive_maximum=3, packet_bytes_max=None, topic_alias_max=0, next_seq=1
    )
    session.is_open = True
    session.closed_at_ms = 123
    session.will = WILL
    found.router.subscribe(session, "t/#", Grant(qos=1, since_seq=5, identifiers=(3, 4)))
    found.router.subscribe(session, "x", Grant(qos=2, since_seq=6, no_local=True, retain_as_published=True))
    session.retained_due = {"t/#"}
    session.unreleased.add(9)
    session.unreleased.add(65_535)
    for seq, qos in ((11, 1), (12, 2), (13, 2), (14, 1), (15, 2)):
        message = Delivery(seq=seq, client=("p", "p"), topic=b"t", payload=b"12", qos=qos)
        session.outbound.offer(message, recipe(qos))
    session.outbound.receive(2)
    session.outbound.positions.append(20, 7, is_retained=True)
    session.outbound.lag_seq = 30
    session.outbound.dropped_count, session.outbound.lost_count = 4, 5
    return session


def packed(fields: Any) -> Any:
    """As the file has it."""
    return msgpack.unpackb(msgpack.packb(fields))


def test_there_and_back() -> None:
    session = full(sessions())
    fields = packed(session_snapshot(session))
    again_in = sessions()
    again = restore_session(again_in, fields)
    assert again_in.get("c") is again
    assert (again.client, again.expiry_s, again.is_open, again.closed_at_ms) == (("c", "site"), 77, True, 123)
    assert again.outbound.keeps_all
    assert again.will == WILL
    assert again.filters == session.filters
    assert again_in.router.subscription_count == 2
    assert again.retained_due == {"t/#"}
    assert list(again.unreleased) == [9, 65_535]
    assert again.outbound.in_flight == {
        1: 11 << 3 | Step.PUBACK,
        2: 12 << 3 | Step.PUBCOMP,
        3: 13 << 3 | Step.PUBREC,
    }
    waiting = [Position(14, False), Position(15, False), Position(20, True)]
    assert list(again.outbound.positions) == waiting
    assert again.outbound.positions.size_bytes == 3 + 3 + 7
    assert (again.outbound.lag_seq, again.outbound.dropped_count, again.outbound.lost_count) == (30, 4, 5)
    assert not again.outbound.is_online
    assert packed(session_snapshot(again)) == fields


def test_nothing_is_changed() -> None:
    session = full(sessions())
    before = session_snapshot(session)
    assert session_snapshot(session) == before
    assert len(session.outbound.queue) == 2


def test_a_session_with_nothing() -> None:
    again = restore_session(sessions(), packed(session_snapshot(sessions().new("c", "site", 1))))
    assert again.will is None
    assert not again.filters
    assert again.outbound.lag_seq is None
    assert not again.outbound.keeps_all


@pytest.mark.parametrize("key", ["client_id", "filters", "in_flight", "positions", "will", "lag_seq"])
def test_what_is_missing_is_noticed(key: str) -> None:
    fields = packed(session_snapshot(full(sessions())))
    del fields[key]
    with pytest.raises(KeyError):
        restore_session(sessions(), fields)


class TestShared:
    def member(self, found: Sessions) -> Session:
        session = found.new("c", "site", 77)
        session.outbound.attach(
            has_properties=False, receive_maximum=9, packet_bytes_max=None, topic_alias_max=0, next_seq=1
        )
        found.router.subscribe(session, "$share/g/t", Grant(qos=2, since_seq=1))
        return session

    def test_what_a_member_has_is_the_groups_but_for_qos_2(self) -> None:
        found = sessions()
        session = self.member(found)
        group = found.router.groups[SharedFilter("g", "t")]
        for seq, qos in ((11, 1), (12, 2)):
            group.give_out(seq)
            message = Delivery(seq=seq, client=("p", "p"), topic=b"t", payload=b"12", qos=qos)
            session.outbound.offer(message, recipe(qos), group)
        group.handed.add(12)
        of_session, of_group = packed((session_snapshot(session), group_snapshot(group, 40)))
        assert [packet_id for packet_id, _ in of_session["in_flight"]] == [2]
        assert of_group == ["g", "t", 11, [12]]
        again = sessions()
        restore_session(again, of_session)
        restore_group(again.router.groups, of_group)
        restored = again.router.groups[SharedFilter("g", "t")]
        assert (restored.lag_seq, restored.handed) == (11, {12})

    def test_a_group_without_a_member_is_nonsense(self) -> None:
        with pytest.raises(KeyError):
            restore_group({}, ["g", "t", 1, []])
