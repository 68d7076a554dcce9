"""Moving averages of what grows: mosquitto's arithmetic, by hand."""

from __future__ import annotations

from math import exp

import pytest

from broker.load_average import LoadAverages


def of(load: LoadAverages, name: str) -> dict[str, float]:
    return {window: average for found, window, average in load.items() if found == name}


def test_the_first_totals_are_where_counting_begins() -> None:
    load = LoadAverages()
    load.update({"bytes": 1_000_000}, 0)
    assert of(load, "bytes") == {"1min": 0.0, "5min": 0.0, "15min": 0.0}


def test_ten_in_ten_seconds_are_sixty_a_minute_for_the_share_that_has_passed() -> None:
    load = LoadAverages()
    load.update({"bytes": 5}, 0)
    load.update({"bytes": 15}, 10)
    assert of(load, "bytes") == pytest.approx(
        {
            "1min": 60 * (1 - exp(-10 / 60)),
            "5min": 60 * (1 - exp(-10 / 300)),
            "15min": 60 * (1 - exp(-10 / 900)),
        }
    )


def test_a_steady_rate_is_reached_and_silence_fades() -> None:
    load = LoadAverages()
    for second in range(0, 3_600, 10):
        load.update({"bytes": second}, 10 if second else 0)
    steady = of(load, "bytes")
    assert steady["1min"] == pytest.approx(60, rel=1e-6)
    assert 58 < steady["15min"] < 60
    for _ in range(6):
        load.update({"bytes": 3_590}, 10)
    faded = of(load, "bytes")
    assert faded["1min"] == pytest.approx(60 * exp(-1), rel=1e-6)
    assert faded["15min"] > faded["5min"] > faded["1min"]


def test_a_name_that_comes_later_begins_at_nothing() -> None:
    load = LoadAverages()
    load.update({"a": 1}, 0)
    load.update({"a": 1, "b": 700}, 10)
    assert of(load, "b") == {"1min": 0.0, "5min": 0.0, "15min": 0.0}
