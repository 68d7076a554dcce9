"""Removing the oldest segments of a copy, told in its `dropped` file first."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from storage.log.disk import Disk
from storage.log.names import SegmentName
from storage.log.retainer import Retainer
from storage.log.retention import Candidate


def drop_segments(
    disk: Disk, directory: Path, live: list[SegmentName], *, seq: int, rule: str, now_ms: int
) -> list[SegmentName]:
    """Removes whole segments that end at or before a sequence, never the newest sealed one; gives their names.

    Raises:
        LogDamaged: the list of what was removed before is damaged, so nothing is removed.
        OSError: the disk failed.
    """
    newest = max((name for name in live if name.state == "seg"), default=None)
    chosen = []
    for name, after in pairwise(live):
        if after.first_seq > seq or name == newest:
            break
        size = disk.file_size(directory / str(name))
        part = Candidate(name=name, first_seq=name.first_seq, next_seq=after.first_seq, bytes=size)
        chosen.append((part, rule))
    if not chosen:
        return []
    return Retainer(disk, directory).remove(live, chosen, needed_seq=seq, now_ms=now_ms)
