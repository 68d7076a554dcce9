"""Rules find the same whatever the order and cut of the readings, the times of ticks, and wherever their state was saved."""

from __future__ import annotations

import math
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.management.rule import Rule
from appliance.management.rule_conditions import (
    AnyCondition,
    Comparison,
    MissingFraction,
    NoData,
    Rate,
    Repetition,
    Stuck,
    Threshold,
)
from appliance.management.watched import Member, Membership
from appliance.rules.evaluator import RuleEvaluator
from tests.rules_kit import Feeder, Names, Reading, Told, rule

SERIES: Final = (("a", "t"), ("a", "u"), ("b", "t"), ("c", "t"))
MEMBERS: Final = Membership(devices={name: Member(groups=frozenset({"g"})) for name in ("a", "b", "c")})
LATENESS_MS: Final = 2_000
STEP_MS: Final = 500
"""Times are multiples of it, so that readings and deadlines meet."""

delays = st.sampled_from([0.0, 0.5, 2.0, 5.0])
CONDITIONS: Final[tuple[tuple[str, AnyCondition], ...]] = (
    ("t", Threshold(is_="above", limit=2)),
    ("t", Threshold(is_="above", limit=2, hysteresis=1)),
    ("*", Threshold(is_="outside", limit=1, limit_high=3)),
    ("t", Threshold(is_="inside", limit=1, limit_high=2, hysteresis=1)),
    ("t", Rate(limit=0.5, over_s=4)),
    ("t", Rate(limit=0.2, over_s=1, direction="rising", hysteresis=0.1)),
    ("t", Repetition(is_="above", limit=2, count=2, within_s=5)),
    ("t", Repetition(is_="below", limit=2, count=3, within_s=10)),
    ("t", Stuck(for_s=3)),
    ("", Stuck(for_s=4, tolerance=1)),
    ("", NoData(expected_s=1, times=3)),
    ("t", NoData(expected_s=2, times=1)),
    ("", MissingFraction(expected_s=1, fraction=0.5)),
    ("t", MissingFraction(expected_s=1, times=2, fraction=0.6, per="group")),
    ("t", Comparison(with_="metric", other="u", limit=1)),
    ("t", Comparison(with_="group", limit=1, hysteresis=0.5)),
    ("t", Comparison(with_="group", other="g", limit=0.5, by="ratio", is_="above")),
)


@st.composite
def rule_sets(draw: st.DrawFn) -> list[Rule]:
    chosen = draw(st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=5, unique_by=repr))
    return [
        rule(f"r{at}", condition, metric=metric, on_delay_s=draw(delays), off_delay_s=draw(delays))
        for at, (metric, condition) in enumerate(chosen)
    ]


@st.composite
def streams(draw: st.DrawFn) -> list[Reading]:
    """Readings in the order of arrival. Of two of a series the earlier one never comes more than the lateness after the later one."""
    found: list[Reading] = []
    for series in range(len(SERIES)):
        observed, latest = draw(st.integers(0, 8)) * STEP_MS, 0
        behind = draw(st.sampled_from([0, 0, 3_000, 60_000]))
        arrivals: list[int] = []
        for _ in range(draw(st.integers(0, 14))):
            gap = draw(st.sampled_from([1, 1, 1, 2, 2, 4, 8, 14, 30]))
            observed += gap * STEP_MS
            # It arrives some time after it was observed, and at most the lateness before what was observed before it.
            arrived = max(observed + draw(st.integers(0, 4)) * STEP_MS, latest - LATENESS_MS)
            if draw(st.integers(0, 19)) == 0:
                arrived += draw(st.integers(0, 20)) * STEP_MS
            latest = max(latest, arrived)
            arrivals.append(arrived)
            found.append(
                Reading(
                    received=arrived,
                    series=series,
                    observed=observed - behind,
                    value=draw(st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 1.0, 3.0, math.nan])),
                    quality=draw(st.sampled_from([0, 0, 0, 1, 2])),
                )
            )
    return sorted(found, key=lambda each: (each.received, each.series, each.observed))


def run(rules: list[Rule], stream: list[Reading], stops: list[tuple[int, bool, bool]]) -> Told:
    """Show a stream.

    Args:
        stops: (time, whether the clock ticks then, whether the evaluator is saved and another goes on); readings are shown up to each.
    """
    names = Names()
    evaluator = RuleEvaluator(names, lateness_ms=LATENESS_MS)
    evaluator.members(MEMBERS)
    evaluator.use(rules)
    feeder = Feeder(evaluator, names, SERIES, LATENESS_MS)
    waiting = list(stream)
    for now, ticks, saves in stops:
        feeder.arrive(each for each in waiting if each.received <= now)
        waiting = [each for each in waiting if each.received > now]
        if ticks:
            feeder.tick(now)
        else:
            feeder.advance(now)
        if saves:
            state = evaluator.save()
            evaluator = RuleEvaluator(names, lateness_ms=LATENESS_MS)
            evaluator.members(MEMBERS)
            evaluator.use(rules)
            evaluator.load(state)
            assert evaluator.save() == state
            feeder.replace(evaluator)
    return feeder.told


END_MS: Final = 400_000
times = st.integers(0, 500).map(lambda at: at * 250)
stops = st.lists(st.tuples(times, st.booleans(), st.integers(0, 5).map(lambda at: at == 0)), max_size=25)


def check_any_order_cut_and_tick_gives_the_same(
    rules: list[Rule], stream: list[Reading], stops: list[tuple[int, bool, bool]]
) -> None:
    once = run(rules, stream, [(END_MS, True, False)])
    cut = run(rules, stream, [*sorted(stops), (END_MS, True, False)])
    assert cut.by_key == once.by_key


@settings(max_examples=60)
@given(rule_sets(), streams(), stops)
def test_any_order_cut_and_tick_gives_the_same(
    rules: list[Rule], stream: list[Reading], stops: list[tuple[int, bool, bool]]
) -> None:
    check_any_order_cut_and_tick_gives_the_same(rules, stream, stops)


@pytest.mark.long
@settings(max_examples=3_000)
@given(rule_sets(), streams(), stops)
def test_any_order_cut_and_tick_gives_the_same_often(
    rules: list[Rule], stream: list[Reading], stops: list[tuple[int, bool, bool]]
) -> None:
    check_any_order_cut_and_tick_gives_the_same(rules, stream, stops)
