"""Opening a copy after whatever happened: what counts, what is cut off, what needs mending.

A copy has a chunk in flight, of many frames, and not one frame as the log's own writer. So a frame that is whole after one that
isn't is no evidence that the first was ever on disk. The evidence is the head file: what it tells of was fsynced before. And
whatever is cut off here is had again from whoever sent it.

    newest segment, read past the page cache    what is done
    ──────────────────────────────────────────  ─────────────────────────────────────────────────────────────
    sealed                                      the copy ends with it
    header not whole, no frame                  a crash while it was being made: removed; the one before is newest
    whole frames, then anything                 what comes after them is kept in torn/ and cut off
    not whole before what the head file tells   damage to what was stored: never touched, told, and mended from a holder
    less than the head file tells               the copy ends earlier now; told, and had again
    both copies of the header damaged           set aside as `.damaged`; its frames are read, nothing is appended to it
    set aside, and its header mended since      it has its name again, and is appended to
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from appliance.core.limits import PAGE_BYTES
from storage.log.direct_read import past_the_cache
from storage.log.disk import Disk
from storage.log.footer import Footer
from storage.log.frame import FrameHeader
from storage.log.head import Head
from storage.log.layout import genesis_hash
from storage.log.names import DROPPED_NEW, MANIFEST_NEW, SPARE, SegmentName, segments_in_order
from storage.log.recovery import (
    RecoveryReport,
    check_owner,
    cut_tail,
    remove_unfinished,
    rewrite_header,
)
from storage.log.scan import DamagedRange, Position, Scan, scan_segment
from storage.log.seal import read_footer, set_aside
from storage.log.segment_header import SegmentHeader, decode_segment_header, encode_segment_header
from storage.log.window import Window


@dataclass(frozen=True, slots=True)
class Opened:
    """Where a copy goes on.

    Args:
        epoch: Of the newest segment; 0 where there is none.
        position: Sequence after the last frame, its hash, and where the next one goes in `active`.
        active: The segment that is appended to; None where the next chunk begins one.
        last_at_ms: Of the last frame; 0 where it isn't known.
        lost_count: Records that the head file tells of and that are not there any more.
    """

    epoch: int
    position: Position
    active: tuple[SegmentName, SegmentHeader] | None
    segments: tuple[SegmentName, ...]
    report: RecoveryReport
    last_at_ms: int = 0
    lost_count: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    header: SegmentHeader | None
    header_is_whole: bool
    scan: Scan
    last_at_ms: int
    refused: str


def open_copy(disk: Disk, directory: Path, *, stream: str, node_id: bytes, published: Head | None) -> Opened:
    """Finds the end of a copy and leaves nothing after it that could be taken for a frame.

    Args:
        published: What the head file says; None when it isn't readable.
    Raises:
        StorageError: the directory holds another node's or another stream's log.
        OSError: reading, cutting or fsyncing failed.
    """
    names = disk.names(directory)
    for leftover in (SPARE, MANIFEST_NEW, DROPPED_NEW):
        if leftover in names:
            disk.unlink(directory / leftover)
    segments = segments_in_order(names)
    report = RecoveryReport()
    while segments:
        newest = segments[-1]
        report = replace(report, newest_segment=str(newest))
        if newest.state == "seg":
            header, footer = _ends_of_file(disk, directory, newest)
            if header is not None:
                check_owner(header, stream, node_id, directory)
            if footer is not None:
                end = Position(footer.frames_end, footer.last_seq + 1, footer.last_hash)
                return _ends(newest, end, segments, report, published, footer.last_time_ms)
        found = _examine(disk, directory, newest, published)
        if found.header is not None:
            check_owner(found.header, stream, node_id, directory)
        report = replace(report, direct_read_refused=found.refused, frame_count=found.scan.frame_count)
        if found.header is None and not found.scan.frame_count:
            report = remove_unfinished(disk, directory, newest, report)
            segments.pop()
            continue
        return _decide(disk, directory, newest, found, segments, report, published)
    start = Position(PAGE_BYTES, 1, genesis_hash(node_id, stream))
    return Opened(0, start, None, (), replace(report, newest_segment=""))


def _ends(
    newest: SegmentName,
    end: Position,
    segments: list[SegmentName],
    report: RecoveryReport,
    published: Head | None,
    last_at_ms: int,
) -> Opened:
    """The copy ends with a segment that nothing is appended to."""
    lost = _lost_count(published, newest, end)
    return Opened(newest.epoch, end, None, tuple(segments), report, last_at_ms, lost)


def _decide(
    disk: Disk,
    directory: Path,
    newest: SegmentName,
    found: _Found,
    segments: list[SegmentName],
    report: RecoveryReport,
    published: Head | None,
) -> Opened:
    scan, header = found.scan, found.header
    report = replace(report, damaged=tuple(scan.damaged))
    if header is not None and newest.state == "damaged":  # it was mended since it was set aside
        mended = replace(newest, state="open")
        disk.rename(directory / str(newest), directory / str(mended))
        disk.fsync_directory(directory)
        newest, segments = mended, [*segments[:-1], mended]
    if header is None or newest.state != "open":
        if newest.state == "open":
            set_aside(disk, directory, newest)
            segments = [*segments[:-1], replace(newest, state="damaged")]
        what = (
            "both copies of the segment's header are"
            if header is None
            else "the footer of the sealed segment is"
        )
        damage = DamagedRange(
            str(segments[-1]), newest.first_seq, newest.first_seq, 0, PAGE_BYTES, f"{what} damaged",
            "No record is lost: the frames are proved by their hashes. It is had again from a holder of a copy.",
        )  # fmt: skip
        report = replace(report, damaged=(damage, *scan.damaged))
        return _ends(segments[-1], scan.end, segments, report, published, found.last_at_ms)
    if not found.header_is_whole:
        rewrite_header(disk, directory, newest, header)
        report = replace(report, header_repaired=True)
    if scan.tail_end > scan.end.offset:
        report = cut_tail(disk, directory, newest, scan, report)
    lost = _lost_count(published, newest, scan.end)
    return Opened(newest.epoch, scan.end, (newest, header), tuple(segments), report, found.last_at_ms, lost)


def _ends_of_file(
    disk: Disk, directory: Path, name: SegmentName
) -> tuple[SegmentHeader | None, Footer | None]:
    descriptor = disk.open(directory / str(name))
    try:
        return decode_segment_header(disk.pread(descriptor, PAGE_BYTES, 0)), read_footer(disk, descriptor)
    finally:
        disk.close(descriptor)


def _lost_count(published: Head | None, newest: SegmentName, end: Position) -> int:
    if published is None or published.epoch < newest.epoch:
        return 0
    return max(0, published.next_seq - end.next_seq)


def _examine(disk: Disk, directory: Path, name: SegmentName, published: Head | None) -> _Found:
    """Fsyncs a segment, then walks it past the page cache up to where nothing that was stored can follow."""
    path = directory / str(name)
    stored_seq = name.first_seq
    if published is not None and (published.epoch, published.segment_first_seq) == name.key:
        stored_seq = published.next_seq
    descriptor = disk.open(path, write=name.state == "open")
    try:
        disk.fsync(descriptor)
        with past_the_cache(disk, path, descriptor) as direct:
            window = Window(direct.read_at, disk.size(descriptor))
            page = window.get(0, PAGE_BYTES)
            header = decode_segment_header(page)
            whole = header is not None and page == encode_segment_header(header)
            scan, last_at_ms = _scan(window, name, header, window.size)
            unstored = [each for each in scan.damaged if each.first_seq >= stored_seq]
            if unstored:
                cut = unstored[0]
                tail_end = window.content_end(cut.offset)
                scan, last_at_ms = _scan(window, name, header, cut.offset)
                scan.tail_end, scan.tail_reason = tail_end, cut.reason
            return _Found(header, whole, scan, last_at_ms, direct.refused)
    finally:
        disk.close(descriptor)


def _scan(
    window: Window, name: SegmentName, header: SegmentHeader | None, end_offset: int
) -> tuple[Scan, int]:
    last_at_ms = 0

    def on_frame(frame: FrameHeader, offset: int, frame_hash: bytes) -> None:
        nonlocal last_at_ms
        last_at_ms = frame.last_time_ms

    scan = scan_segment(
        window,
        str(name),
        epoch=name.epoch,
        salt=header.salt if header else None,
        start=Position(PAGE_BYTES, name.first_seq, header.continues_hash if header else b""),
        end_offset=end_offset,
        on_frame=on_frame,
    )
    return scan, last_at_ms
