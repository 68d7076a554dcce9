"""What is said of how rules and anomalies keep up with the log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.pipeline.checkpoints import CheckpointStatistics
from appliance.watch.statistics import WatchStatistics


class WatchState(StrEnum):
    """Readings are stored in all of these, and alarms that were active stay."""

    STARTING = "starting"
    UP_TO_DATE = "up_to_date"
    REBUILDING = "rebuilding"
    """The state is being built from the checkpoint and the log; new alarms wait, and are raised once."""
    WAITING = "waiting"
    """Too much that was found is not applied yet: the catalog is away. It goes on from the log."""
    FAILED = "failed"
    """A rule or a detector failed; `incident` says how. It is tried again by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchFeedStatistics:
    """Totals count since the process began.

    Attributes:
        behind_records: In the store, and not seen by rules yet. rebuild_records: From where the state was begun to the cursor.
        rebuild_s: How long it took to be up to date after the last start; None while it isn't.
        found_total: Transitions. found_again_total: Of a replay, that were in the outbox already.
        backlog_late_total: Readings of a backlog, which rules are not shown. lost_records_total: Records that were passed over.
        outbox: Transitions that are not applied yet.
        incident: Why rules stand still, "" when they don't.
        watch_s: Time spent on rules and anomalies.
        watch: What they say of themselves.
    """

    state: WatchState
    behind_records: int
    rebuild_records: int
    rebuild_s: float | None
    found_total: int
    found_again_total: int
    backlog_late_total: int
    lost_records_total: int
    outbox: int
    failures_total: int
    incident: str
    checkpoint: CheckpointStatistics
    watch_s: float
    watch: WatchStatistics

    @property
    def done_ratio(self) -> float:
        """How much of the log from where the state was begun has been seen, 0..1."""
        if not self.rebuild_records:
            return 1.0
        return 1.0 - min(1.0, self.behind_records / self.rebuild_records)

    @property
    def doing(self) -> str:
        """For people: what rules and anomalies do now."""
        match self.state:
            case WatchState.UP_TO_DATE:
                return "up to date"
            case WatchState.REBUILDING:
                return f"rebuilding, {self.done_ratio:.0%}"
            case WatchState.WAITING:
                return "waiting for the catalog"
            case WatchState.FAILED:
                return self.incident
        return "starting"
