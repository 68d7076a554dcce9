"""What planted faults do to measurements: only to those that they are about, and only while they hold."""

from __future__ import annotations

import random
from collections.abc import Set

import pytest

from device_fw_sim.faults import FaultKind
from device_fw_sim.signals import Value
from device_fw_sim.spoiling import (
    BURST_CELSIUS,
    BURST_CELSIUS_MAX,
    BURST_EXPONENT,
    DRIFT_CELSIUS_PER_HOUR,
    SPIKES_CELSIUS,
    Spoiling,
)

HOUR_MS = 3_600_000
NONE: Set[FaultKind] = frozenset()


def values(celsius: float, **more: Value) -> dict[str, Value]:
    return {"temperature_celsius": celsius, "humidity_percent": 50.0, "power_watts": 180.0, **more}


@pytest.fixture
def sensors() -> Spoiling:
    return Spoiling(random.Random(1))


def test_without_a_fault_everything_is_as_it_is(sensors: Spoiling) -> None:
    assert sensors.spoiled(values(20), NONE, 0) == values(20)


def test_all_values_of_a_stuck_device_stay(sensors: Spoiling) -> None:
    sensors.spoiled(values(20), NONE, 0)
    assert sensors.spoiled(values(21, door=True), {FaultKind.STUCK}, 1) == values(20)
    assert sensors.spoiled(values(22), NONE, 2) == values(22)


def test_a_device_that_is_stuck_from_the_start_says_its_first_values(sensors: Spoiling) -> None:
    assert sensors.spoiled(values(20), {FaultKind.STUCK}, 0) == values(20)
    assert sensors.spoiled(values(21), {FaultKind.STUCK}, 1) == values(20)


def test_a_stuck_sensor_stays_alone_and_sticks_anew_elsewhere(sensors: Spoiling) -> None:
    stuck = {FaultKind.STUCK_SENSOR}
    assert sensors.spoiled(values(20), stuck, 0) == values(20)
    assert sensors.spoiled(values(23, humidity_percent=60.0), stuck, 1) == values(20, humidity_percent=60.0)
    assert sensors.spoiled(values(24), NONE, 2) == values(24)
    assert sensors.spoiled(values(25), stuck, 3) == values(25)


def test_a_dead_sensor_is_missing_and_nothing_else(sensors: Spoiling) -> None:
    assert sensors.spoiled(values(20), {FaultKind.DEAD_SENSOR}, 0) == {
        "humidity_percent": 50.0,
        "power_watts": 180.0,
    }


def test_a_drift_begins_where_the_value_is_and_is_over_with_the_fault(sensors: Spoiling) -> None:
    drift = {FaultKind.DRIFT}
    begin_ms = 5 * HOUR_MS
    assert sensors.spoiled(values(20), drift, begin_ms) == values(20)
    assert sensors.spoiled(values(20), drift, begin_ms + HOUR_MS // 2) == values(
        20 + DRIFT_CELSIUS_PER_HOUR / 2
    )
    assert sensors.spoiled(values(20), NONE, begin_ms + HOUR_MS) == values(20)
    assert sensors.spoiled(values(20), drift, begin_ms + 2 * HOUR_MS) == values(20)


def test_bursts_follow_a_power_law(sensors: Spoiling) -> None:
    count = 20_000
    sizes = [
        float(sensors.spoiled(values(20), {FaultKind.BURST}, 0)["temperature_celsius"]) - 20
        for _ in range(count)
    ]
    assert min(sizes) >= BURST_CELSIUS
    assert max(sizes) <= BURST_CELSIUS_MAX
    for times in (2, 4, 8):
        share = sum(size > times * BURST_CELSIUS for size in sizes) / count
        assert share == pytest.approx(times**-BURST_EXPONENT, rel=0.1)


def test_one_temperature_in_ten_is_a_spike(sensors: Spoiling) -> None:
    found = [sensors.spoiled(values(20), {FaultKind.SPIKE}, at)["temperature_celsius"] for at in range(1_000)]
    spikes = [value for value in found if value in SPIKES_CELSIUS]
    assert 60 < len(spikes) < 140
    assert set(found) == {20, *SPIKES_CELSIUS}


def test_a_recording_without_a_thermometer_is_left_alone(sensors: Spoiling) -> None:
    faults = {
        FaultKind.DEAD_SENSOR,
        FaultKind.STUCK_SENSOR,
        FaultKind.DRIFT,
        FaultKind.SPIKE,
        FaultKind.BURST,
    }
    assert sensors.spoiled({"flow": 3.0}, faults, 0) == {"flow": 3.0}
