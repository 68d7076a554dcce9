"""What a pipeline says of itself: for pages, metrics, health and the support bundle."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.pipeline.backlog import BacklogStatistics
from appliance.pipeline.breaker import BreakerState
from appliance.pipeline.lag import LagStatistics
from appliance.pipeline.watch_statistics import WatchFeedStatistics
from storage.telemetry.batch import Cursor


class PipelineState(StrEnum):
    """Readings are safe in all of these: they are in the log."""

    STARTING = "starting"
    REBUILDING = "rebuilding"
    """The store was begun anew and is being filled from the log; what is shown is not complete yet."""
    CATCHING_UP = "catching_up"
    """New readings are stored as they come; older ones, of a time when the store was away, follow."""
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
        behind_records: Records on disk in the log that are not in the store, the backlog's among them.
        backlog: Those that the cursor passed over so that new readings needn't wait.
        behind_since_ms: Arrival of the oldest record that is not in the store, roughly, UTC ms; None when nothing is behind.
        complete_seq: All records before it are in the store, dead letters, or counted as skipped.
        cursor: How far the store has read the log; its watermark_ms is the newest arrival in the store.
        ingestion_lag: From the device's time (arrival, where it said none) to the commit.
        pipeline_lag: From arrival to the commit: our own share of it.
        incident: The last thing that went wrong, "" when nothing is wrong now. hint: The operator's next step.
        stage_s: Seconds of work by stage: read, build, commit; build holds that of rules and anomalies.
        watch: How rules and anomalies keep up; None where nobody watches.
    """

    state: PipelineState
    lag_s: float
    behind_records: int
    backlog: BacklogStatistics
    behind_since_ms: int | None
    complete_seq: int
    cursor: Cursor
    head_seq: int
    breaker: BreakerState
    breaker_opened_total: int
    records_total: int
    messages_total: int
    rows_total: int
    duplicates_total: int
    dead_letters_total: int
    dead_letters: int
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
    watch: WatchFeedStatistics | None = None

    @property
    def lag_p95_s(self) -> float | None:
        """`ingestion_lag_seconds`, 95th percentile of the last five minutes; None when nothing arrived."""
        return self.ingestion_lag.p95_s

    @property
    def is_searchable(self) -> bool:
        """Whether all that is in the log is in the store, but for what came within the last moments."""
        return self.state is PipelineState.RUNNING

    @property
    def doing(self) -> str:
        """What is wrong and what is done about it, in sentences; "" when nothing is."""
        match self.state:
            case PipelineState.WAITING:
                return f"{self.incident} It is tried again by itself."
            case PipelineState.STOPPED:
                return f"{self.incident} {self.hint}"
            case PipelineState.REBUILDING:
                return f"The store was begun anew and is filled from the archive and the log{_progress(self.backlog)}."
            case PipelineState.CATCHING_UP:
                return (
                    f"New readings are stored as they come, the older ones follow{_progress(self.backlog)}."
                )
        return ""


def _progress(backlog: BacklogStatistics) -> str:
    """How far it is, to stand behind a clause."""
    if not backlog.total:
        return ""
    left = "" if backlog.left_s is None else f", about {_span(backlog.left_s)} left"
    return f": {backlog.done:,} of {backlog.total:,} records{left}"


def _span(seconds: float) -> str:
    for length_s, word in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {word}"
    return f"{max(1, round(seconds))} s"
