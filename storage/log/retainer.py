"""Removes segments from a stream's directory, so that a crash at any step leaves a log that is explained.

Order: the `dropped` file is replaced, durably; then the files go, oldest first; then the directory is fsynced. Whatever
stops this in between, the next run, or the next start, removes what the file says is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from appliance.core.errors import LogDamaged
from appliance.core.limits import RETENTION_SEGMENT_COUNT_MAX
from storage.log.active_segment import hash_before
from storage.log.disk import Disk
from storage.log.dropped import Dropped, DroppedRange, read_dropped, write_dropped
from storage.log.layout import ZERO_HASH
from storage.log.names import SegmentName, live_segments, segments_in_order
from storage.log.retention import Bounds, Candidate, choose


class Retainer:
    """One stream's. For one thread at a time; `dropped` may be read from any."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk = disk
        self._directory = directory
        self.dropped = Dropped()
        self.damage: LogDamaged | None = None
        """Why nothing is removed: the list of what was removed before can't be read."""
        self.log_bytes = 0
        """Of all segments, when it was looked at last."""
        self.first_seq = 1
        """Of the oldest segment, likewise."""
        try:
            self.dropped = read_dropped(disk, directory)
        except LogDamaged as error:
            self.damage = error

    def run(
        self,
        *,
        needed_seq: int,
        excess_bytes: int,
        bounds: Bounds,
        busy: Collection[tuple[int, int]],
        now_ms: int,
    ) -> list[SegmentName]:
        """Removes what may go; gives the names.

        Args:
            needed_seq: Some cursor is here.
            excess_bytes: What is to be freed because the disk is filling up.
            busy: Segments (epoch, first sequence) that wait to be sealed.
        Raises:
            LogDamaged: what was removed before can't be read, so nothing is.
            OSError: the disk failed, or has no room for the list.
        """
        if self.damage is not None:
            raise self.damage
        finish_removal(self._disk, self._directory, self.dropped)
        live = live_segments(segments_in_order(self._disk.names(self._directory)))
        sizes = [self._disk.file_size(self._directory / str(name)) for name in live]
        self.log_bytes = sum(sizes)
        self.first_seq = live[0].first_seq if live else 1
        newest_sealed = max((name for name in live if name.state == "seg"), default=None)
        candidates: list[Candidate] = []
        for (name, after), size in zip(pairwise(live), sizes, strict=False):
            if name.key in busy or name == newest_sealed:
                break  # the newest sealed one says where the log ends, should there be no other
            candidates.append(
                Candidate(name=name, first_seq=name.first_seq, next_seq=after.first_seq, bytes=size)
            )
        chosen = choose(
            candidates,
            log_bytes=self.log_bytes,
            needed_seq=needed_seq,
            excess_bytes=excess_bytes,
            bounds=bounds,
        )[:RETENTION_SEGMENT_COUNT_MAX]
        return self.remove(live, chosen, needed_seq=needed_seq, now_ms=now_ms) if chosen else []

    def remove(
        self,
        live: list[SegmentName],
        chosen: Sequence[tuple[Candidate, str]],
        *,
        needed_seq: int,
        now_ms: int,
    ) -> list[SegmentName]:
        """Removes segments, each by its rule; gives their names.

        Args:
            live: All of the log's, in order.
            chosen: The oldest of them, at least one, and not the newest.
            needed_seq: What a cursor has still to read from there on is counted as unread.
        Raises:
            LogDamaged: what was removed before can't be read, so nothing is.
            OSError: the disk failed, or has no room for the list.
        """
        if self.damage is not None:
            raise self.damage
        dropped = self.dropped
        for candidate, rule in chosen:
            went = DroppedRange(
                rule=rule,
                epoch=candidate.name.epoch,
                first_seq=candidate.first_seq,
                next_seq=candidate.next_seq,
                segment_count=1,
                bytes=candidate.bytes,
                unread_records=max(0, candidate.next_seq - max(needed_seq, candidate.first_seq)),
                first_at_ms=now_ms,
                last_at_ms=now_ms,
            )
            dropped = dropped.plus(went, "")
        before = hash_before(self._disk, self._directory, live[len(chosen)])
        dropped = replace(dropped, last_hash="" if before == ZERO_HASH else before.hex())
        write_dropped(self._disk, self._directory, dropped)
        self.dropped = dropped
        names = [candidate.name for candidate, _ in chosen]
        _remove(self._disk, self._directory, names)
        self.log_bytes -= sum(candidate.bytes for candidate, _ in chosen)
        self.first_seq = dropped.next_seq
        return names


def finish_removal(disk: Disk, directory: Path, dropped: Dropped) -> list[SegmentName]:
    """Removes segments that were to go when the process or the power did; gives their names."""
    names = segments_in_order(disk.names(directory))
    gone = [name for name, after in pairwise(names) if after.first_seq <= dropped.next_seq]
    if gone:
        _remove(disk, directory, gone)
    return gone


def _remove(disk: Disk, directory: Path, names: list[SegmentName]) -> None:
    for name in names:
        disk.unlink(directory / str(name))
    disk.fsync_directory(directory)
