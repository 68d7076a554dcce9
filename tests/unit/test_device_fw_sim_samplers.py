"""Where readings come from: sensors at an interval, recordings at their own pace."""

from __future__ import annotations

import random
from collections.abc import Iterator

from device_fw_sim.samplers import RecordingSampler, SensorSampler, Timestamps
from device_fw_sim.signals import Signals, Value

WALL_MS = 1_700_000_000_000


def sensors(interval_ms: int) -> SensorSampler:
    source = random.Random(1)
    return SensorSampler(Signals(source), interval_ms=interval_ms, start_mono_ms=0, source=source)


def test_sensors_keep_their_interval_and_date_readings_when_due() -> None:
    sampler = sensors(100)
    first = sampler.next_due_ms()
    assert first is not None
    assert 0 <= first < 100
    late_ms = first + 30
    sample = sampler.take(late_ms, WALL_MS + late_ms)
    assert sample.ts_ms == WALL_MS + first
    assert sampler.next_due_ms() == first + 100


def test_after_a_long_sleep_only_an_hour_is_owed() -> None:
    sampler = sensors(1_000)
    day_ms = 86_400_000
    assert sampler.take(day_ms, WALL_MS + day_ms).due_mono_ms == day_ms - 3_600_000


def recording(speed: float, timestamps: Timestamps) -> RecordingSampler:
    rows: Iterator[tuple[int, Value]] = iter([(1_000, 1.0), (2_000, 2.0), (1_500, 3.0), (2_500, "off")])
    return RecordingSampler(rows, metric="m", speed=speed, timestamps=timestamps, start_mono_ms=50)


def test_recording_is_played_at_its_pace_and_goes_on_where_time_goes_back() -> None:
    sampler = recording(10, Timestamps.SHIFTED)
    dues, stamps = [], []
    while (due := sampler.next_due_ms()) is not None:
        sample = sampler.take(due + 3, WALL_MS + due + 3)
        dues.append(due)
        stamps.append(sample.ts_ms)
    assert dues == [50, 150, 150, 250]
    assert stamps == [WALL_MS + due for due in dues]


def test_recording_with_original_or_no_times() -> None:
    sampler = recording(1, Timestamps.ORIGINAL)
    assert [sampler.take(0, WALL_MS).ts_ms for _ in range(4)] == [1_000, 2_000, 1_500, 2_500]
    assert recording(1, Timestamps.NONE).take(0, WALL_MS).ts_ms is None


def test_recording_without_pace_is_always_due() -> None:
    sampler = recording(float("inf"), Timestamps.SHIFTED)
    for value in (1.0, 2.0, 3.0, "off"):
        assert sampler.next_due_ms() == 50
        sample = sampler.take(99, WALL_MS)
        assert sample.ts_ms == WALL_MS
        assert sample.values == {"m": value}
    assert sampler.next_due_ms() is None


def test_empty_recording_is_over_at_once() -> None:
    sampler = RecordingSampler(iter(()), metric="m", speed=1, timestamps=Timestamps.NONE, start_mono_ms=0)
    assert sampler.next_due_ms() is None
