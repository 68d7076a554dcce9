"""Reads the whole log again and again, slowly, so that rotten bits are found while a copy may still be had.

Theory of operation: one segment a step, all but the newest (of a copy that too), in order; every byte is read past the page cache and verified as
`homeport log verify` does. A pass is spread over its interval, and reading within a segment is paced, so that the disk is
busy with it for a small share of the time only. How far a pass has come is a small file that is replaced after each
segment: it goes on there after a restart. Nothing is changed in the log: whoever reads a damaged range gets an
error from the reader, which checks everything too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from appliance.core.clock import Clock
from appliance.core.limits import (
    PAGE_BYTES,
    SCRUB_BYTES_PER_S_MIN,
    SCRUB_DAMAGE_COUNT_MAX,
    SCRUB_RATE_SHARE,
)
from storage.log.disk import NO_DIRECT_IO, OsDisk
from storage.log.head import read_head
from storage.log.layout import round_to_page
from storage.log.manifest import replace_file
from storage.log.names import SCRUB, SCRUB_NEW, SegmentName, live_segments, segments_in_order
from storage.log.scan import DamagedRange
from storage.log.scrub_state import ScrubPass, ScrubState, encode_scrub_state, read_scrub_state
from storage.log.segment_verify import verify_segment


class PacedDisk(OsDisk):
    """Reads past the page cache, and no faster than it is told.

    Args:
        pause: Called with the seconds to wait after a read.
    """

    def __init__(self, bytes_per_s: float, pause: Callable[[float], object]) -> None:
        self._bytes_per_s = bytes_per_s
        self._pause = pause

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        try:
            return self.open_direct(path)
        except OSError as error:
            if error.errno not in NO_DIRECT_IO:
                raise
            return super().open(path)

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        start = offset - offset % PAGE_BYTES
        data = self.pread_direct(descriptor, round_to_page(offset + length - start), start) if length else b""
        self._pause(len(data) / self._bytes_per_s)
        return data[offset - start : offset - start + length]


@dataclass(frozen=True, slots=True)
class _Bounded:
    """A segment, the sequence after its last record, where reading ends (None: where the file does), and how much that is."""

    name: SegmentName
    end_seq: int
    end_offset: int | None
    size: int


class Scrubber:
    """Scrubs one stream's directory; for one thread at a time, in any process.

    Args:
        interval_ms: Within which everything is read once.
        newest: Read the newest segment too, as far as the head file tells: of a copy, whose writer may never go on.
        pause: Waits for so many seconds; returns at once when scrubbing is to end.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        interval_ms: int,
        pause: Callable[[float], object],
        newest: bool = False,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._interval_ms = interval_ms
        self._pause = pause
        self._newest = newest

    def step(self) -> float:
        """Reads the next segment; gives the seconds after which the one after it is due.

        Raises:
            OSError: the directory or the state's file can't be read or written.
        """
        state, now_ms = read_scrub_state(self._directory), self._clock.now_ms()
        bounded = self._bounded()
        total = sum(each.size for each in bounded)
        running = state.now
        left = [each for each in bounded if each.name.key > (running.epoch, running.first_seq)]
        if not running.began_at_ms or (running.ended_at_ms and self._is_due(running, now_ms)):
            running, left = ScrubPass(began_at_ms=now_ms), bounded
        if running.ended_at_ms:
            return self._left_s(running, now_ms, 1.0)
        if left:
            running = self._scrub(running, left[0], total=total)
        if len(left) <= 1:
            running = replace(running, ended_at_ms=self._clock.now_ms())
        last = running if running.ended_at_ms else state.last
        state = ScrubState(now=running, last=last)
        replace_file(OsDisk(), self._directory, SCRUB, SCRUB_NEW, encode_scrub_state(state))
        done = 1.0 if running.ended_at_ms else min(1.0, running.bytes / max(1, total))
        return self._left_s(running, self._clock.now_ms(), done)

    def run_pass(self) -> ScrubState:
        """A whole pass from the beginning, now and without waiting between segments."""
        fresh = replace(read_scrub_state(self._directory), now=ScrubPass(began_at_ms=self._clock.now_ms()))
        replace_file(OsDisk(), self._directory, SCRUB, SCRUB_NEW, encode_scrub_state(fresh))
        while not fresh.now.ended_at_ms:
            self.step()
            fresh = read_scrub_state(self._directory)
        return fresh

    def _is_due(self, finished: ScrubPass, now_ms: int) -> bool:
        """Whether the next pass begins; also when the clock was set back behind the last one."""
        return not finished.began_at_ms <= now_ms < finished.began_at_ms + self._interval_ms

    def _left_s(self, running: ScrubPass, now_ms: int, done_ratio: float) -> float:
        elapsed_ms = min(max(0, now_ms - running.began_at_ms), self._interval_ms)
        return max(0.0, self._interval_ms * done_ratio - elapsed_ms) / 1000

    def _bounded(self) -> list[_Bounded]:
        """All segments that are to be read."""
        disk = OsDisk()
        try:
            head = read_head(disk, self._directory)  # before the names: a segment may be begun meanwhile
            names = live_segments(segments_in_order(disk.names(self._directory)))
        except FileNotFoundError:
            return []
        ends: list[tuple[SegmentName, int, int | None]] = [
            (name, after.first_seq, None) for name, after in pairwise(names)
        ]
        if self._newest and names and (head.epoch, head.segment_first_seq) == names[-1].key:
            ends.append((names[-1], head.next_seq, head.offset if names[-1].state != "seg" else None))
        found = []
        for name, end_seq, end_offset in ends:
            try:
                size = disk.file_size(self._directory / str(name)) if end_offset is None else end_offset
            except FileNotFoundError:
                continue  # removed, or sealed under another name just now: the next pass has it
            found.append(_Bounded(name, end_seq, end_offset, size))
        return found

    def _scrub(self, running: ScrubPass, bounded: _Bounded, *, total: int) -> ScrubPass:
        rate = max(SCRUB_BYTES_PER_S_MIN, total * 1000 * SCRUB_RATE_SHARE / self._interval_ms)
        name, end_seq, size = bounded.name, bounded.end_seq, bounded.size
        damaged: tuple[DamagedRange, ...] = ()
        lost: tuple[DamagedRange, ...] = ()
        try:
            end = verify_segment(
                PacedDisk(rate, self._pause),
                self._directory,
                name,
                end_offset=bounded.end_offset,
                end_seq=end_seq,
            )
            damaged, lost = end.verdict.damaged, end.verdict.lost
        except FileNotFoundError:
            pass  # the next pass has what took its place
        except OSError as error:  # the disk says that it can't read it: that is what scrubbing looks for
            reason = f"it can't be read: {error}"
            damaged = (DamagedRange(str(name), name.first_seq, end_seq, 0, size, reason),)
        return replace(
            running,
            epoch=name.epoch,
            first_seq=name.first_seq,
            segment_count=running.segment_count + 1,
            bytes=running.bytes + size,
            lost_total=running.lost_total + sum(each.next_seq - each.first_seq for each in lost),
            damaged_total=running.damaged_total + len(damaged),
            damaged=(*running.damaged, *damaged)[:SCRUB_DAMAGE_COUNT_MAX],
        )
