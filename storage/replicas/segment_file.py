"""The segment of a copy that is appended to: its file, its room, and how it comes into being.

The file grows in steps whose space is allocated, so that a full disk is found before anything was written. A name and a header page are
durable before the first frame, as in the log itself (docs/LOG_FORMAT.md "Writing").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.errors import LogFull
from appliance.core.limits import MIB, PAGE_BYTES
from storage.log.disk import NO_SPACE, Disk, write_all
from storage.log.names import SPARE, SegmentName
from storage.log.segment_header import SegmentHeader

STEP_BYTES: Final = 8 * MIB
SMALL_STEP_BYTES: Final = 256 * 1024
"""The first steps are small: a box that does little has copies of many streams that hardly grow."""


@dataclass(slots=True)
class ReplicaSegment:
    """An open file.

    Args:
        limit: Its allocated size, bytes.
        offset: Where the next frame goes.
    """

    name: SegmentName
    descriptor: int
    header: SegmentHeader
    limit: int
    offset: int

    @property
    def is_empty(self) -> bool:
        return self.offset == PAGE_BYTES


def open_active(
    disk: Disk, directory: Path, name: SegmentName, header: SegmentHeader, offset: int
) -> ReplicaSegment:
    """A segment that is there already.

    Raises:
        OSError: it can't be opened.
    """
    descriptor = disk.open(directory / str(name), write=True)
    return ReplicaSegment(name, descriptor, header, disk.size(descriptor), offset)


def make_segment(
    disk: Disk, directory: Path, header: SegmentHeader, page: bytes, size: int
) -> ReplicaSegment:
    """Makes a segment durable: file, name, header page.

    Args:
        page: The header as the stream's writer wrote it; decodes to `header`.
        size: Of the first frames, bytes.
    Raises:
        LogFull: there is no room; nothing is left behind.
        OSError: the disk failed; what is left behind has no frame, and the next start removes it.
    """
    spare = directory / SPARE
    limit = _limit(PAGE_BYTES + size)
    descriptor = disk.open(spare, create=True)
    try:
        disk.truncate(descriptor, 0)
        try:
            disk.allocate(descriptor, limit)
        except OSError as error:
            if error.errno in NO_SPACE:
                disk.unlink(spare)
            raise _as_full(error, limit, directory) from error
        disk.fsync(descriptor)
        name = SegmentName(header.epoch, header.first_seq, "open")
        disk.rename(spare, directory / str(name))
        disk.fsync_directory(directory)
        write_all(disk, descriptor, [page], 0)
        disk.fdatasync(descriptor)
    except BaseException:
        disk.close(descriptor)
        raise
    return ReplicaSegment(name, descriptor, header, limit, PAGE_BYTES)


def make_room(disk: Disk, directory: Path, segment: ReplicaSegment, size: int) -> None:
    """Has space for `size` more bytes allocated.

    Raises:
        LogFull: there is none; nothing changed.
        OSError: the disk failed.
    """
    wanted = segment.offset + size
    if wanted <= segment.limit:
        return
    limit = _limit(wanted)
    try:
        disk.allocate(segment.descriptor, limit)
    except OSError as error:
        if error.errno in NO_SPACE:
            # A file system may have allocated some of it; what is beyond the limit we know of is given back.
            disk.truncate(segment.descriptor, segment.limit)
        raise _as_full(error, limit - segment.limit, directory) from error
    segment.limit = limit


def _limit(wanted: int) -> int:
    step = STEP_BYTES if wanted > STEP_BYTES else SMALL_STEP_BYTES
    return -(-wanted // step) * step


def _as_full(error: OSError, size: int, directory: Path) -> OSError | LogFull:
    if error.errno not in NO_SPACE:
        return error
    return LogFull(
        f"There is no room for the next {size} bytes of a copy in {directory}.",
        hint="Free space on this disk; the copy goes on by itself then, and nothing is lost meanwhile where it comes from.",
    )
