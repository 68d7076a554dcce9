"""Figures of a log's writer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from storage.log.frame import FLAG_ZSTD, FrameHeader
from storage.log.head import Head
from storage.log.housekeeping import Housekeeping, HousekeepingStatistics
from storage.log.manifest import SegmentSummary
from storage.log.scan import DamagedRange


@dataclass(frozen=True, slots=True, kw_only=True)
class LogWriterStatistics:
    """Since the log was opened; `_bytes` of frames include padding, `raw_bytes` are bodies before compression."""

    epoch: int
    next_seq: int
    frames_total: int
    records_total: int
    frame_bytes_total: int
    raw_bytes_total: int
    compressed_frames_total: int
    write_us_total: int
    sync_us_total: int
    sync_us_max: int
    write_failures_total: int
    last_write_failure: str
    sealed_segment_count: int
    sealed_bytes: int
    sealed_total: int
    upkeep_failures_total: int
    last_upkeep_failure: str
    damaged: tuple[DamagedRange, ...]
    damaged_ranges: int
    broken: str
    housekeeping: HousekeepingStatistics


class UpkeepFigures(Protocol):
    """What is needed of `storage.log.upkeep.Upkeep`."""

    @property
    def summaries(self) -> tuple[SegmentSummary, ...]: ...
    @property
    def sealed_total(self) -> int: ...
    @property
    def failures_total(self) -> int: ...
    @property
    def last_failure(self) -> str: ...
    @property
    def damaged(self) -> tuple[DamagedRange, ...]: ...
    @property
    def housekeeping(self) -> Housekeeping: ...


class AppendCounters:
    """Counted by the appending thread, read by any."""

    def __init__(self) -> None:
        self.frames = 0
        self.records = 0
        self.frame_bytes = 0
        self.raw_bytes = 0
        self.compressed = 0
        self.write_ns = 0
        self.sync_ns = 0
        self.sync_ns_max = 0
        self.failures = 0
        self.last_failure = ""

    def note_failure(self, what: str) -> None:
        """Counts a write or fsync that failed."""
        self.failures += 1
        self.last_failure = what

    def count(self, header: FrameHeader, frame_bytes: int, write_ns: int, sync_ns: int) -> None:
        """Counts one appended frame."""
        self.frames += 1
        self.records += header.record_count
        self.frame_bytes += frame_bytes
        self.raw_bytes += header.raw_bytes
        self.compressed += header.flags & FLAG_ZSTD
        self.write_ns += write_ns
        self.sync_ns += sync_ns
        self.sync_ns_max = max(self.sync_ns_max, sync_ns)

    def statistics(
        self, head: Head, upkeep: UpkeepFigures, damaged: tuple[DamagedRange, ...], broken: str
    ) -> LogWriterStatistics:
        """Put together with what happens beside appending; `damaged` is what recovery found."""
        summaries = upkeep.summaries
        all_damaged = (*damaged, *upkeep.damaged)
        return LogWriterStatistics(
            epoch=head.epoch,
            next_seq=head.next_seq,
            frames_total=self.frames,
            records_total=self.records,
            frame_bytes_total=self.frame_bytes,
            raw_bytes_total=self.raw_bytes,
            compressed_frames_total=self.compressed,
            write_us_total=self.write_ns // 1000,
            sync_us_total=self.sync_ns // 1000,
            sync_us_max=self.sync_ns_max // 1000,
            write_failures_total=self.failures,
            last_write_failure=self.last_failure,
            sealed_segment_count=len(summaries),
            sealed_bytes=sum(summary.bytes for summary in summaries),
            sealed_total=upkeep.sealed_total,
            upkeep_failures_total=upkeep.failures_total,
            last_upkeep_failure=upkeep.last_failure,
            damaged=all_damaged,
            damaged_ranges=len(all_damaged),
            broken=broken,
            housekeeping=upkeep.housekeeping.statistics(),
        )
