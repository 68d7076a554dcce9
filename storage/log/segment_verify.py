"""Checking every byte of one segment: header, chain, checksums, hashes, padding, leaves, signature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from appliance.core.limits import LEAF_BYTES, PAGE_BYTES
from storage.log.disk import Disk
from storage.log.footer import Footer, signed_bytes
from storage.log.frame import HEADER_BYTES, TRAILER_BYTES, FrameHeader
from storage.log.lost import lost_of, without_lost
from storage.log.names import SegmentName
from storage.log.scan import DamagedRange, Position, Scan, scan_segment
from storage.log.seal import leaf_hashes, read_footer
from storage.log.segment_header import SegmentHeader, decode_segment_header, encode_segment_header
from storage.log.signatures import is_signed
from storage.log.window import Window

NO_RECORD_LOST: Final = "No record is lost; fetch the segment again from a holder of a copy to have it whole."


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentVerdict:
    """What was found in one segment; json-able.

    Args:
        name: File name.
        first_seq, next_seq: Records [first_seq, next_seq), damaged ones included.
        signed_by: Hexadecimal key id of a valid signature; "" for none.
        lost: Damaged records that are marked lost (lost.py): a gap, which is no damage any more.
        tail_bytes: Bytes after the last frame that are none: a torn tail, or a block being written just now.
    """

    name: str
    epoch: int
    first_seq: int
    next_seq: int
    frame_count: int
    record_count: int
    bytes: int
    sealed: bool
    signed_by: str = ""
    tail_bytes: int = 0
    damaged: tuple[DamagedRange, ...] = ()
    lost: tuple[DamagedRange, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """A verdict, and what the next segment is compared with."""

    verdict: SegmentVerdict
    header: SegmentHeader | None
    position: Position


def verify_segment(
    disk: Disk, directory: Path, name: SegmentName, *, end_offset: int | None, end_seq: int | None
) -> SegmentEnd:
    """Reads all of a segment.

    Args:
        end_offset: The durable head, when it is in this segment: nothing after it is looked at.
        end_seq: Where the next segment begins, when there is one.
    Raises:
        FileNotFoundError: it is gone, or has another name by now.
    """
    descriptor = disk.open(directory / str(name))
    try:
        size = disk.size(descriptor)
        window = Window(lambda length, offset: disk.pread(descriptor, length, offset), size)
        page = window.get(0, PAGE_BYTES)
        header = decode_segment_header(page)
        footer = read_footer(disk, descriptor) if name.state == "seg" else None
        damaged: list[DamagedRange] = []

        def blemish(offset: int, end: int, reason: str, hint: str = NO_RECORD_LOST) -> None:
            damaged.append(DamagedRange(str(name), name.first_seq, name.first_seq, offset, end, reason, hint))

        if header is None or page != encode_segment_header(header):
            blemish(0, PAGE_BYTES, "the page of the segment's header is damaged")
        if header is not None and (header.epoch, header.first_seq) != name.key:
            blemish(
                0,
                PAGE_BYTES,
                "the file's name doesn't say what its header says",
                "Give it its own name back.",
            )

        def check_padding(frame: FrameHeader, offset: int, _: bytes) -> None:
            start = offset + HEADER_BYTES + frame.stored_bytes + TRAILER_BYTES
            end = offset + frame.frame_bytes
            if any(window.get(start, end - start)):
                blemish(start, end, "the padding of a frame is not zero")

        limits = [limit for limit in (end_offset, footer.frames_end if footer else None) if limit is not None]
        scan = scan_segment(
            window,
            str(name),
            epoch=name.epoch,
            salt=header.salt if header else None,
            start=Position(PAGE_BYTES, name.first_seq, header.continues_hash if header else b""),
            end_offset=min(limits) if limits else None,
            end_seq=end_seq,
            on_frame=check_padding,
        )
        damaged.extend(scan.damaged)
        wanted = end_seq if end_seq is not None else footer.last_seq + 1 if footer else None
        if wanted is not None and scan.end.next_seq < wanted:
            reason = scan.tail_reason or "the segment ends too early"
            damaged.append(
                DamagedRange(str(name), scan.end.next_seq, wanted, scan.end.offset, scan.tail_end, reason)
            )
        signed_by = ""
        if name.state == "seg":
            signed_by, problems = _check_seal(disk, descriptor, size, footer, scan)
            damaged.extend(
                replace(p, segment=str(name), first_seq=name.first_seq, next_seq=name.first_seq)
                for p in problems
            )
        left, lost = without_lost(damaged, lost_of(directory) if damaged else (), name.epoch)
        verdict = SegmentVerdict(
            name=str(name),
            epoch=name.epoch,
            first_seq=name.first_seq,
            next_seq=max(scan.end.next_seq, wanted or 0),
            frame_count=scan.frame_count,
            record_count=scan.record_count,
            bytes=size,
            sealed=name.state == "seg",
            signed_by=signed_by,
            tail_bytes=scan.tail_end - scan.end.offset if wanted is None else 0,
            damaged=tuple(left),
            lost=tuple(lost),
        )
        return SegmentEnd(verdict, header, scan.end)
    finally:
        disk.close(descriptor)


def _check_seal(
    disk: Disk, descriptor: int, size: int, footer: Footer | None, scan: Scan
) -> tuple[str, list[DamagedRange]]:
    """The key id of a valid signature, and everything that is wrong with the seal."""
    problems: list[DamagedRange] = []

    def problem(offset: int, end: int, reason: str, hint: str = NO_RECORD_LOST) -> None:
        problems.append(DamagedRange("", 0, 0, offset, end, reason, hint))

    if footer is None:
        problem(scan.end.offset, size, "the footer of the sealed segment is damaged")
        return "", problems
    end = footer.frames_end
    for number, (now, then) in enumerate(
        zip(leaf_hashes(disk, descriptor, end), footer.leaves, strict=False)
    ):
        if now != then:
            offset = number * LEAF_BYTES
            problem(
                offset,
                min(offset + LEAF_BYTES, end),
                f"leaf {number} has another hash than when it was sealed",
            )
    counted = (scan.frame_count, scan.record_count, scan.end.offset, scan.end.next_seq - 1, scan.end.hash)
    told = (footer.frame_count, footer.record_count, end, footer.last_seq, footer.last_hash)
    if counted != told and not scan.damaged and scan.end.next_seq > footer.last_seq:
        problem(end, size, "the footer counts other frames than there are")
    if is_signature_valid(footer):
        return footer.key_id.hex(), problems
    problem(
        end,
        size,
        "the signature is not valid",
        "Someone may have edited the log: compare it with a holder of a copy.",
    )
    return "", problems


def is_signature_valid(footer: Footer) -> bool:
    """Whether the key that the footer names signed it (Ed25519, RFC 8032)."""
    signed = signed_bytes(footer, len(footer.signature))
    return is_signed(signed, key_id=footer.key_id, signature=footer.signature)
