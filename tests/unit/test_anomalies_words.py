"""What people read."""

from __future__ import annotations

import json

import pytest

from appliance.anomalies.words import duration, number, of_silence, of_value
from appliance.management.watched import Finding


@pytest.mark.parametrize(
    ("finding", "usual", "now", "by_hour", "text"),
    [
        (Finding.OUTLIER, 20.0, 41.4, True, "21.4 above the usual for this hour, 6.1 spreads"),
        (Finding.OUTLIER, 50.0, 41.4, False, "8.6 below the usual, 6.1 spreads"),
        (Finding.LEVEL_SHIFT, 20.0, 25.0, False, "for some time 5 above the usual, 6.1 spreads"),
        (Finding.LEVEL_SHIFT, 20.0, 15.0, True, "for some time 5 below the usual for this hour, 6.1 spreads"),
        (Finding.DRIFT, 20.0, 20.5, False, "drifting up: 0.5 from 20, the level of a long time, 6.1 spreads"),
        (
            Finding.DRIFT,
            20.0,
            19.5,
            False,
            "drifting down: 0.5 from 20, the level of a long time, 6.1 spreads",
        ),
        (Finding.VARIANCE, 0.5, 2.0, False, "varies 4 times as much as usual"),
        (Finding.VARIANCE, 0.5, 0.05, False, "varies less than usual: 10 % of it"),
        (Finding.VARIANCE, 0.5, 0.0, False, "hardly varies any more"),
        (Finding.VARIANCE, 0.0, 0.0, False, "hardly varies any more"),
        (Finding.NONE, 20.0, 20.0, False, "as usual"),
    ],
)
def test_a_reading_is_explained(finding: Finding, usual: float, now: float, by_hour: bool, text: str) -> None:
    why = of_value(
        finding, value=41.4, usual=usual, now=now, spreads=6.1, score=0.99912345678, by_hour=by_hour
    )
    assert why["text"] == text
    assert why["score"] == 0.999123
    assert json.loads(json.dumps(why)) == why


def test_distances_beyond_a_thousand_spreads_are_not_counted() -> None:
    why = of_value(Finding.OUTLIER, value=1e6, usual=0.0, now=1e6, spreads=1e9, score=1.0, by_hour=False)
    assert why["text"] == "1000000 above the usual, more than 1000 spreads"


def test_a_silence_is_explained() -> None:
    why = of_silence(silent_s=50.0, gap_s=10.0, score=0.995)
    assert why["text"] == "no reading for 50 s, usually one every 10 s"
    assert why["finding"] == "drop_out"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.5, "1.5 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (200_000, "2.3 days")],
)
def test_durations_have_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_have_four_digits() -> None:
    assert [number(value) for value in (21.43219, 0.000012345, 123_456.0, 1e12, 0.0)] == [
        "21.43",
        "1.234e-05",
        "123456",
        "1e+12",
        "0",
    ]
