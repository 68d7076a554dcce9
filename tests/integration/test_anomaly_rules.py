"""Rules of the kind `anomaly` over the real detectors: readings in, alarms with their reason out."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from appliance.anomalies.detectors import AnomalyDetectors
from appliance.core.arrays import F64
from appliance.management.rule_conditions import Anomaly
from appliance.rules.evaluator import RuleEvaluator
from tests.anomaly_kit import STEP_MS, noise, readings, times
from tests.rules_kit import Names, rule

LENGTH = 1_200
AT = 1_000


def _raised(
    values: F64,
    *,
    sensitivity: Literal["high", "normal"] = "normal",
    on_delay_s: float = 0.0,
    silent_s: int = 0,
) -> list[tuple[int, bool, str, Any]]:
    """(slot, whether raised, text, finding) of what a rule tells of one series."""
    names = Names([("pump-1", "t")])
    evaluator = RuleEvaluator(names)
    evaluator.use([rule("unusual", Anomaly(sensitivity=sensitivity), on_delay_s=on_delay_s)])
    detectors = AnomalyDetectors()
    at_ms = times(len(values))
    told = []
    for begin in range(0, len(values), 50):
        part = slice(begin, begin + 50)
        points = readings(values[part], at_ms[part])
        told += evaluator.see(points, detectors.see(points))
    for second in range(10, silent_s, 10):
        now_ms = int(at_ms[-1]) + second * 1_000
        silence = detectors.tick(now_ms)
        if len(silence.series):
            told += evaluator.silence(silence)
        told += evaluator.tick(now_ms)
    return [
        (
            (each.at_ms - int(at_ms[0])) // STEP_MS,
            each.is_raised,
            str(each.explanation.get("text", "")),
            each.explanation.get("finding"),
        )
        for each in told
    ]


def test_noise_raises_nothing() -> None:
    assert _raised(noise(LENGTH, 1)) == []


def test_a_spike_is_raised_and_over_with_its_reason() -> None:
    values = noise(LENGTH, 1)
    values[AT] += 60
    (raised, over) = _raised(values)
    assert raised[:2] == (AT, True)
    assert "above the usual" in raised[2]
    assert "spreads" in raised[2]
    assert over[1] is False
    assert over[0] <= AT + 2


def test_a_spike_is_not_told_by_a_rule_that_waits_but_a_shift_is() -> None:
    spike, shift = noise(LENGTH, 1), noise(LENGTH, 1)
    spike[AT] += 60
    shift[AT:] += 10
    assert _raised(spike, on_delay_s=60) == []
    told = _raised(shift, on_delay_s=60)
    assert told[0][1] is True
    assert AT + 6 <= told[0][0] <= AT + 20


def test_a_series_that_drops_out_is_raised_at_its_deadline() -> None:
    """Ten usual gaps for a rule of normal sensitivity."""
    told = _raised(noise(300, 1), silent_s=300)
    assert [each[:2] for each in told] == [(299 + 10, True)]
    assert "no reading for 100 s, usually one every 10 s" in told[0][2]
    assert told[0][3] == "drop_out"


def test_a_dead_sensor_that_is_still_read_is_a_change_of_variance() -> None:
    values = noise(LENGTH, 1)
    values[AT:] = np.float64(20.0)
    told = _raised(values, sensitivity="high")
    told = [each for each in told if each[0] >= AT]
    assert told[0][1] is True
    assert told[0][3] == "variance"
    assert AT <= told[0][0] <= AT + 90
