"""Sealing one segment: check every frame, hash the leaves, sign, cut, make read-only, rename.

Each step can be interrupted: until the rename the segment is an unsealed one whose end the next segment's
header names, and sealing begins again. Nothing that doesn't verify is signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.core.limits import LEAF_BYTES, PAGE_BYTES
from storage.log.disk import Disk, write_all
from storage.log.footer import (
    TAIL_BYTES,
    Footer,
    decode_footer,
    encode_footer,
    footer_bytes_of,
    signed_bytes,
    with_signature,
)
from storage.log.frame import FrameHeader
from storage.log.layout import sha256
from storage.log.lost import LostRange, lost_of, without_lost
from storage.log.manifest import SegmentSummary, summary_of
from storage.log.names import SegmentName
from storage.log.scan import DamagedRange, Position, scan_segment
from storage.log.segment_header import decode_segment_header
from storage.log.segment_index import SegmentIndex
from storage.log.signer import Signer
from storage.log.window import Window


def seal_segment(
    disk: Disk, directory: Path, name: SegmentName, end_seq: int, end_hash: bytes, signer: Signer, now_ms: int
) -> SegmentSummary | list[DamagedRange]:
    """Seals an unsealed segment that isn't written to any more.

    Args:
        end_seq: The sequence after its last record, as the next segment's header has it.
        end_hash: The hash of its last frame, from the same place.
        now_ms: Wall time, for the footer.
    Returns:
        What the manifest will say of it; or what is damaged, and then the file was only renamed to `.damaged`.
    Raises:
        OSError: a step failed; the segment is still unsealed.
    """
    path = directory / str(name)
    descriptor = disk.open(path, write=True)
    try:
        lost = lost_of(directory)
        found = sealing_of(disk, descriptor, name, end_seq, end_hash, signer, now_ms, lost)
        if isinstance(found, list):
            set_aside(disk, directory, name)
            return found
        footer, data = found
        write_all(disk, descriptor, [data], footer.frames_end)
        disk.truncate(descriptor, footer.frames_end + len(data))
        disk.fsync(descriptor)
        disk.make_read_only(descriptor)
    finally:
        disk.close(descriptor)
    disk.rename(path, directory / str(SegmentName(name.epoch, name.first_seq, "seg")))
    disk.fsync_directory(directory)
    return summary_of(footer, footer.frames_end + len(data))


def sealing_of(
    disk: Disk,
    descriptor: int,
    name: SegmentName,
    end_seq: int,
    end_hash: bytes,
    signer: Signer,
    now_ms: int,
    lost: Sequence[LostRange],
) -> tuple[Footer, bytes] | list[DamagedRange]:
    """The footer of an open file, signed, with its bytes; or what is damaged. Arguments as those of `seal_segment`.

    Args:
        lost: What of the stream is marked lost: a gap, which stands in no segment's way.

    Raises:
        OSError: the file can't be read.
    """
    footer = _describe(disk, descriptor, name, end_seq, end_hash, now_ms, lost)
    if isinstance(footer, list):
        return footer
    unsigned = with_signature(footer, signer.key_id, b"")
    signed = with_signature(footer, signer.key_id, signer.sign(signed_bytes(unsigned)))
    return signed, encode_footer(signed)


def set_aside(disk: Disk, directory: Path, name: SegmentName) -> None:
    """Marks a segment as damaged by its name; its bytes stay as they are."""
    disk.rename(directory / str(name), directory / str(SegmentName(name.epoch, name.first_seq, "damaged")))
    disk.fsync_directory(directory)


def read_footer(disk: Disk, descriptor: int) -> Footer | None:
    """The footer at the end of an open segment file; None when there is no whole one."""
    size = disk.size(descriptor)
    length = footer_bytes_of(disk.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES)))
    if length is None or length > size:
        return None
    footer = decode_footer(disk.pread(descriptor, length, size - length))
    return footer if footer is not None and footer.frames_end == size - length else None


def leaf_hashes(disk: Disk, descriptor: int, frames_end: int) -> tuple[bytes, ...]:
    """SHA-256 of each MiB of the file up to `frames_end`; the last may be shorter."""
    return tuple(
        sha256(disk.pread(descriptor, min(LEAF_BYTES, frames_end - offset), offset))
        for offset in range(0, frames_end, LEAF_BYTES)
    )


def _describe(
    disk: Disk,
    descriptor: int,
    name: SegmentName,
    end_seq: int,
    end_hash: bytes,
    now_ms: int,
    lost: Sequence[LostRange],
) -> Footer | list[DamagedRange]:
    header = decode_segment_header(disk.pread(descriptor, PAGE_BYTES, 0))
    if header is None:
        return [
            DamagedRange(
                str(name), name.first_seq, end_seq, 0, PAGE_BYTES, "both copies of the header are damaged"
            )
        ]
    index = SegmentIndex()
    first_time_ms, last_time_ms, stored_bytes, raw_bytes = 2**64 - 1, 0, 0, 0

    def on_frame(frame: FrameHeader, offset: int, frame_hash: bytes) -> None:
        nonlocal first_time_ms, last_time_ms, stored_bytes, raw_bytes
        index.add(frame, offset)
        first_time_ms = min(first_time_ms, frame.first_time_ms)
        last_time_ms = max(last_time_ms, frame.last_time_ms)
        stored_bytes += frame.stored_bytes
        raw_bytes += frame.raw_bytes

    scan = scan_segment(
        Window(lambda length, offset: disk.pread(descriptor, length, offset), disk.size(descriptor)),
        str(name),
        epoch=name.epoch,
        salt=header.salt,
        start=Position(PAGE_BYTES, header.first_seq, header.continues_hash),
        end_seq=end_seq,
        prove=False,
        on_frame=on_frame,
    )
    left, _ = without_lost(scan.damaged, lost, name.epoch)
    if left:
        return left
    end = scan.end
    if end.next_seq != end_seq or end.hash != end_hash:
        reason = scan.tail_reason or "it does not end where the next segment says it does"
        return [DamagedRange(str(name), end.next_seq, end_seq, end.offset, scan.tail_end, reason)]
    return Footer(
        epoch=name.epoch,
        first_seq=header.first_seq,
        last_seq=end_seq - 1,
        first_time_ms=first_time_ms,
        last_time_ms=last_time_ms,
        sealed_at_ms=now_ms,
        frames_end=end.offset,
        frame_count=scan.frame_count,
        record_count=scan.record_count,
        stored_bytes=stored_bytes,
        raw_bytes=raw_bytes,
        last_hash=end.hash,
        leaves=leaf_hashes(disk, descriptor, end.offset),
        index=tuple(index.entries),
    )
