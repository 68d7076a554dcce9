"""Signals are believable, and the same for the same seed."""

from __future__ import annotations

import random
import statistics

from device_fw_sim.signals import DAY_MS, Signals

START_MS = 1_700_000_000_000 // DAY_MS * DAY_MS


def day(seed: int, step_ms: int = 60_000) -> list[dict[str, float | bool | str]]:
    signals = Signals(random.Random(seed))
    return [signals.sample(START_MS + at) for at in range(0, DAY_MS, step_ms)]


def numbers(rows: list[dict[str, float | bool | str]], name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def test_same_seed_same_signals() -> None:
    assert day(5) == day(5)
    assert day(5) != day(6)


def test_temperature_has_a_daily_cycle() -> None:
    warmest = []
    for seed in range(12):
        rows = numbers(day(seed), "temperature_celsius")
        hours = [statistics.fmean(rows[hour * 60 : (hour + 1) * 60]) for hour in range(24)]
        assert max(hours) - min(hours) > 1
        warmest.append(hours.index(max(hours)))
    assert 12 <= statistics.median(warmest) <= 21


def test_humidity_goes_against_temperature() -> None:
    for seed in range(5):
        rows = day(seed)
        assert (
            statistics.correlation(numbers(rows, "temperature_celsius"), numbers(rows, "humidity_percent"))
            < -0.5
        )


def test_power_has_steps_door_moves_and_battery_declines() -> None:
    rows = day(1)
    power = numbers(rows, "power_watts")
    assert len({round(value, -2) for value in power}) >= 3
    assert {row["door"] for row in rows} == {True, False}
    assert {row["mode"] for row in rows} >= {"idle"}
    battery = numbers(rows, "battery_percent")
    assert battery == sorted(battery, reverse=True)
    assert 2 < battery[0] - battery[-1] < 3


def test_values_are_plausible_and_time_may_go_back() -> None:
    signals = Signals(random.Random(3))
    for at in (START_MS, START_MS - DAY_MS, START_MS + 40 * DAY_MS):
        row = signals.sample(at)
        assert -10 < float(row["temperature_celsius"]) < 45
        assert 0 <= float(row["humidity_percent"]) <= 100
        assert 0 <= float(row["battery_percent"]) <= 100
