"""How rules and anomalies keep up with the log, as metrics."""

from __future__ import annotations

from appliance.anomalies.statistics import AnomalyStatistics
from appliance.pipeline.watch_statistics import WatchState
from ui.metrics_table import Collected
from ui.services import Services


def add_watch(out: Collected, services: Services) -> None:
    """Nothing where rules are switched off."""
    now = services.pipeline.statistics().watch
    if now is None:
        return
    for state in WatchState:
        out.add("homeport_watch_state", now.state is state, state.value)
    numbers, checkpoint = now.watch, now.checkpoint
    for outcome, count in (
        ("seen", numbers.seen_total),
        ("late", numbers.late_total),
        ("duplicate", numbers.duplicates_total),
        ("kept_copy", numbers.copies_total),
        ("early", numbers.early_total),
        ("backlog", now.backlog_late_total),
    ):
        out.add("homeport_watch_readings", count, outcome)
    if numbers.anomalies is not None:
        _add_anomalies(out, numbers.anomalies)
    out.add("homeport_watch_held", numbers.held)
    out.add("homeport_watch_behind_records", now.behind_records)
    out.add("homeport_watch_lost_records", now.lost_records_total)
    out.add("homeport_watch_transitions", now.found_total, "new")
    out.add("homeport_watch_transitions", now.found_again_total, "again")
    out.add("homeport_watch_outbox", now.outbox)
    out.add("homeport_watch_failures", now.failures_total)
    out.add("homeport_watch_rebuild_seconds", now.rebuild_s)
    out.add("homeport_watch_seconds", now.watch_s)
    out.add("homeport_watch_checkpoints", checkpoint.total)
    out.add("homeport_watch_checkpoint_bytes", checkpoint.last_bytes)
    out.add("homeport_watch_checkpoint_seconds", checkpoint.last_ms / 1_000)
    out.add("homeport_watch_checkpoint_age_seconds", checkpoint.age_s)


def _add_anomalies(out: Collected, now: AnomalyStatistics) -> None:
    out.add("homeport_anomaly_series", now.series, "watched")
    out.add("homeport_anomaly_series", now.series_beyond, "beyond")
    out.add("homeport_anomaly_profiles", now.profiles, "learned")
    out.add("homeport_anomaly_profiles", now.profiles_used, "used")
    out.add("homeport_anomaly_profiles", now.profiles_refused, "refused")
    out.add("homeport_anomaly_readings", now.scored, "scored")
    out.add("homeport_anomaly_readings", now.left_out, "left_out")
    out.add("homeport_anomaly_memory_bytes", now.memory_bytes)
