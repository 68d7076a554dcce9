"""Stuck: two ways through the readings that may not differ."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.core.limits_alarms import RULE_STUCK_STEP_COUNT_MAX
from appliance.management.rule_conditions import Stuck
from appliance.rules import stuck
from tests.rules_kit import Reading, Site, columns, rule


def readings(count: int) -> list[Reading]:
    """One a second, of a value that stands for a while, creeps and jumps."""
    chance = np.random.default_rng(7)
    moves = chance.choice([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4, 3.0], count)
    levels = np.cumsum(moves).tolist()
    return [
        Reading(received=at * 1_000, series=0, observed=at * 1_000, value=level)
        for at, level in enumerate(levels)
    ]


@pytest.mark.parametrize("tolerance", [0.0, 1.0])
def test_many_parts_at_once_give_what_few_at_a_time_give(tolerance: float) -> None:
    rows = readings(6 * RULE_STUCK_STEP_COUNT_MAX)
    condition = Stuck(for_s=4, tolerance=tolerance)
    at_once, bit_by_bit = Site(rule("r", condition)), Site(rule("r", condition))
    at_once.told.take(at_once.evaluator.see(columns(rows)))
    for start in range(0, len(rows), 10):
        bit_by_bit.told.take(bit_by_bit.evaluator.see(columns(rows[start : start + 10])))
    assert len(at_once.told.of("r", "a", "t")) > 10
    assert at_once.told.by_key == bit_by_bit.told.by_key
    assert at_once.evaluator.save() == bit_by_bit.evaluator.save()


def test_two_readings_only_say_that_it_is_there() -> None:
    site = Site(rule("r", Stuck(for_s=60)))
    site.see((0, 0, 5.0), (0, 100, 5.0), (0, 200, 5.0))
    assert site.told.of("r", "a", "t") == []
    site.see((0, 300, 5.0))
    assert site.told.of("r", "a", "t") == [(300, True)]
    assert site.told.texts("r", "a", "t") == ["Stands at 5 for 5 min, while readings came"]
    assert stuck.READING_COUNT_MIN == 3
