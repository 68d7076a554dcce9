"""Whose turn it is, and probes for others."""

from __future__ import annotations

import random

from replication.membership.probing import RelayDesk, Relayed, Turns


def test_everybody_has_a_turn_in_each_round_and_the_order_differs() -> None:
    turns = Turns(random.Random(1))
    members = [f"{number}" for number in range(10)]
    rounds = [[turns.next(members) for _ in members] for _ in range(3)]
    assert all(sorted(each, key=str) == members for each in rounds)
    assert rounds[0] != rounds[1]
    assert turns.next([]) is None


def test_who_is_put_first_is_next_and_who_is_no_member_never() -> None:
    turns = Turns(random.Random(1))
    members = ["a", "b", "c"]
    for node in ("c", "x", "b", "b"):
        turns.put_first(node)
    turns.forget("b")
    turns.put_first("b")
    assert [turns.next(members), turns.next(members)] == ["c", "b"]
    assert [turns.next(["a"]) for _ in range(3)] == ["a", "a", "a"]


def test_probes_for_others_end_by_the_answer_or_by_time() -> None:
    desk = RelayDesk()
    assert desk.next_at_ms() is None
    one = Relayed(asker="a", nonce=1, target="t", ends_ms=100)
    two = Relayed(asker="b", nonce=2, target="t", ends_ms=200)
    assert desk.take(11, one)
    assert desk.take(12, two)
    assert not desk.take(12, two)
    assert desk.answered(11, "other") is None
    assert desk.answered(13, "t") is None
    assert desk.answered(11, "t") == one
    assert desk.next_at_ms() == 200
    desk.shift(50)
    assert desk.expired(249) == []
    assert [(each.asker, each.nonce) for each in desk.expired(250)] == [("b", 2)]
    assert len(desk) == 0
