"""What the pipeline says of rules and anomalies, for tests that look at it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from appliance.anomalies.statistics import AnomalyStatistics
from appliance.pipeline.checkpoints import CheckpointStatistics
from appliance.pipeline.watch_statistics import WatchFeedStatistics, WatchState
from appliance.rules.evaluator import RuleStatistics
from appliance.watch.statistics import WatchStatistics

UP_TO_DATE = WatchFeedStatistics(
    state=WatchState.UP_TO_DATE,
    behind_records=0,
    rebuild_records=100,
    rebuild_s=0.5,
    found_total=3,
    found_again_total=1,
    backlog_late_total=0,
    lost_records_total=0,
    outbox=0,
    failures_total=0,
    incident="",
    checkpoint=CheckpointStatistics(total=2, last_bytes=1_000, last_ms=4.0, age_s=12.5),
    watch_s=1.5,
    watch=WatchStatistics(
        seen_total=1_000,
        copies_total=0,
        late_total=4,
        duplicates_total=5,
        early_total=0,
        held=6,
        watermark_ms=1_700_000_000_000,
        found_total=3,
        rules=RuleStatistics(
            rules=2, instances=10, left_out={"a": 3, "b": 4}, seen=9, moves=5, untold=6, active=1, waiting=8
        ),
        anomalies=AnomalyStatistics(
            series=7,
            series_beyond=2,
            profiles=5,
            profiles_used=3,
            profiles_refused=1,
            scored=100,
            left_out=4,
            memory_bytes=4_000,
        ),
    ),
)


def watch_numbers(**other: Any) -> WatchFeedStatistics:
    """Up to date, but for these."""
    return replace(UP_TO_DATE, **other)
