"""All sessions: found, ended, added up, and due when their time has come."""

from __future__ import annotations

import pytest

import broker.state.sessions
from broker.delivery import Delivery, recipe
from broker.mqtt.topics import SharedFilter
from broker.outbound import Step
from broker.router import Grant, Router
from broker.shared import SharedGroup
from broker.state.session import LastWill, Session
from broker.state.sessions import Due, Sessions


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(Router(), queue_messages_max=3, queue_bytes_max=1000)


def online(session: Session, *, receive_maximum: int = 10) -> Session:
    session.outbound.attach(
        has_properties=False,
        receive_maximum=receive_maximum,
        packet_bytes_max=None,
        topic_alias_max=0,
        next_seq=1,
    )
    return session


def give(session: Session, seq: int, qos: int = 1, group: SharedGroup | None = None) -> None:
    message = Delivery(seq=seq, client=("p", "p"), topic=b"t", payload=b"12", qos=qos)
    if group is not None:
        group.give_out(seq)
    session.outbound.offer(message, recipe(qos), group)


def will(delay_s: int) -> LastWill:
    return LastWill(topic=b"w", payload=b"gone", flags=0, properties=b"", delay_s=delay_s)


def due(sessions: Sessions, mono_ms: int) -> list[tuple[str, Due]]:
    return [(session.client_id, what) for session, what in sessions.due(mono_ms)]


def test_found_by_client_id(sessions: Sessions) -> None:
    one, other = sessions.new("a", "site", 0), sessions.new("b", "site", 5)
    assert sessions.get("a") is one
    assert sessions.get("c") is None
    assert list(sessions) == [one, other]
    assert (len(sessions), sessions.durable_count) == (2, 1)


class TestEnd:
    def test_nothing_is_left(self, sessions: Sessions) -> None:
        session = sessions.new("a", "site", 5)
        sessions.router.subscribe(session, "t", Grant(qos=1, since_seq=1))
        assert sessions.remove(session) == []
        assert sessions.get("a") is None
        assert sessions.router.subscription_count == 0
        newer = sessions.new("a", "site", 5)
        sessions.remove(session)
        assert sessions.get("a") is newer, "another session of the same client id stays"

    def test_others_get_what_it_had_of_a_shared_subscription(self, sessions: Sessions) -> None:
        """QoS 1 goes to another member, QoS 2 to nobody [MQTT-4.8.2-5], and what only waited to another."""
        leaving = online(sessions.new("a", "site", 5), receive_maximum=2)
        staying = online(sessions.new("b", "site", 5))
        for session in (leaving, staying):
            sessions.router.subscribe(session, "$share/g/t", Grant(qos=2, since_seq=1))
        group = sessions.router.groups[SharedFilter("g", "t")]
        give(leaving, 1, 2, group)
        give(leaving, 2, 1, group)
        give(leaving, 3, 2, group)
        assert group in sessions.remove(leaving)
        assert group.returned == [2, 3]
        assert not group.unfinished
        assert list(group.members) == [id(staying)]


class TestStatistics:
    def test_of_those_there_are(self, sessions: Sessions) -> None:
        one = online(sessions.new("a", "site", 5), receive_maximum=1)
        for seq in range(1, 4):
            give(one, seq)
        away = sessions.new("b", "site", 5)
        for seq in range(1, 6):
            give(away, seq)
        sessions.router.subscribe(one, "$share/g/t", Grant(qos=1, since_seq=1))
        found = sessions.statistics()
        assert (found.durable, found.away, found.shared_subscriptions) == (2, 2, 1)
        assert (found.waiting_messages, found.waiting_bytes) == (2 + 3, 3 * (2 + 3))
        assert (found.in_flight_messages, found.dropped_messages) == (1, 2)

    def test_who_has_ended_still_counts(self, sessions: Sessions) -> None:
        session = sessions.new("a", "site", 5)
        outbound = session.outbound
        outbound.dropped_count, outbound.expired_count, outbound.lost_count = 1, 2, 3
        sessions.remove(session)
        other = sessions.new("b", "site", 5)
        other.outbound.lost_count = 10
        sessions.expired_count = 7
        found = sessions.statistics()
        assert (found.dropped_messages, found.expired_messages, found.lost_messages) == (1, 2, 13)
        assert (found.expired_sessions, found.durable) == (7, 1)


class TestNeeded:
    """The first record that somebody has still to get: the log may not forget what is behind it."""

    def test_nobody_waits(self, sessions: Sessions) -> None:
        sessions.new("a", "site", 5)
        assert sessions.needed_seq() is None

    def test_what_waits_for_a_client(self, sessions: Sessions) -> None:
        away = sessions.new("a", "site", 5)
        give(away, 9)
        give(away, 10)
        assert sessions.needed_seq() == 9
        cursor = online(sessions.new("b", "site", 5))
        cursor.outbound.fall_behind(7)
        assert sessions.needed_seq() == 7

    def test_what_is_in_flight_is_sent_again(self, sessions: Sessions) -> None:
        give(online(sessions.new("a", "site", 0)), 3)
        assert sessions.needed_seq() is None, "nobody comes back for it"
        give(online(sessions.new("b", "site", 5)), 5)
        assert sessions.needed_seq() == 5

    def test_what_waits_for_a_shared_subscription(self, sessions: Sessions) -> None:
        sessions.router.subscribe(sessions.new("a", "site", 5), "$share/g/t", Grant(qos=1, since_seq=1))
        group = sessions.router.groups[SharedFilter("g", "t")]
        group.fall_behind(8)
        assert sessions.needed_seq() == 8
        group.give_back(6)
        assert sessions.needed_seq() == 6


class TestDeadlines:
    def test_in_the_order_of_time(self, sessions: Sessions) -> None:
        for name, expiry_s in (("long", 10), ("short", 2)):
            sessions.set_deadlines(sessions.new(name, "site", expiry_s), since_ms=0, mono_ms=1000)
        assert due(sessions, 2999) == []
        assert due(sessions, 3000) == [("short", Due.EXPIRY)]
        assert due(sessions, 100_000) == [("long", Due.EXPIRY)]
        assert due(sessions, 100_000) == []

    def test_a_will_goes_before_its_session(self, sessions: Sessions) -> None:
        session = sessions.new("a", "site", 10)
        session.will = will(4)
        sessions.set_deadlines(session, since_ms=0, mono_ms=0)
        assert due(sessions, 4000) == [("a", Due.WILL)]
        assert due(sessions, 10_000) == [("a", Due.EXPIRY)]
        session.will = will(40)
        sessions.set_deadlines(session, since_ms=0, mono_ms=20_000)
        assert due(sessions, 30_000) == [("a", Due.WILL), ("a", Due.EXPIRY)]

    def test_time_that_passed_before_a_restart_counts(self, sessions: Sessions) -> None:
        session = sessions.new("a", "site", 10)
        sessions.set_deadlines(session, since_ms=9000, mono_ms=50)
        assert due(sessions, 1049) == []
        assert due(sessions, 1050) == [("a", Due.EXPIRY)]

    def test_a_client_that_came_back_is_passed_over(self, sessions: Sessions) -> None:
        session = sessions.new("a", "site", 10)
        sessions.set_deadlines(session, since_ms=0, mono_ms=0)
        sessions.set_deadlines(session, since_ms=0, mono_ms=5000)
        assert due(sessions, 10_000) == [], "it was there in between"
        session.connection = object()  # type: ignore[assignment]
        assert due(sessions, 15_000) == []

    def test_a_session_that_ended_is_passed_over(self, sessions: Sessions) -> None:
        session = sessions.new("a", "site", 10)
        sessions.set_deadlines(session, since_ms=0, mono_ms=0)
        sessions.remove(session)
        sessions.new("a", "site", 10)
        assert due(sessions, 10_000) == []

    def test_deadlines_of_those_who_came_back_are_swept(
        self, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(broker.state.sessions, "STALE_DEADLINES_MIN", 10)
        session, other = sessions.new("a", "site", 10), sessions.new("b", "site", 3)
        sessions.set_deadlines(other, since_ms=0, mono_ms=0)
        for mono_ms in range(1000):
            sessions.set_deadlines(session, since_ms=0, mono_ms=mono_ms)
        assert len(sessions._deadlines) <= 10 + 4 * 2 + 2
        assert due(sessions, 999 + 10_000) == [("b", Due.EXPIRY), ("a", Due.EXPIRY)]


def test_what_was_finished_is_not_given_back(sessions: Sessions) -> None:
    leaving = online(sessions.new("a", "site", 5))
    sessions.router.subscribe(leaving, "$share/g/t", Grant(qos=1, since_seq=1))
    group = sessions.router.groups[SharedFilter("g", "t")]
    give(leaving, 1, 1, group)
    assert leaving.outbound.complete(1, Step.PUBACK, 0) == []
    assert sessions.remove(leaving) == []
    assert group.returned == []
