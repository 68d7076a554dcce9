"""The sparse index of one segment: where to start reading for a sequence or a time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from appliance.core.limits import INDEX_INTERVAL_BYTES
from storage.log.footer import IndexEntry
from storage.log.frame import FrameHeader


class SegmentIndex:
    """Grows while frames are walked in order; an entry every 256 KiB."""

    def __init__(self, entries: tuple[IndexEntry, ...] = ()) -> None:
        self.entries = list(entries)
        self._latest_ms = 0
        self._end = 0

    def add(self, header: FrameHeader, offset: int) -> None:
        """Takes the next frame in; one that was taken in before changes nothing."""
        if offset < self._end:
            return
        if not self.entries or offset >= self.entries[-1].offset + INDEX_INTERVAL_BYTES:
            self.entries.append(IndexEntry(header.first_seq, offset, self._latest_ms))
        self._latest_ms = max(self._latest_ms, header.last_time_ms)
        self._end = offset + header.frame_bytes

    def for_seq(self, seq: int) -> IndexEntry | None:
        """The last entry at or before a sequence."""
        at = bisect_right(self.entries, seq, key=lambda entry: entry.first_seq)
        return self.entries[at - 1] if at else None

    def for_time(self, time_ms: int) -> IndexEntry | None:
        """The entry from which the first frame with a last time at or after `time_ms` is found going forward."""
        at = bisect_left(self.entries, time_ms, key=lambda entry: entry.time_before_ms)
        return self.entries[max(at - 1, 0)] if self.entries else None
