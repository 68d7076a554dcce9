"""A segment in which a write or an fsync failed: closed for good, and what was acknowledged of it is proved from disk.

The failed call is never tried again on that descriptor: the kernel reports an error of write-back once and may then call
the pages clean. What was acknowledged lies before the end that is given here, and is read past the page cache. What
lies behind it doesn't count any more: the next segment's header says after which sequence and hash it continues.
Source: docs/LOG_FORMAT.md "Writing".
"""

from __future__ import annotations

from pathlib import Path

from appliance.core.limits import PAGE_BYTES
from storage.log.direct_read import past_the_cache
from storage.log.disk import Disk
from storage.log.names import SegmentName
from storage.log.scan import Position, scan_segment
from storage.log.segment_header import decode_segment_header
from storage.log.window import Window


def prove_acknowledged(disk: Disk, directory: Path, name: SegmentName, end: Position) -> str:
    """Reads all that was acknowledged of a segment from the disk itself.

    Args:
        end: Where the last acknowledged frame ends, the sequence after it and its hash.
    Returns:
        What is wrong, one sentence; "" when everything is there, byte for byte.
    Raises:
        OSError: the disk can't be read.
    """
    if end.offset == PAGE_BYTES:
        return ""  # nothing in it was ever promised
    path = directory / str(name)
    descriptor = disk.open(path)
    try:
        with past_the_cache(disk, path, descriptor) as direct:
            window = Window(direct.read_at, disk.size(descriptor))
            header = decode_segment_header(window.get(0, PAGE_BYTES))
            if header is None:
                return "Both copies of the segment's header are damaged on the disk."
            scan = scan_segment(
                window,
                str(name),
                epoch=name.epoch,
                salt=header.salt,
                start=Position(PAGE_BYTES, name.first_seq, header.continues_hash),
                end_offset=end.offset,
                end_seq=end.next_seq,
            )
    finally:
        disk.close(descriptor)
    if scan.damaged:
        return (
            f"Acknowledged records from {scan.damaged[0].first_seq} on are damaged: {scan.damaged[0].reason}."
        )
    if scan.end != end:
        return f"Acknowledged records from {scan.end.next_seq} on are not on the disk: {scan.tail_reason or 'it ends there'}."
    return ""
