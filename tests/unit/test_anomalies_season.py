"""Profiles of day and week."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.anomalies import season
from appliance.anomalies.season import SLOTS_AN_HOUR, Profiles

F = np.float32
MONDAY_SLOT = 1_785_715_200_000 // 10_000
A_DAY = 24 * SLOTS_AN_HOUR


def _teach(
    profiles: Profiles, days: int, value: float = 0.0, weekend: float = 0.0, begin_day: int = 0
) -> None:
    """A reading every half hour: warm from 8 to 16 h, warmer at weekends; the level is half of it."""
    place = np.array([1])
    for half_hour in range(begin_day * 48, (begin_day + days) * 48):
        slot = np.array([MONDAY_SLOT + half_hour * SLOTS_AN_HOUR // 2], np.uint32)
        hour, day = half_hour % 48 / 2, half_hour // 48 % 7
        seen = value + (10.0 if 8 <= hour < 16 else 0.0) + (weekend if day >= 5 else 0.0)
        profiles.learn(
            place,
            slot,
            value=np.array([seen], F),
            inner=np.zeros(1, F),
            level=np.array([5.0], F),
            spread=np.ones(1, F),
        )


def _at(profiles: Profiles, day: int, hour: float) -> tuple[float, bool]:
    said = profiles.expected(
        np.array([1]), np.array([MONDAY_SLOT + day * A_DAY + int(hour * SLOTS_AN_HOUR)], np.uint32)
    )
    return float(said.value[0]), bool(said.is_used[0])


def test_a_day_is_known_after_two_and_used_because_it_explains() -> None:
    profiles = Profiles()
    assert profiles.make(1).tolist() == [1]
    _teach(profiles, 1)
    assert not _at(profiles, 1, 12)[1]
    _teach(profiles, 2, begin_day=1)
    value, is_used = _at(profiles, 3, 12)
    assert is_used
    assert profiles.used == 1
    assert value == pytest.approx(10, abs=0.5)
    assert _at(profiles, 3, 3)[0] == pytest.approx(0, abs=0.5)


def test_what_has_no_day_gets_no_profile() -> None:
    profiles = Profiles()
    profiles.make(1)
    generator = np.random.default_rng(1)
    for half_hour in range(6 * 48):
        profiles.learn(
            np.array([1]),
            np.array([MONDAY_SLOT + half_hour * SLOTS_AN_HOUR // 2], np.uint32),
            value=generator.normal(0, 1, 1).astype(F),
            inner=np.zeros(1, F),
            level=np.zeros(1, F),
            spread=np.ones(1, F),
        )
    assert profiles.used == 0


def test_the_weekend_is_known_after_three_weeks() -> None:
    profiles = Profiles()
    profiles.make(1)
    _teach(profiles, 35, weekend=6.0)
    assert _at(profiles, 40, 3)[0] - _at(profiles, 37, 3)[0] > 2, "Saturday night against Wednesday night"


def test_places_are_given_until_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(season, "ANOMALY_PROFILE_COUNT_MAX", 3)
    profiles = Profiles()
    assert profiles.make(2).tolist() == [1, 2]
    assert profiles.make(2).tolist() == [3]
    assert profiles.make(1).tolist() == []
    assert len(profiles) == 3


def test_a_forgotten_profile_begins_anew() -> None:
    profiles = Profiles()
    profiles.make(1)
    _teach(profiles, 3)
    profiles.forget(np.array([1]))
    assert _at(profiles, 3, 12) == (0.0, False)
