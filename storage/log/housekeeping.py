"""Keeps the log within its disk: looks at the space once a second, keeps the ballast, removes what may go.

Runs in the upkeep thread, and does nothing until `begin`. Who reads the log says what is still needed by `hold`; as long as
nobody does, everything is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.clock import Clock
from appliance.core.errors import LogFull, StorageError
from appliance.core.limits import RETENTION_INTERVAL_MS
from storage.log.disk import Disk
from storage.log.disk_level import DiskLevel, DiskLevels
from storage.log.names import SegmentName
from storage.log.retainer import Retainer
from storage.log.retention import Bounds
from storage.log.space import SpaceWatch

FULL_INTERVAL_MS: Final = 5_000
"""How often segments are looked at while the disk is at level low or above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingRules:
    """What the operator allows.

    Args:
        ballast_bytes: The reserve; 0 for none.
        keep_percent: Of the file system, what the log may take before that goes which nobody needs; 0: no bound.
        quota_percent: What it may take at most: then the oldest goes, needed or not; 0: no bound.
    """

    levels: DiskLevels
    ballast_bytes: int
    keep_percent: int
    quota_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HousekeepingStatistics:
    """`dropped_*` are of the stream's whole life, all else is of now or since the start."""

    disk_level: int
    disk_level_name: str
    disk_used_ratio: float
    disk_total_bytes: int
    disk_free_bytes: int
    ballast_bytes: int
    ballast_released_total: int
    log_bytes: int
    first_seq: int
    needed_seq: int
    needed_by: str
    removed_segments_total: int
    dropped_records: int
    dropped_unread_records: int
    dropped_bytes: int
    dropped_next_seq: int
    dropped_rule: str
    failures_total: int
    last_failure: str


class Housekeeping:
    """See the module. `begin` and `hold` are called before the log is full of use; `tick` from one thread."""

    def __init__(self, disk: Disk, directory: Path, clock: Clock) -> None:
        self._disk = disk
        self._directory = directory
        self._clock = clock
        self._holds: dict[str, Callable[[], int]] = {}
        self._rules: KeepingRules | None = None
        self._space: SpaceWatch | None = None
        self._retainer = Retainer(disk, directory)
        self._next_mono_ms = 0
        self._needed = (0, "")
        self._removed = 0
        self._failures = 0
        self._last_failure = ""

    @property
    def is_on(self) -> bool:
        return self._rules is not None

    @property
    def level(self) -> DiskLevel:
        """How full the disk is, as of the last look; `ok` before `begin`."""
        return self._space.level if self._space is not None else DiskLevel.OK

    def begin(self, rules: KeepingRules) -> None:
        """Keep house from now on. Looks at the disk at once, so that a start on a full one is no surprise later."""
        self._space = SpaceWatch(self._disk, self._directory, rules.levels, rules.ballast_bytes)
        self._rules = rules
        self._measure(self._space)

    def hold(self, name: str, needed_seq: Callable[[], int]) -> None:
        """Says who reads the log.

        Args:
            needed_seq: Gives the first sequence that is still needed, 0 for everything; called in the upkeep thread.
        """
        self._holds[name] = needed_seq

    def check_writable(self) -> None:
        """Whether anything may be appended.

        Raises:
            LogFull: the disk is at level read_only.
        """
        if self.level is DiskLevel.READ_ONLY:
            raise LogFull(
                f"The disk with the log in {self._directory} is too full to be written to.",
                hint="Free space on this disk; nothing is appended until then, and it goes on by itself.",
                code="disk_read_only",
            )

    @property
    def ballast_released_total(self) -> int:
        """How many times the reserve was given back."""
        return self._space.released_total if self._space is not None else 0

    def release_ballast(self, seen_total: int) -> int:
        """Gives the reserve back because an allocation found the disk full.

        Args:
            seen_total: `ballast_released_total` before that allocation.
        Returns:
            How many bytes that is, also where a look at the disk gave it back meanwhile; 0: there was none to give.
        """
        space = self._space
        if space is None:
            return 0
        size = space.held_bytes
        if space.release():
            return size
        return space.owed_bytes if space.released_total > seen_total else 0

    def tick(self, busy: Collection[tuple[int, int]]) -> list[SegmentName]:
        """Looks at the space, and removes what may go if it is time; gives what was removed."""
        rules, space = self._rules, self._space
        if rules is None or space is None:
            return []
        before = space.level
        self._measure(space)
        now_ms = self._clock.mono_ms()
        if now_ms < self._next_mono_ms and space.level <= before:
            return []
        self._next_mono_ms = now_ms + (
            RETENTION_INTERVAL_MS if space.level is DiskLevel.OK else FULL_INTERVAL_MS
        )
        return self._retain(rules, space, busy)

    def statistics(self) -> HousekeepingStatistics:
        space, dropped = self._space, self._retainer.dropped
        return HousekeepingStatistics(
            disk_level=int(self.level),
            disk_level_name=self.level.name.lower(),
            disk_used_ratio=round(space.used_ratio, 4) if space is not None else 0.0,
            disk_total_bytes=space.space.total_bytes if space is not None else 0,
            disk_free_bytes=space.space.free_bytes if space is not None else 0,
            ballast_bytes=space.held_bytes if space is not None else 0,
            ballast_released_total=self.ballast_released_total,
            log_bytes=self._retainer.log_bytes,
            first_seq=self._retainer.first_seq,
            needed_seq=self._needed[0],
            needed_by=self._needed[1],
            removed_segments_total=self._removed,
            dropped_records=dropped.records,
            dropped_unread_records=dropped.unread_records,
            dropped_bytes=dropped.bytes,
            dropped_next_seq=dropped.next_seq,
            dropped_rule=dropped.ranges[-1].rule if dropped.ranges else "",
            failures_total=self._failures,
            last_failure=self._last_failure,
        )

    def _measure(self, space: SpaceWatch) -> None:
        try:
            space.measure()
        except OSError as error:  # the level stays what it was
            self._note(error)

    def _retain(
        self, rules: KeepingRules, space: SpaceWatch, busy: Collection[tuple[int, int]]
    ) -> list[SegmentName]:
        total_bytes = space.space.total_bytes
        bounds = Bounds(
            keep_bytes=total_bytes * rules.keep_percent // 100,
            quota_bytes=total_bytes * rules.quota_percent // 100,
        )
        self._needed = self._needed_now()
        try:
            gone = self._retainer.run(
                needed_seq=self._needed[0],
                excess_bytes=space.excess_bytes if space.level is not DiskLevel.OK else 0,
                bounds=bounds,
                busy=busy,
                now_ms=self._clock.now_ms(),
            )
        except (OSError, StorageError) as error:  # tried again when it is time
            self._note(error)
            return []
        self._removed += len(gone)
        return gone

    def _needed_now(self) -> tuple[int, str]:
        """The lowest sequence that somebody needs, and who; 0 where nobody has said, or somebody can't say."""
        lowest: tuple[int, str] | None = None
        for name, needed_seq in list(self._holds.items()):
            try:
                found = (needed_seq(), name)
            except (OSError, StorageError) as error:
                self._note(error)
                found = (0, name)
            if lowest is None or found < lowest:
                lowest = found
        return lowest or (0, "")

    def _note(self, error: Exception) -> None:
        self._failures += 1
        self._last_failure = str(error)
