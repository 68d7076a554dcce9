"""The log's files as a backup has them: sealed segments as they are, the one that is written to up to the durable head.

Everything before the head is on disk and never changes, so a copy of it needs no pause of the writer. A segment may be
sealed, and so renamed, while it is copied: it is then taken by its new name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits import BACKUP_SEAL_WAIT_MS, PAGE_BYTES
from storage.log.disk import OsDisk
from storage.log.dropped import read_dropped
from storage.log.head import Head
from storage.log.names import DROPPED, LOST, SegmentName, live_segments, segments_in_order

_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file of the log: its name in the backup, how many bytes of it count (None: all), whether it never changes."""

    path: Path
    name: str
    bytes_max: int | None
    is_fixed: bool


def log_files(
    directory: Path, head: Head, copy: Callable[[LogFile], None], discard: Callable[[str], None]
) -> None:
    """Have every file of the log copied that belongs to what is before the head.

    Args:
        copy: Raises FileNotFoundError where a file is gone.
        discard: Forgets what was copied under a name: it is taken again by another one.
    Raises:
        Unavailable: `log_not_recovered`: there are segments, and no head that says how far they count.
        StorageError: `log_segment_missing`: a segment is gone, and nothing says that it was removed. Also what `copy` raises.
    """
    gone: list[SegmentName] = []
    names = _segments(directory)
    if names and not head.epoch:
        raise Unavailable(
            "The log has not been opened by the broker since it was put here.",
            hint="Start Homeport, then make the backup.",
            code="log_not_recovered",
        )
    for segment in names:
        if segment.key > (head.epoch, head.segment_first_seq):
            continue
        if not _copy_segment(directory, segment, head, copy, discard):
            gone.append(segment)
    disk = OsDisk()
    for name in (DROPPED, LOST):
        if (directory / name).exists():
            copy(LogFile(directory / name, name, None, is_fixed=False))
    dropped = read_dropped(disk, directory)
    lost = [segment for segment in gone if segment.first_seq >= dropped.next_seq]
    if lost:
        raise StorageError(
            f"{lost[0]} is gone from the log, and nothing says that it was removed.",
            hint="Run 'homeport log verify'; start the backup again.",
            code="log_segment_missing",
        )


def _copy_segment(
    directory: Path,
    segment: SegmentName,
    head: Head,
    copy: Callable[[LogFile], None],
    discard: Callable[[str], None],
) -> bool:
    """Copy one segment in whatever state it is by now; False where it is gone."""
    if segment.key == (head.epoch, head.segment_first_seq):
        if head.offset <= PAGE_BYTES:
            return True  # nothing was ever written to it
        as_open = str(SegmentName(*segment.key, "open"))
        for path in _paths(directory, segment):
            try:
                copy(LogFile(path, as_open, head.offset, is_fixed=False))
                return True
            except FileNotFoundError:
                continue
        return False
    if segment.state == "open":
        segment = _wait_for_seal(directory, segment)
    for path in _paths(directory, segment):
        try:
            copy(LogFile(path, path.name, None, is_fixed=path.suffix == ".seg"))
        except FileNotFoundError:
            continue
        if path.exists() or path.suffix == ".seg":
            return True
        discard(path.name)  # it was sealed meanwhile, and is taken again as that
    return False


def _paths(directory: Path, segment: SegmentName) -> Iterator[Path]:
    """By the name that it has, then by those that it may have got since."""
    yield directory / str(segment)
    for state in ("seg", "damaged"):
        if segment.state != state:
            yield directory / f"{str(segment).rpartition('.')[0]}.{state}"


def _wait_for_seal(directory: Path, segment: SegmentName) -> SegmentName:
    """Give the thread that seals it a while; what is not sealed then is taken as it is."""
    until_s = time.monotonic() + BACKUP_SEAL_WAIT_MS / 1000
    while (directory / str(segment)).exists() and time.monotonic() < until_s:
        time.sleep(_POLL_S)
    return next((each for each in _segments(directory) if each.key == segment.key), segment)


def _segments(directory: Path) -> list[SegmentName]:
    disk = OsDisk()
    return live_segments(segments_in_order(disk.names(directory))) if directory.is_dir() else []
