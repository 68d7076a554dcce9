"""What waits for its explanation."""

from __future__ import annotations

from appliance.core.limits_alarms import RULE_HELD_COUNT_MAX
from appliance.management.rule_transition import AlarmKey, Transition
from appliance.rules.holding import HOLD_MS_MAX, Holding

GONE, SITE = AlarmKey("gone", "a"), AlarmKey("site")


def moved(key: AlarmKey, at_ms: int, is_raised: bool = True) -> Transition:
    return Transition(key=key, rule_version=1, is_raised=is_raised, at_ms=at_ms, explanation={"text": "x"})


def by_site(device: int) -> list[AlarmKey]:
    return [SITE]


def explained(found: list[Transition]) -> list[bool]:
    return ["explained_by" in each.explanation for each in found]


def test_what_need_not_wait_is_given_back() -> None:
    holding = Holding()
    raised, over = moved(GONE, 1_000), moved(GONE, 2_000, is_raised=False)
    assert holding.put(raised, 0, 0) is raised
    assert holding.put(over, 0, 500) is over
    assert len(holding) == 0


def test_a_fraction_that_is_raised_meanwhile_explains_it() -> None:
    holding = Holding()
    assert holding.put(moved(GONE, 1_000), 0, 5_000) is None
    assert holding.release(5_999, by_site) == []
    holding.note(moved(SITE, 6_000))
    assert explained(holding.release(6_000, by_site)) == [True]


def test_a_fraction_that_was_over_before_or_comes_too_late_explains_nothing() -> None:
    holding = Holding()
    holding.note(moved(SITE, 0))
    holding.note(moved(SITE, 999, is_raised=False))
    holding.put(moved(GONE, 1_000), 0, 5_000)
    holding.note(moved(SITE, 6_001))
    assert explained(holding.release(7_000, by_site)) == [False]


def test_what_follows_waits_behind_and_keeps_its_order() -> None:
    holding = Holding()
    holding.put(moved(GONE, 1_000), 0, 5_000)
    assert holding.put(moved(GONE, 2_000, is_raised=False), 0, 0) is None
    assert holding.put(moved(GONE, 3_000), 0, 0) is None
    assert len(holding) == 2
    assert [each.at_ms for each in holding.release(6_000, by_site)] == [1_000, 2_000, 3_000]
    assert len(holding) == 0


def test_each_raise_has_its_own_time_to_wait() -> None:
    holding = Holding()
    holding.put(moved(GONE, 1_000), 0, 5_000)
    holding.put(moved(GONE, 4_000), 0, 5_000)
    assert [each.at_ms for each in holding.release(8_999, by_site)] == [1_000]
    assert [each.at_ms for each in holding.release(9_000, by_site)] == [4_000]


def test_nothing_waits_longer_than_ten_minutes() -> None:
    holding = Holding()
    holding.put(moved(GONE, 0), 0, 100 * HOLD_MS_MAX)
    assert len(holding.release(HOLD_MS_MAX, by_site)) == 1


def test_what_is_not_watched_any_more_is_forgotten() -> None:
    holding = Holding()
    holding.put(moved(GONE, 0), 0, 1_000)
    holding.note(moved(SITE, 0))
    holding.drop({GONE, SITE})
    assert (holding.held, holding.episodes) == ({}, {})


def test_episodes_are_forgotten_when_nothing_needs_them() -> None:
    holding = Holding()
    holding.note(moved(SITE, 0, is_raised=False))
    holding.note(moved(SITE, 0))
    holding.note(moved(SITE, 1_000, is_raised=False))
    holding.release(1_000 + HOLD_MS_MAX, by_site)
    assert holding.episodes
    holding.release(1_001 + HOLD_MS_MAX, by_site)
    assert holding.episodes == {}


def test_what_comes_and_goes_too_often_while_it_waits_is_one_long_one() -> None:
    holding = Holding()
    for at in range(0, 10 * RULE_HELD_COUNT_MAX, 2):
        holding.put(moved(GONE, at), 0, 5_000)
        holding.put(moved(GONE, at + 1, is_raised=False), 0, 0)
    assert len(holding) == RULE_HELD_COUNT_MAX
    found = holding.release(10_000, by_site)
    assert len(found) == 2 * RULE_HELD_COUNT_MAX
    assert [each.is_raised for each in found] == [True, False] * RULE_HELD_COUNT_MAX
    assert found[-1].at_ms == 10 * RULE_HELD_COUNT_MAX - 1
