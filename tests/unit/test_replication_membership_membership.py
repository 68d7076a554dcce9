"""Who is there: several memberships over a virtual network, and single ones that are spoken to."""

from __future__ import annotations

import random

import pytest

from appliance.core.limits_replication import MEMBER_COUNT_MAX, RELAYED_PROBES_MAX
from replication.effects import Send
from replication.membership.claims import Claim, Condition
from replication.membership.membership import Membership
from replication.membership.messages import Probe, ProbeAnswer, ProbeFor, ProbeMissed, Rumours, TableDigest
from tests.membership_kit import Fleet, node_id

ALIVE, SUSPECT, DEAD = Condition.ALIVE, Condition.SUSPECT, Condition.DEAD


def test_all_see_all_alive_and_an_idle_fleet_says_little() -> None:
    fleet = Fleet(5)
    fleet.run(60_000)
    assert {one for number in range(5) for one in fleet.seen(number)} == {ALIVE}
    before = fleet.message_count
    fleet.run(60_000)
    # Five nodes, each 12 probes and as many answers, and a digest: nothing is told twice for ever.
    assert fleet.message_count - before <= 5 * (12 * 2 + 2)


def test_a_node_that_is_gone_is_dead_for_all_within_a_suspicion_and_alive_when_it_is_back() -> None:
    fleet = Fleet(5)
    fleet.run(10_000)
    fleet.stall(4)
    fleet.run(30_000)
    assert set(fleet.seen(4)[:4]) == {SUSPECT}, "30 s are not over for anybody"
    fleet.run(60_000)
    assert set(fleet.seen(4)[:4]) == {DEAD}
    fleet.stalled.pop(4)
    fleet.restart(4)
    fleet.run(5_000)
    assert set(fleet.seen(4)) == {ALIVE}


@pytest.mark.parametrize("count", [2, 3, 5, 8])
@pytest.mark.parametrize("seed", range(5))
def test_nobody_is_called_dead_for_standing_still_for_ten_seconds(count: int, seed: int) -> None:
    fleet = Fleet(count, seed=seed)
    fleet.run(20_000 + 777 * seed)
    for _ in range(6):
        number = fleet.random.randrange(count)
        fleet.stall(number)
        fleet.run(10_000)
        fleet.go_on(number)
        fleet.run(10_000)
    assert DEAD not in {condition for _, _, condition in fleet.became}
    assert {one for number in range(count) for one in fleet.seen(number)} == {ALIVE}


def test_who_stood_still_for_minutes_calls_nobody_dead() -> None:
    fleet = Fleet(4)
    fleet.run(10_000)
    fleet.stall(0)
    fleet.run(300_000)
    fleet.go_on(0)
    fleet.run(60_000)
    assert not [each for each in fleet.became if each[0] == 0 and each[2] is DEAD]
    assert fleet.nodes[0].statistics().stall_total >= 1
    assert set(fleet.seen(0)) == {ALIVE}


@pytest.mark.parametrize("seed", range(5))
def test_no_flapping_with_a_cut_in_one_direction_and_thirty_per_cent_lost(seed: int) -> None:
    loss = random.Random(seed)
    fleet = Fleet(6, seed=seed, passes=lambda a, b: (a, b) != (0, 1) and loss.random() > 0.3)
    fleet.run(600_000)
    assert DEAD not in {condition for _, _, condition in fleet.became}


def test_halves_that_called_each_other_dead_learn_better_when_links_are_back() -> None:
    fleet = Fleet(6)
    fleet.run(10_000)
    across = [(a, b) for a in range(3) for b in range(3, 6)]
    for a, b in across:
        fleet.disconnect(a, b)
    fleet.run(6 * 3_600_000)
    assert set(fleet.seen(5)[:3]) == {DEAD}
    assert set(fleet.seen(5)[3:]) == {ALIVE}
    fleet.connect(0, 3)
    fleet.run(60_000)
    assert {one for number in range(6) for one in fleet.seen(number)} == {ALIVE}, "through one link"


def test_a_node_without_a_link_is_probed_through_others() -> None:
    hub = [(1, 0), (2, 0), (3, 0)]
    fleet = Fleet(4, links=hub)
    fleet.run(60_000)
    assert {one for number in range(4) for one in fleet.seen(number)} == {ALIVE}
    assert fleet.nodes[0].statistics().relayed_total > 0
    fleet.stall(3)
    fleet.run(120_000)
    assert set(fleet.seen(3)[:3]) == {DEAD}


def test_a_link_that_ends_proves_nothing() -> None:
    fleet = Fleet(3)
    fleet.run(10_000)
    fleet.disconnect(0, 1)
    fleet.run(120_000)
    assert DEAD not in {condition for _, _, condition in fleet.became}
    assert set(fleet.seen(1)) == {ALIVE}


def test_only_the_roster_takes_a_node_off() -> None:
    fleet = Fleet(3)
    fleet.run(10_000)
    fleet.stall(2)
    fleet.run(86_400_000)
    assert [each.node for each in fleet.nodes[0].view(fleet.now_ms)] == [node_id(1), node_id(2)]
    fleet.nodes[0].forget(node_id(2), fleet.now_ms)
    assert fleet.nodes[0].condition(node_id(2)) is None
    assert [each.node for each in fleet.nodes[0].view(fleet.now_ms)] == [node_id(1)]
    fleet.run(300_000)
    assert fleet.nodes[0].condition(node_id(2)) is None, "rumours of it are a stranger's"
    assert fleet.nodes[0].statistics().refused_total > 0


def made(count: int = 4) -> Membership:
    machine = Membership(node_id(0), random.Random(1), 0)
    for number in range(count):
        machine.admit(node_id(number), 0)
    return machine


def told(effects: object) -> list[tuple[str, object]]:
    assert isinstance(effects, list)
    return [(each.peer, each.message) for each in effects if isinstance(each, Send)]


def test_alone_nothing_is_ever_due() -> None:
    machine = Membership(node_id(0), random.Random(1), 0)
    assert machine.next_at_ms() is None
    assert not machine.admit(node_id(0), 0), "not of itself"
    assert machine.tick(1_000_000) == []
    assert machine.next_at_ms() is None
    assert machine.condition(node_id(0)) is ALIVE
    assert machine.admit(node_id(1), 1_000_000)
    assert not machine.admit(node_id(1), 1_000_000)
    due_ms = machine.next_at_ms()
    assert due_ms is not None
    assert due_ms >= 1_000_000
    machine.forget(node_id(1), 1_000_000)
    assert machine.next_at_ms() is None


def test_the_roster_has_a_limit() -> None:
    machine = made(MEMBER_COUNT_MAX + 1)
    assert not machine.admit(node_id(MEMBER_COUNT_MAX + 7), 0)
    assert len(machine.view(0)) == MEMBER_COUNT_MAX


def test_strangers_are_not_listened_to() -> None:
    machine = made()
    stranger = node_id(77)
    assert machine.link_up(stranger, 0) == []
    assert machine.link_down(stranger, 0) == []
    assert machine.heard(stranger, 0) == []
    assert machine.receive(stranger, Probe(1, ()), 0) == []
    assert machine.statistics().refused_total == 1


def test_a_suspect_is_told_of_it_and_refutes_it() -> None:
    machine = made()
    machine.link_up(node_id(1), 0)
    suspicion = Claim(node_id(0), 0, SUSPECT, node_id(2))
    (answer,) = told(machine.receive(node_id(1), Probe(7, (suspicion,)), 10))
    assert isinstance(answer[1], ProbeAnswer)
    assert Claim(node_id(0), 1, ALIVE, node_id(0)) in answer[1].claims
    stats = machine.statistics()
    assert (stats.incarnation, stats.refutation_total, stats.health_score) == (1, 1, 1)
    machine.receive(node_id(1), Rumours((Claim(node_id(1), 0, SUSPECT, node_id(2)),)), 20)
    (answer,) = told(machine.receive(node_id(1), Probe(8, ()), 30))
    assert isinstance(answer[1], ProbeAnswer)
    assert answer[1].claims[0] == Claim(node_id(1), 0, SUSPECT, node_id(2)), "the buddy system"


def test_a_node_that_talks_here_is_not_dead_because_others_say_so() -> None:
    machine = made()
    machine.link_up(node_id(1), 0)
    machine.receive(node_id(1), Rumours((Claim(node_id(1), 0, DEAD, node_id(2)),)), 100)
    assert machine.condition(node_id(1)) is SUSPECT
    for at_ms in range(1_000, 200_000, 1_000):
        machine.heard(node_id(1), at_ms)
        due_ms = machine.next_at_ms()
        assert due_ms is not None
        if due_ms <= at_ms:
            machine.tick(at_ms)
    assert machine.condition(node_id(1)) is SUSPECT, "something came all the time"


def test_probes_for_others_are_bounded_and_answered_in_any_case() -> None:
    machine = made()
    for number in (1, 2):
        (first, *_) = told(machine.link_up(node_id(number), 0))
        assert isinstance(first[1], Probe)
        machine.receive(node_id(number), ProbeAnswer(first[1].nonce, ()), 0)
    asked = [
        told(machine.receive(node_id(1), ProbeFor(nonce, node_id(2)), 1))
        for nonce in range(RELAYED_PROBES_MAX)
    ]
    assert all(len(each) == 1 and each[0][0] == node_id(2) for each in asked)
    over = told(machine.receive(node_id(1), ProbeFor(999, node_id(2)), 1))
    assert over == [(node_id(1), ProbeMissed(999, False))]
    assert told(machine.receive(node_id(1), ProbeFor(5, node_id(3)), 1)) == [
        (node_id(1), ProbeMissed(5, False))
    ]
    probe = asked[0][0][1]
    assert isinstance(probe, Probe)
    assert told(machine.receive(node_id(1), ProbeAnswer(probe.nonce, ()), 2)) == [], (
        "not the one who was asked"
    )
    assert told(machine.receive(node_id(2), ProbeAnswer(probe.nonce, ()), 2)) == [
        (node_id(1), ProbeAnswer(0, (), 1))
    ], "and how long it waits on its slowest link, half as long again as an answer took"
    missed = told(machine.tick(1_501))
    assert (node_id(1), ProbeMissed(1, True)) in missed
    assert len([one for one in missed if isinstance(one[1], ProbeMissed)]) == RELAYED_PROBES_MAX - 1


@pytest.mark.parametrize(("are_relays_well", "score"), [(False, 3), (True, 0)])
def test_relays_that_say_nothing_speak_against_this_node(are_relays_well: bool, score: int) -> None:
    machine = made(5)
    for number in range(1, 5):
        machine.link_up(node_id(number), 0)
    asked = 0
    while machine.statistics().probe_failed_total == 0:
        at_ms = machine.next_at_ms() or 0
        for peer, message in told(machine.tick(at_ms)):
            if isinstance(message, ProbeFor) and are_relays_well:
                machine.receive(peer, ProbeMissed(message.nonce, True), at_ms)
                machine.receive(peer, ProbeMissed(message.nonce + 1, True), at_ms)
            asked += isinstance(message, ProbeFor) and machine.statistics().probe_failed_total == 0
    assert asked == 3
    assert machine.statistics().health_score == score


def test_tables_that_are_equal_need_no_talk_and_others_only_what_differs() -> None:
    machine, other = made(), made()
    machine.link_up(node_id(1), 0)
    equal = TableDigest(machine._digest(), False)
    assert told(machine.receive(node_id(1), equal, 1)) == []
    other.link_up(node_id(1), 0)
    other.link_up(node_id(2), 0)
    (digest,) = told(machine.receive(node_id(1), TableDigest(other._digest(), False), 2))
    assert isinstance(digest[1], TableDigest)
    assert digest[1].is_answer
    assert told(machine.receive(node_id(1), TableDigest(other._digest(), True), 3)) == []


def test_a_node_that_nobody_ever_heard_of_is_neither_alive_nor_dead() -> None:
    fleet = Fleet(3, links=[(1, 0)])
    fleet.run(600_000)
    assert fleet.seen(2)[:2] == [None, None]
    view = fleet.nodes[0].view(fleet.now_ms)
    assert [each.condition for each in view] == ["alive", "never heard"]
    assert view[1].heard_before_ms is None
    assert fleet.nodes[0].statistics().unheard_count == 1
