"""Says in the log what happens to the disk, and tells the telemetry log what the broker still needs of it."""

from __future__ import annotations

from typing import Any, Final

import structlog
import trio

from storage.log.disk_level import DiskLevel
from storage.log.writer import LogWriter

from .state.keeper import StateKeeper
from .state.sessions import Sessions

INTERVAL_S: Final = 1.0
MEANING: Final = {
    DiskLevel.OK: "everything goes on",
    DiskLevel.LOW: "segments of the log that nobody needs are removed",
    DiskLevel.HOLD: "devices' readings are not acknowledged; control traffic goes on",
    DiskLevel.READ_ONLY: "nothing is written to the log",
}
HINT: Final = "Free space on the disk that holds node.data_dir; it goes on by itself."

log = structlog.get_logger(__name__)


class DiskWatch:
    """Compares the writer's figures once a second with those of before.

    Args:
        keeper, sessions: Who reads the log in this process: the next start from the checkpoint, and what waits for clients.
    """

    def __init__(self, writer: LogWriter, keeper: StateKeeper, sessions: Sessions) -> None:
        self._writer = writer
        self._keeper = keeper
        self._sessions = sessions
        self._needed_seq = 0
        self._level = DiskLevel.OK
        self._told: dict[str, Any] = {}
        writer.housekeeping.hold("broker", lambda: self._needed_seq)

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            self.look()
            await trio.sleep(INTERVAL_S)

    def look(self) -> None:
        """One look; called by `run`."""
        level = self._writer.housekeeping.level
        # What waits for a client holds the log only while there is room: one that never comes back must not fill the disk.
        needed = self._sessions.needed_seq() if level is DiskLevel.OK else None
        checkpoint = self._keeper.durable_seq
        self._needed_seq = checkpoint if needed is None else min(checkpoint, needed)
        if level is not self._level:
            say = log.info if level is DiskLevel.OK else log.warning if level is DiskLevel.LOW else log.error
            say("the disk's level has changed", level=level.name.lower(), before=self._level.name.lower(),
                meaning=MEANING[level], hint="" if level is DiskLevel.OK else HINT)  # fmt: skip
            self._level = level
        statistics = self._writer.statistics()
        house = statistics.housekeeping
        if self._is_new("failures", statistics.write_failures_total):
            log.error("the log goes on in a new segment: a write failed", error=statistics.last_write_failure,
                      hint="Look at the disk's health (homeport doctor, dmesg).")  # fmt: skip
        if self._is_new("upkeep", statistics.upkeep_failures_total):
            log.error(
                "upkeep of the log failed", error=statistics.last_upkeep_failure, hint="It is tried again."
            )
        if self._is_new("housekeeping", house.failures_total):
            log.error("housekeeping of the log failed", error=house.last_failure, hint="It is tried again.")
        if self._is_new("removed", house.removed_segments_total):
            log.info("segments of the log were removed", rule=house.dropped_rule, log_begins_at=house.dropped_next_seq,
                     removed_segments=house.removed_segments_total)  # fmt: skip
        if self._is_new("unread", house.dropped_unread_records, since_before=True):
            log.error("records were dropped that had still to be read: the quota was reached", needed_by=house.needed_by,
                      records=house.dropped_unread_records, hint="Raise log.quota_percent, or see why it is behind.")  # fmt: skip

    def _is_new(self, name: str, value: int, *, since_before: bool = False) -> bool:
        """Whether a counter has grown since it was looked at last.

        Args:
            since_before: It counts on from former processes: what it begins with is old.
        """
        before = self._told.get(name, value if since_before else 0)
        self._told[name] = value
        return bool(value > before)
