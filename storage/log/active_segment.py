"""The segment that is written to: its descriptor, its room, and how it comes into being."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from appliance.core.errors import LogFull, UsageError
from appliance.core.limits import PAGE_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN
from storage.log.disk import NO_SPACE, Disk, write_all
from storage.log.layout import ZERO_HASH
from storage.log.manifest import SegmentSummary
from storage.log.names import SegmentName
from storage.log.segment_header import (
    NO_BRANCH,
    SegmentHeader,
    decode_segment_header,
    encode_segment_header,
)


@dataclass(slots=True)
class ActiveSegment:
    """A segment that frames are appended to.

    Args:
        limit: Its allocated size, bytes; no frame goes beyond.
        since_mono_ms: When it began, monotonic.
        offset: Where the next frame goes.
        spare_ordered: The file of its successor was asked for.
    """

    name: SegmentName
    descriptor: int
    salt: int
    limit: int
    since_mono_ms: int
    offset: int
    spare_ordered: bool = False

    @property
    def is_empty(self) -> bool:
        return self.offset == PAGE_BYTES


def next_header(
    *,
    node_id: bytes,
    stream: str,
    epoch: int,
    next_seq: int,
    prev_hash: bytes,
    now_ms: int,
    sealed: SegmentSummary | None,
    branch: bytes = NO_BRANCH,
) -> SegmentHeader:
    """The header of a segment that begins with `next_seq`, with a new salt.

    Args:
        prev_hash: Of the frame that ends before next_seq.
        sealed: The newest sealed segment.
        branch: Of the grant by which its epoch begins here.
    """
    return SegmentHeader(
        node_id=node_id,
        stream=stream,
        epoch=epoch,
        first_seq=next_seq,
        salt=secrets.randbits(32),
        continues_hash=prev_hash,
        created_at_ms=now_ms,
        sealed_epoch=sealed.epoch if sealed else 0,
        sealed_first_seq=sealed.first_seq if sealed else 0,
        sealed_root=bytes.fromhex(sealed.root) if sealed else ZERO_HASH,
        branch=branch,
    )


def begin_segment(
    disk: Disk, directory: Path, descriptor: int, limit: int, header: SegmentHeader, mono_ms: int
) -> ActiveSegment:
    """Makes a segment's name and header durable, before any frame can go into it.

    Args:
        descriptor: Of the allocated file, which has the segment's name already; closed when this fails.
        limit: Its size, bytes.
    Raises:
        OSError: a step failed; the segment must not be used.
    """
    try:
        disk.fsync_directory(directory)
        write_all(disk, descriptor, [encode_segment_header(header)], 0)
        disk.fdatasync(descriptor)
    except OSError:
        disk.close(descriptor)
        raise
    return ActiveSegment(segment_name(header), descriptor, header.salt, limit, mono_ms, PAGE_BYTES)


def segment_name(header: SegmentHeader) -> SegmentName:
    """The name of a segment that is written to."""
    return SegmentName(header.epoch, header.first_seq, "open")


def hash_before(disk: Disk, directory: Path, name: SegmentName) -> bytes:
    """The hash that a segment's header says it continues; zeros when neither copy of the header is whole.

    Raises:
        OSError: it can't be read.
    """
    descriptor = disk.open(directory / str(name))
    try:
        header = decode_segment_header(disk.pread(descriptor, PAGE_BYTES, 0))
    finally:
        disk.close(descriptor)
    return header.continues_hash if header is not None else ZERO_HASH


def check_segment_bytes(size: int) -> None:
    """Whether a segment may have this size.

    Raises:
        UsageError: it may not.
    """
    if not SEGMENT_BYTES_MIN <= size <= SEGMENT_BYTES_MAX:
        raise UsageError(
            f"A segment of {size} bytes is out of bounds.",
            hint=f"Choose {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} bytes.",
        )


def check_room(error: OSError, size: int, directory: Path) -> None:
    """Tells a full disk from one that fails.

    Raises:
        LogFull: the error says that there is no space.
    """
    if error.errno in NO_SPACE:
        raise LogFull(
            f"There is no room for the next {size} bytes of log in {directory}.",
            hint="Free space on this disk; publishes are refused until then, and it goes on by itself.",
        ) from error
