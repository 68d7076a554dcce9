"""Which rules hold where."""

from __future__ import annotations

from appliance.pipeline.rule_sets import NO_RULES, RuleSet, RuleSets
from tests.watch_kit import version


def at(sets: RuleSets, seq: int, epoch: int = 1) -> tuple[RuleSet, int | None]:
    with sets.reading(epoch, seq) as found:
        return found


def test_before_the_first_change_there_are_none() -> None:
    assert at(RuleSets(), 1) == (NO_RULES, None)
    assert at(RuleSets([version(1, 5.0, from_seq=9)]), 8) == (NO_RULES, 9)


def test_a_version_holds_from_its_position_until_the_next() -> None:
    sets = RuleSets(
        [version(1, 5.0, from_seq=9), version(2, 6.0, from_seq=20), version(3, None, from_seq=30)]
    )
    first, until_seq = at(sets, 9)
    assert ([rule.version for rule in first.rules], first.number, until_seq) == ([1], 1, 20)
    second, until_seq = at(sets, 25)
    assert ([rule.version for rule in second.rules], second.number, until_seq) == ([2], 2, 30)
    assert at(sets, 30) == (RuleSet(3, ()), None)


def test_changes_at_one_position_hold_together() -> None:
    sets = RuleSets([version(1, 5.0, from_seq=9), version(2, 6.0, from_seq=9, rule_id="other")])
    both, until_seq = at(sets, 9)
    assert {rule.rule_id for rule in both.rules} == {"r", "other"}
    assert until_seq is None


def test_a_change_under_way_holds_reading_up_and_what_it_brings_holds_behind() -> None:
    sets = RuleSets([version(1, 5.0, from_seq=9)])
    sets.gate.hold(lambda: (1, 15))
    assert at(sets, 10)[1] == 15
    assert at(sets, 15)[1] == 15
    sets.gate.release(lambda: sets.add([version(2, 6.0, from_seq=15)]))
    assert sets.newest_number == 2
    assert at(sets, 10)[1] == 15
    assert [rule.version for rule in at(sets, 15)[0].rules] == [2]
