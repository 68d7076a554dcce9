"""How long is waited; the numbers are memberlist's for wide area networks."""

from __future__ import annotations

from replication.membership.claims import Claim, Condition
from replication.membership.local_health import SCORE_MAX, LocalHealth
from replication.membership.rumour_queue import RumourQueue
from replication.membership.timings import (
    WAN,
    confirmations_wanted,
    retransmit_count,
    suspicion_min_ms,
    suspicion_ms,
)
from tests.membership_kit import node_id


def test_suspicions_are_longer_in_larger_fleets_and_shorter_when_confirmed() -> None:
    assert [suspicion_min_ms(WAN, count) for count in (1, 2, 10, 100, 1_000)] == [
        30_000,
        30_000,
        30_000,
        60_000,
        90_000,
    ]
    assert suspicion_ms(WAN, 5, 0) == 30_000, "too few to wait for others"
    assert [suspicion_ms(WAN, 10, count) for count in range(6)] == [
        180_000,
        115_398,
        77_609,
        50_797,
        30_000,
        30_000,
    ]
    assert [confirmations_wanted(WAN, count) for count in (2, 5, 6, 100)] == [0, 0, 4, 4]


def test_rumours_are_told_more_often_in_larger_fleets() -> None:
    assert [retransmit_count(WAN, count) for count in (1, 9, 10, 99, 1_000)] == [4, 4, 8, 8, 16]


def test_health_has_bounds() -> None:
    health = LocalHealth()
    health.better()
    assert (health.score, health.multiplier) == (0, 1)
    health.worse(3)
    health.worse(30)
    assert (health.score, health.multiplier) == (SCORE_MAX, 8)
    health.better()
    assert health.score == 6


def test_what_was_told_least_goes_first_and_each_claim_so_often() -> None:
    queue = RumourQueue()
    claims = [Claim(node_id(number), 0, Condition.ALIVE, node_id(number)) for number in (1, 2, 3)]
    queue.add(claims[0])
    assert queue.take(2, 3) == [claims[0]]
    queue.add(claims[1])
    queue.add(claims[2])
    assert queue.take(2, 3) == [claims[1], claims[2]]
    newer = Claim(node_id(1), 1, Condition.ALIVE, node_id(1))
    queue.add(newer)
    queue.forget(node_id(2))
    assert [queue.take(8, 3) for _ in range(4)] == [[newer, claims[2]], [newer, claims[2]], [newer], []]
    assert len(queue) == 0
