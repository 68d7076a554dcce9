"""Where a copy begins that can't begin with its stream: what is missing is told before the first segment is there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from storage.log.disk import Disk
from storage.log.dropped import Dropped, DroppedRange, read_dropped, write_dropped
from storage.log.segment_header import SegmentHeader

NOT_COPIED: Final = "not_copied"
"""The rule of records that were gone where they came from when the copy was begun."""
REPLACED: Final = "replaced"
"""The rule of what lies before a branch: it is in the stream's own directory."""


def tell_missing(
    disk: Disk, directory: Path, *, rule: str, epoch: int, first_seq: int, before: bytes, now_ms: int
) -> None:
    """Writes, durably, that a copy begins with `first_seq`; nothing is written where it begins with its stream.

    Args:
        before: The hash of the last frame that is missing.
    Raises:
        LogDamaged: a list that is there already is damaged.
        OSError: the disk failed.
    """
    if first_seq == 1 and not read_dropped(disk, directory).ranges:
        return
    missing = DroppedRange(
        rule=rule,
        epoch=epoch,
        first_seq=1,
        next_seq=first_seq,
        segment_count=0,
        bytes=0,
        unread_records=0,
        first_at_ms=now_ms,
        last_at_ms=now_ms,
    )
    write_dropped(disk, directory, Dropped((missing,) if first_seq > 1 else (), before.hex()))


def tell_missing_before(disk: Disk, directory: Path, header: SegmentHeader, rule: str, now_ms: int) -> None:
    """As `tell_missing`, where a copy begins with a segment."""
    tell_missing(
        disk,
        directory,
        rule=rule,
        epoch=header.epoch,
        first_seq=header.first_seq,
        before=header.continues_hash,
        now_ms=now_ms,
    )
