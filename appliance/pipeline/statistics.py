"""What a pipeline says of itself: for pages, metrics, health and the support bundle."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.pipeline.breaker import BreakerState
from appliance.pipeline.lag import LagStatistics
from storage.telemetry.batch import Cursor


class PipelineState(StrEnum):
    """Readings are safe in all of these: they are in the log."""

    STARTING = "starting"
    REBUILDING = "rebuilding"
    """The store was begun anew and is being filled from the log; what is shown is not complete yet."""
    RUNNING = "running"
    WAITING = "waiting"
    """The store fails: the breaker is open."""
    STOPPED = "stopped"
    """The log and the cursor don't fit, or can't be read: `incident` says what, and what to do."""


@dataclass(frozen=True, slots=True)
class PipelineStatistics:
    """Totals count since the store was begun; the others since the process began.

    Attributes:
        lag_s: Age of the newest record in the store while records wait; 0 when none do.
        behind_records: Records on disk in the log that are not in the store.
        cursor: How far the store has read the log; its watermark_ms is the newest arrival in the store.
        ingestion_lag: From the device's time (arrival, where it said none) to the commit.
        pipeline_lag: From arrival to the commit: our own share of it.
        incident: The last thing that went wrong, "" when nothing is wrong now. hint: The operator's next step.
        stage_s: Seconds of work by stage: read, build, commit.
    """

    state: PipelineState
    lag_s: float
    behind_records: int
    cursor: Cursor
    head_seq: int
    breaker: BreakerState
    breaker_opened_total: int
    records_total: int
    messages_total: int
    rows_total: int
    duplicates_total: int
    dead_letters_total: int
    unmapped_total: int
    skipped_total: int
    nulls_total: int
    clocks_absurd_total: int
    dedup_merged_total: int
    restarts_total: int
    batches_total: int
    batch_messages_target: int
    commit_failures_total: int
    series_count: int
    ingestion_lag: LagStatistics
    pipeline_lag: LagStatistics
    stage_s: tuple[tuple[str, float], ...]
    incident: str
    hint: str

    @property
    def lag_p95_s(self) -> float | None:
        """`ingestion_lag_seconds`, 95th percentile of the last five minutes; None when nothing arrived."""
        return self.ingestion_lag.p95_s
