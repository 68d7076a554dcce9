"""Shared subscriptions: whose turn it is, what waits when nobody can take it, and what a restart gives out again."""

from __future__ import annotations

import pytest

from broker.mqtt.topics import SharedFilter
from broker.router import Grant, Router
from broker.shared import SharedGroup
from broker.state.session import Session
from broker.state.sessions import Sessions

NEXT_SEQ = 100


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(Router(), queue_messages_max=2, queue_bytes_max=1000)


def member(sessions: Sessions, name: str, *, expiry_s: int = 100, is_online: bool = True) -> Session:
    """A member of $share/g/t."""
    session = sessions.new(name, "site", expiry_s)
    if is_online:
        session.outbound.attach(
            has_properties=False, receive_maximum=1, packet_bytes_max=None, topic_alias_max=0, next_seq=1
        )
    sessions.router.subscribe(session, "$share/g/t", Grant(qos=1, since_seq=1))
    return session


def group_of(sessions: Sessions) -> SharedGroup:
    return sessions.router.groups[SharedFilter("g", "t")]


def wants_refill(group: SharedGroup) -> bool:
    return group.wants_refill


def is_durable(group: SharedGroup) -> bool:
    return group.is_durable


def is_changed(group: SharedGroup) -> bool:
    return group.is_changed


def turns(group: SharedGroup, count: int) -> list[str]:
    chosen = [group.choose() for _ in range(count)]
    return [found[0].client_id if found else "" for found in chosen]


class TestTurns:
    def test_one_after_the_other(self, sessions: Sessions) -> None:
        for name in "abc":
            member(sessions, name)
        group = group_of(sessions)
        assert turns(group, 7) == list("abcabca")
        assert group.full_filter == "$share/g/t"

    def test_who_has_no_room_is_passed_over(self, sessions: Sessions) -> None:
        for name in "abc":
            member(sessions, name)
        other = sessions.get("b")
        assert other is not None
        other.outbound.unsent_bytes = 1000
        assert turns(group_of(sessions), 4) == list("acac")
        other.outbound.unsent_bytes = 0
        assert "b" in turns(group_of(sessions), 3)

    def test_nobody_can(self, sessions: Sessions) -> None:
        away = member(sessions, "away", is_online=False)
        slow = member(sessions, "slow")
        slow.outbound.fall_behind(5)
        group = group_of(sessions)
        assert group.choose() is None
        group.fall_behind(9)
        assert not wants_refill(group)
        slow.outbound.lag_seq = None
        assert wants_refill(group)
        assert group.choose() is not None
        group.leave(slow)
        assert not wants_refill(group)
        assert not group.leave(away), "the last one"
        assert group.choose() is None

    def test_who_comes_and_goes_changes_the_turns(self, sessions: Sessions) -> None:
        first = member(sessions, "a")
        member(sessions, "b")
        group = group_of(sessions)
        assert turns(group, 1) == ["a"]
        assert group.leave(first)
        assert turns(group, 2) == ["b", "b"]
        member(sessions, "c")
        assert set(turns(group, 2)) == {"b", "c"}


class TestWhatWaits:
    def test_the_first_that_nobody_took(self) -> None:
        group = SharedGroup("g", "t")
        assert not group.is_behind
        group.fall_behind(5)
        group.fall_behind(9)
        assert (group.lag_seq, group.is_behind, group.is_changed) == (5, True, True)
        group.caught_up()
        assert not group.is_behind

    def test_given_back_lowest_first(self) -> None:
        group = SharedGroup("g", "t")
        for seq in (7, 3, 5):
            group.give_back(seq)
        assert group.returned == [3, 5, 7]
        assert group.is_behind
        assert group.lag_seq is None


class TestProgress:
    def test_what_is_not_finished_holds_it(self, sessions: Sessions) -> None:
        member(sessions, "a")
        group = group_of(sessions)
        for seq in (5, 6, 7):
            group.give_out(seq)
        assert is_changed(group)
        assert group.advance(NEXT_SEQ) == 5
        assert not is_changed(group)
        group.finish(6)
        assert is_changed(group)
        assert group.first_unfinished(NEXT_SEQ) == 5
        group.finish(5)
        assert group.first_unfinished(NEXT_SEQ) == 7
        group.finish(7)
        assert group.first_unfinished(NEXT_SEQ) == NEXT_SEQ
        group.is_changed = False
        group.finish(7)
        assert not is_changed(group), "nothing new"

    def test_so_does_what_waits(self, sessions: Sessions) -> None:
        member(sessions, "a")
        group = group_of(sessions)
        group.fall_behind(50)
        assert group.first_unfinished(NEXT_SEQ) == 50
        group.give_out(20)
        group.give_out(60)
        assert group.first_unfinished(NEXT_SEQ) == 20
        group.give_back(20)
        assert group.first_unfinished(NEXT_SEQ) == 20
        assert list(group.unfinished) == [60]
        group.give_back(10)
        assert group.first_unfinished(NEXT_SEQ) == 10

    def test_a_group_without_a_durable_member_remembers_nothing(self, sessions: Sessions) -> None:
        transient = member(sessions, "a", expiry_s=0)
        group = group_of(sessions)
        assert not is_durable(group)
        group.give_out(5)
        assert not group.unfinished
        durable = member(sessions, "b")
        assert is_durable(group)
        group.leave(durable)
        assert not is_durable(group)
        group.leave(transient)

    def test_what_is_somebodys_for_good(self) -> None:
        group = SharedGroup("g", "t")
        group.handed = {3, 8, 12}
        group.fall_behind(8)
        assert group.advance(NEXT_SEQ) == 8
        assert group.handed == {8, 12}, "before that nothing is given out again"
        group.apply_through(10)
        assert group.lag_seq == 10
        assert group.handed == {12}
