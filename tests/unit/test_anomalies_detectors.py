"""The catalogue: series made by code, and what is found in each."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.anomalies import season
from appliance.anomalies.columns import Columns
from appliance.anomalies.detectors import AnomalyDetectors
from appliance.anomalies.saved import Head, pack
from appliance.anomalies.season import Profiles
from appliance.anomalies.tuning import KNOWN_AGE
from appliance.core.arrays import F64
from appliance.core.errors import StorageError
from appliance.core.limits_anomalies import ANOMALY_BACKLOG_MS_MAX, ANOMALY_SERIES_COUNT_MAX
from appliance.management.readings import Quality
from appliance.management.watched import Finding
from tests.anomaly_kit import HIGH, LOW, NORMAL, STEP_MS, Seen, noise, readings, times, watch, watch_all

A_DAY = 288
"""Readings, one every 5 min."""
COLD_MORNING = slice(10 * A_DAY + 8 * 12, 10 * A_DAY + 16 * 12)


def _catalogue() -> dict[str, tuple[F64, int]]:
    shown: dict[str, tuple[F64, int]] = {}
    for seed in range(4):
        spike = noise(1_000, seed)
        spike[800] += 40
        shown[f"spike {seed}"] = spike, STEP_MS
        for by in (8, -8):
            shift = noise(3_000, seed)
            shift[1_000:] += by
            shown[f"shift by {by}, {seed}"] = shift, STEP_MS
        drift = noise(4_000, seed)
        drift[2_500:] += np.arange(1_500) * 0.005
        shown[f"drift {seed}"] = drift, STEP_MS
        for name, factor in (("wild", 6.0), ("calm", 0.02)):
            varied = noise(2_600, seed)
            varied[2_000:] = 20 + (varied[2_000:] - 20) * factor
            shown[f"{name} {seed}"] = varied, STEP_MS
        hour = (np.arange(12 * A_DAY) % A_DAY) / 12
        daily = noise(12 * A_DAY, seed, spread=0.5) + np.where((hour >= 8) & (hour < 16), 20.0, 0.0)
        shown[f"daily {seed}"] = daily, 300_000
        cold = daily.copy()
        cold[COLD_MORNING] -= 20.0
        shown[f"cold morning {seed}"] = cold, 300_000
    for value in (0.0, 21.5, -1e12):
        constant = np.full(2_000, value)
        constant[500] = np.nextafter(value, np.inf)
        constant[900:] = np.nextafter(value, -np.inf)
        shown[f"constant {value}"] = constant, STEP_MS
    shown["setpoint"] = np.repeat([21.0, 19.0, 21.0, 18.0, 21.0, 19.5], 400), STEP_MS
    rate = np.random.default_rng(3).uniform(4, 6, 3_000)
    meter = 1e6 + np.cumsum(rate)
    meter[1_500:] -= meter[1_500]
    shown["meter"] = meter, STEP_MS
    rate[2_500:] *= 6
    shown["faster meter"] = np.cumsum(rate), STEP_MS
    warming = 20 + 5 * np.sin(np.linspace(0, 12 * np.pi, 1_200)) + noise(1_200, 2, 0.0, 0.001)
    warming[1_100] += 5_000
    shown["warming"] = warming, STEP_MS
    switch = np.zeros(3_000)
    switch[1_000:1_003] = 1
    switch[2_000:2_400] = 1
    shown["switch"] = switch, STEP_MS
    sparse = noise(200, 5)
    sparse[150] += 40
    shown["sparse"] = sparse, 6 * 3_600_000
    again = noise(1_000, 7)
    again[[500, 520, 540, 560]] += 40
    shown["again"] = again, STEP_MS
    battery = np.round(83.276 - np.arange(2_000) / 3_450, 2)
    shown["battery"] = battery, STEP_MS
    shown["battery that fails"] = np.append(battery[:1_000], battery[1_000:] - 5), STEP_MS
    for seed in range(4):
        levels = np.random.default_rng(seed).choice([42.0, 180.0, 410.0, 920.0], 50)
        shown[f"machine {seed}"] = np.round(np.repeat(levels, 30) * noise(1_500, seed, 1.0, 0.01), 1), STEP_MS
    second = noise(300, 1)
    second[270] += 30
    shown["every second"] = second, 1_000
    return shown


@pytest.fixture(scope="module")
def seen() -> dict[str, Seen]:
    return watch_all(_catalogue())


@pytest.mark.parametrize("seed", range(4))
def test_a_spike_is_an_outlier_and_is_over_with_the_next_reading(seen: dict[str, Seen], seed: int) -> None:
    spike = seen[f"spike {seed}"]
    assert spike.first(NORMAL, 300) == 800
    assert spike.kind[800] == Finding.OUTLIER
    assert spike.score[801] < NORMAL
    assert "above the usual" in spike.texts[800]
    assert "spreads" in spike.texts[800]


def test_watching_is_useful_within_minutes(seen: dict[str, Seen]) -> None:
    """A sensor that reports every second: its values are known after four minutes, well enough for a sensitive rule."""
    assert seen["every second"].findings(HIGH, 200, 300) == {Finding.OUTLIER}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", [8, -8])
def test_a_level_shift_is_found_soon_and_lasts_until_it_is_usual(
    seen: dict[str, Seen], seed: int, by: int
) -> None:
    shift = seen[f"shift by {by}, {seed}"]
    found = shift.first(NORMAL, 990)
    assert found is not None
    assert 1_000 <= found <= 1_012
    assert Finding.LEVEL_SHIFT in shift.findings(NORMAL, 1_000, 1_050)
    assert (shift.score[found : found + 20] >= NORMAL).all()
    assert shift.score[-1] < HIGH, "what lasts becomes usual"
    assert ("above" if by > 0 else "below") in shift.texts[found]


@pytest.mark.parametrize("seed", range(4))
def test_a_slow_drift_is_found_while_it_goes_on(seen: dict[str, Seen], seed: int) -> None:
    """Half a spread in 100 readings."""
    drift = seen[f"drift {seed}"]
    assert drift.findings(NORMAL, 1_000, 2_500) == set()
    assert Finding.DRIFT in drift.findings(HIGH, 2_500)
    assert any(text.startswith("drifting up") for text in drift.texts.values())


@pytest.mark.parametrize(("name", "words"), [("wild", "times as much as usual"), ("calm", "less than usual")])
@pytest.mark.parametrize("seed", range(4))
def test_a_change_of_variance_is_found_in_both_directions(
    seen: dict[str, Seen], name: str, words: str, seed: int
) -> None:
    varied = seen[f"{name} {seed}"]
    assert Finding.VARIANCE not in varied.findings(HIGH, 500, 2_000)
    found = [at for at in varied.texts if at >= 2_000 and varied.kind[at] == Finding.VARIANCE]
    assert found
    assert found[0] <= 2_080
    assert words in varied.texts[found[0]]


@pytest.mark.parametrize("seed", range(4))
def test_a_daily_peak_is_usual_after_some_days_and_its_absence_is_found(
    seen: dict[str, Seen], seed: int
) -> None:
    """Every day from 8 to 16 h the machine is warm; on the eleventh day it stays cold."""
    assert seen[f"daily {seed}"].findings(HIGH, 4 * A_DAY) == set()
    cold = seen[f"cold morning {seed}"]
    assert cold.findings(HIGH, 4 * A_DAY, COLD_MORNING.start) == set()
    found = [at for at in cold.texts if COLD_MORNING.start <= at < COLD_MORNING.stop]
    assert found
    assert found[0] <= COLD_MORNING.start + 3 * 12
    assert "below the usual for this hour" in cold.texts[found[0]]


@pytest.mark.parametrize("value", [0.0, 21.5, -1e12])
def test_a_constant_is_never_an_anomaly_nor_is_its_last_digit(seen: dict[str, Seen], value: float) -> None:
    assert seen[f"constant {value}"].score.max() == 0


def test_the_last_decimal_is_never_an_anomaly_but_many_of_them_are(seen: dict[str, Seen]) -> None:
    assert seen["battery"].findings(HIGH) == set()
    assert seen["battery that fails"].first(NORMAL) == 1_000


@pytest.mark.parametrize("seed", range(4))
def test_what_was_seen_for_a_few_minutes_is_not_taken_for_what_is_usual(
    seen: dict[str, Seen], seed: int
) -> None:
    """A machine goes from one of its states to another every five minutes."""
    machine = seen[f"machine {seed}"]
    assert machine.findings(NORMAL, 0, KNOWN_AGE) == set()
    spike = noise(KNOWN_AGE + 100, seed)
    spike[[KNOWN_AGE - 1, KNOWN_AGE + 50]] += 60
    found = watch(spike)
    assert HIGH <= found.score[KNOWN_AGE - 1] < NORMAL <= found.score[KNOWN_AGE + 50]


def test_a_setpoint_that_is_moved_now_and_then_is_no_anomaly(seen: dict[str, Seen]) -> None:
    assert seen["setpoint"].findings(NORMAL) == set()


def test_a_meters_start_from_zero_is_no_level_shift_but_its_rate_is_watched(seen: dict[str, Seen]) -> None:
    assert seen["meter"].findings(NORMAL) == set()
    faster = seen["faster meter"]
    assert faster.findings(NORMAL, 0, 2_500) == set()
    assert Finding.LEVEL_SHIFT in faster.findings(HIGH, 2_500, 2_600)


def test_what_rose_at_first_and_falls_again_is_learned_as_a_measurement(seen: dict[str, Seen]) -> None:
    assert seen["warming"].findings(HIGH, 1_050, 1_101) == {Finding.OUTLIER}


def test_a_switch_that_is_rarely_on_is_no_anomaly(seen: dict[str, Seen]) -> None:
    assert seen["switch"].score.max() == 0


def test_a_sparse_series_is_watched_by_its_readings(seen: dict[str, Seen]) -> None:
    """A reading every 6 hours."""
    assert seen["sparse"].findings(HIGH, 40, 150) == set()
    assert seen["sparse"].findings(HIGH, 150, 151) == {Finding.OUTLIER}


def test_an_anomaly_does_not_teach_itself(seen: dict[str, Seen]) -> None:
    """The fourth of four equal spikes is found as the first was."""
    reached = set(seen["again"].texts)
    assert {500, 520, 540, 560} <= reached


def test_noise_alone_is_rarely_found() -> None:
    """Forty series, a quarter of a day in slots of 10 s: normal noise, and one with heavy tails. Findings a series and day."""
    count, length = 40, 2_160
    generator = np.random.default_rng(1)
    values = np.concatenate(
        [generator.normal(20, 1, (count // 2, length)), generator.standard_t(3, (count // 2, length))]
    )
    series = np.repeat(np.arange(count, dtype=np.uint32), length)
    scores = AnomalyDetectors().see(readings(values.ravel(), np.tile(times(length), count), series=series))
    rates = []
    for level in (HIGH, NORMAL, LOW):
        begins = np.diff((scores.score.reshape(count, length) >= level).astype(np.int8)) == 1
        rates.append(np.count_nonzero(begins) / (count / 4))
    assert rates[0] <= 3.0
    assert rates[1] <= 0.1
    assert rates[2] == 0.0


def test_many_readings_of_one_slot_are_scored_against_the_same_state() -> None:
    """A vibration sensor: 200 readings a second, 2,000 a slot."""
    detectors = AnomalyDetectors()
    values = noise(660_000, 3)
    values[650_000] += 40
    scores = detectors.see(readings(values, times(660_000, 5)))
    assert scores.score[650_000] >= NORMAL
    assert scores.kind[650_000] == Finding.OUTLIER
    assert np.count_nonzero(scores.score[300_000:] >= NORMAL) <= 3


def test_what_is_no_number_or_bad_is_left_out() -> None:
    detectors = AnomalyDetectors()
    values = noise(200, 1)
    values[100:104] = [np.nan, np.inf, -np.inf, 1e300]
    scores = detectors.see(readings(values, times(200)))
    assert scores.score[100:104].tolist() == [0, 0, 0, 0]
    bad = detectors.see(readings(np.array([1e6]), times(1) + 200 * STEP_MS, quality=Quality.BAD))
    assert bad.score.tolist() == [0]
    statistics = detectors.statistics()
    assert (statistics.scored, statistics.left_out) == (196, 5)


def test_what_arrives_half_a_day_late_is_left_out() -> None:
    detectors = AnomalyDetectors()
    late_ms = np.array([ANOMALY_BACKLOG_MS_MAX, ANOMALY_BACKLOG_MS_MAX + 1], np.int64)
    at_ms = times(2)
    detectors.see(readings(np.array([1.0, 2.0]), at_ms, received_at_ms=at_ms + late_ms))
    assert (detectors.statistics().scored, detectors.statistics().left_out) == (1, 1)


def test_state_that_names_a_profile_it_has_not_is_refused() -> None:
    columns = Columns()
    columns.grow(1)
    columns.profile[0] = 3
    head = Head(series=1, profiles=0, started_ms=0, scored=0, left_out=0, highest=0)
    with pytest.raises(StorageError, match="names profiles"):
        AnomalyDetectors().load(pack(head, columns.to_bytes(), Profiles().to_bytes()))


def test_values_of_any_size_are_scored_without_a_warning() -> None:
    values = np.zeros(300)
    values[::7] = 1e30
    values[::11] = -1e30
    values[::13] = 1e-300
    scores = AnomalyDetectors().see(readings(values, times(300)))
    assert np.isfinite(scores.score).all()
    assert all(np.isfinite(scores.explain(at)["spreads"]) for at in range(300))


def test_series_beyond_the_limit_are_counted_and_have_no_score() -> None:
    detectors = AnomalyDetectors()
    series = np.array([3, ANOMALY_SERIES_COUNT_MAX + 4], np.uint32)
    scores = detectors.see(readings(np.array([1.0, 2.0]), times(2), series=series))
    assert scores.score.tolist() == [0, 0]
    statistics = detectors.statistics()
    assert (statistics.series, statistics.series_beyond, statistics.left_out) == (
        ANOMALY_SERIES_COUNT_MAX,
        5,
        1,
    )
    assert statistics.memory_bytes <= 55_000_000


def test_a_series_costs_a_hundred_bytes_and_six_hundred_with_a_profile() -> None:
    detectors = AnomalyDetectors()
    count = 4_096
    series = np.arange(count, dtype=np.uint32)
    for step in range(30):
        at = np.full(count, times(1, start_ms=1_785_715_200_000)[0] + step * 300_000)
        detectors.see(readings(np.full(count, 20.0) + step % 3, at, series=series))
    statistics = detectors.statistics()
    assert statistics.profiles == 0
    assert statistics.memory_bytes <= 100 * count + 1_000
    for step in range(30, 60):
        at = np.full(count, times(1)[0] + step * 300_000)
        detectors.see(readings(np.full(count, 20.0) + step % 3, at, series=series))
    statistics = detectors.statistics()
    assert statistics.profiles == count
    assert statistics.memory_bytes <= 600 * count


def test_series_for_which_no_profile_is_left_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(season, "ANOMALY_PROFILE_COUNT_MAX", 2)
    detectors = AnomalyDetectors()
    values, at_ms = np.tile(noise(60, 1), 5), np.tile(times(60, 300_000), 5)
    detectors.see(readings(values, at_ms, series=np.repeat(np.arange(5, dtype=np.uint32), 60)))
    statistics = detectors.statistics()
    assert (statistics.profiles, statistics.profiles_refused) == (2, 3)


def test_nothing_is_seen_in_nothing() -> None:
    scores = AnomalyDetectors().see(readings(np.empty(0), times(0)))
    assert len(scores.score) == 0


def test_damaged_state_is_refused_and_changes_nothing() -> None:
    detectors = AnomalyDetectors()
    detectors.see(readings(noise(50, 1), times(50)))
    saved = detectors.save()
    broken = bytearray(saved)
    broken[-1] ^= 1
    with pytest.raises(StorageError, match="checksum"):
        detectors.load(bytes(broken))
    assert detectors.save() == saved


def test_a_silent_series_is_told_once_a_step_and_heard_again() -> None:
    detectors = AnomalyDetectors()
    detectors.see(readings(noise(100, 1), times(100)))
    last_ms = int(times(100)[-1])
    assert len(detectors.tick(last_ms + 49_000).series) == 0
    first = detectors.tick(last_ms + 90_000)
    assert first.series.tolist() == [0]
    assert first.at_ms.tolist() == [last_ms + 50_000], "at its deadline, not when it was noticed"
    assert HIGH <= first.score[0] < NORMAL
    assert first.kind.tolist() == [Finding.DROP_OUT]
    assert first.explain(0)["text"] == "no reading for 50 s, usually one every 10 s"
    assert len(detectors.tick(last_ms + 95_000).series) == 0
    later = detectors.tick(last_ms + 10_000_000)
    assert later.at_ms.tolist() == [last_ms + 200_000]
    assert later.score[0] >= LOW
    detectors.see(readings(noise(1, 2), times(1, start_ms=last_ms + 10_000_000)))
    assert len(detectors.tick(last_ms + 10_049_000).series) == 0
    assert len(detectors.tick(last_ms + 10_400_000).series) == 1


def test_a_broker_that_was_away_makes_nobody_silent() -> None:
    detectors = AnomalyDetectors()
    detectors.see(readings(noise(100, 1), times(100)))
    back_ms = int(times(100)[-1]) + 3_600_000
    detectors.broker_started(back_ms)
    assert len(detectors.tick(back_ms + 45_000).series) == 0
    assert detectors.tick(back_ms + 60_000).at_ms.tolist() == [back_ms + 50_000]
