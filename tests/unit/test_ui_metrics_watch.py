"""Rules and anomalies as metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from appliance.pipeline.watch_statistics import WatchFeedStatistics, WatchState
from tests.watch_numbers import UP_TO_DATE, watch_numbers
from ui.metrics_table import Collected
from ui.metrics_watch import add_watch


def collected(numbers: WatchFeedStatistics | None) -> dict[tuple[str, ...], float]:
    out = Collected()
    services = SimpleNamespace(pipeline=SimpleNamespace(statistics=lambda: SimpleNamespace(watch=numbers)))
    add_watch(out, cast("Any", services))
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in out.families()
        for sample in family.samples
    }


def test_all_numbers() -> None:
    found = collected(UP_TO_DATE)
    assert found["homeport_watch_state", "up_to_date"] == 1
    assert found["homeport_watch_state", "failed"] == 0
    assert found["homeport_watch_readings_total", "late"] == 4
    assert found["homeport_watch_transitions_total", "again"] == 1
    assert found["homeport_watch_checkpoint_seconds",] == 0.004
    assert found["homeport_watch_rebuild_seconds",] == 0.5


def test_no_time_of_a_rebuild_before_it_has_ended() -> None:
    found = collected(watch_numbers(state=WatchState.REBUILDING, rebuild_s=None))
    assert ("homeport_watch_rebuild_seconds",) not in found


def test_what_anomaly_detectors_hold_and_leave_out() -> None:
    found = collected(UP_TO_DATE)
    assert found["homeport_anomaly_series", "watched"] == 7
    assert found["homeport_anomaly_series", "beyond"] == 2
    assert found["homeport_anomaly_profiles", "learned"] == 5
    assert found["homeport_anomaly_profiles", "used"] == 3
    assert found["homeport_anomaly_profiles", "refused"] == 1
    assert found["homeport_anomaly_readings_total", "scored"] == 100
    assert found["homeport_anomaly_readings_total", "left_out"] == 4
    assert found["homeport_anomaly_memory_bytes",] == 4_000


def test_nothing_where_rules_are_off() -> None:
    assert collected(None) == {}
