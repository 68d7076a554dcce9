"""What is believed: which claims count, when a suspect is dead, what is told again."""

from __future__ import annotations

from appliance.core.limits_replication import INCARNATION_STEP_MAX
from replication.membership.beliefs import Beliefs
from replication.membership.claims import Claim, Condition
from replication.membership.local_health import LocalHealth
from replication.membership.timings import WAN
from tests.membership_kit import node_id

ALIVE, SUSPECT, DEAD = Condition.ALIVE, Condition.SUSPECT, Condition.DEAD
OWN, A, B, C = (node_id(number) for number in range(4))


def made(count: int = 4) -> Beliefs:
    beliefs = Beliefs(OWN, WAN, LocalHealth())
    for number in range(1, count):
        beliefs.table.admit(node_id(number), 0)
    return beliefs


def test_a_suspect_is_dead_after_thirty_seconds_and_three_probes_in_vain() -> None:
    beliefs = made()
    row = beliefs.table.rows[A]
    assert beliefs.suspect(row, 0) == [], "nothing was ever heard of it"
    beliefs.heard(row, 0)
    (became,) = beliefs.suspect(row, 1_000)
    assert (became.node, became.condition, became.by) == (A, SUSPECT, OWN)
    assert beliefs.dead_at_ms(row) is None
    assert beliefs.expire(1_000_000) == []
    beliefs.suspect(row, 6_000)
    beliefs.suspect(row, 11_000)
    assert beliefs.dead_at_ms(row) == 31_000
    assert beliefs.expire(30_999) == []
    (became,) = beliefs.expire(31_000)
    assert became.condition is DEAD
    assert beliefs.suspect(row, 40_000) == []
    assert (beliefs.suspicion_total, beliefs.death_total) == (1, 1)


def test_a_sign_of_life_begins_the_count_anew() -> None:
    beliefs = made()
    row = beliefs.table.rows[A]
    beliefs.heard(row, 0)
    for at_ms in (0, 5_000, 10_000):
        beliefs.suspect(row, at_ms)
    beliefs.signed(row, 29_000)
    assert beliefs.expire(40_000) == []


def test_in_a_larger_fleet_a_suspicion_is_shorter_the_more_confirm_it() -> None:
    beliefs = made(10)
    row = beliefs.table.rows[A]
    beliefs.heard(row, 0)
    for _ in range(3):
        beliefs.suspect(row, 0)
    seen = [beliefs.dead_at_ms(row)]
    for number in range(2, 9):
        beliefs.believe([Claim(A, 0, SUSPECT, node_id(number)), Claim(A, 0, SUSPECT, node_id(2))], 0)
        seen.append(beliefs.dead_at_ms(row))
    assert seen[0] == 180_000
    assert seen == sorted(seen, key=lambda each: -(each or 0))
    assert seen[4:] == [30_000] * 4, "four others are enough"


def test_own_claims_are_never_believed_but_answered() -> None:
    beliefs = made()
    beliefs.believe([Claim(OWN, 7, ALIVE, OWN)], 0)
    assert beliefs.incarnation == 7, "from before this node started"
    assert not beliefs.rumours
    beliefs.believe([Claim(OWN, 7, DEAD, A)], 0)
    assert beliefs.own_claim() == Claim(OWN, 8, ALIVE, OWN)
    assert beliefs.take_rumours(8) == [beliefs.own_claim()]
    while beliefs.take_rumours(8):
        pass
    beliefs.believe([Claim(OWN, 7, SUSPECT, B)], 0)
    assert beliefs.incarnation == 8
    assert beliefs.take_rumours(8) == [beliefs.own_claim()], "somebody missed the answer"


def test_who_missed_a_refutation_is_told_again() -> None:
    beliefs = made()
    beliefs.believe([Claim(A, 3, ALIVE, A)], 0)
    while beliefs.take_rumours(8):
        pass
    beliefs.believe([Claim(A, 2, ALIVE, A)], 0)
    assert not beliefs.rumours
    beliefs.believe([Claim(A, 2, SUSPECT, B)], 0)
    assert beliefs.take_rumours(8) == [Claim(A, 3, ALIVE, A)]


def test_incarnations_out_of_bounds_are_refused() -> None:
    beliefs = made()
    beliefs.believe([Claim(A, 5, ALIVE, A), Claim(OWN, 5, ALIVE, OWN)], 0)
    beliefs.believe(
        [Claim(A, 6 + INCARNATION_STEP_MAX, DEAD, B), Claim(OWN, 6 + INCARNATION_STEP_MAX, DEAD, B)], 0
    )
    beliefs.believe([Claim(node_id(99), 0, DEAD, B)], 0)
    assert beliefs.refused_total == 3
    assert beliefs.table.rows[A].condition is ALIVE
    assert beliefs.incarnation == 5


def test_a_node_that_talks_here_is_suspect_and_not_dead_by_the_word_of_others() -> None:
    beliefs = made()
    row = beliefs.table.rows[A]
    beliefs.heard(row, 10_000)
    beliefs.believe([Claim(A, 0, DEAD, B)], 39_999)
    assert row.condition is SUSPECT
    beliefs.believe([Claim(A, 0, DEAD, B)], 40_000)
    assert row.condition is DEAD
    beliefs.forget(A)
    assert not beliefs.suspects
    assert A not in beliefs.table.rows
