"""Opening a stream's directory after whatever happened: find the end, cut a torn tail, set damage aside.

Only the newest segment is read here; it is fsynced first and then read past the page cache, because a page that
is in the cache need not be on the disk. The cases (docs/LOG_FORMAT.md "Recovery"):

    newest segment                          what is done
    ──────────────────────────────────────  ──────────────────────────────────────────────────────────────
    none                                    a new stream begins
    sealed                                  a new segment continues it
    header not whole, nothing after it      a crash while it was being made: removed; the one before is newest
    whole frames, then zeros                written on
    whole frames, then bytes of no frame    torn tail: copied to torn/, cut off, written on
    bytes of no frame, a later frame after  damage to acknowledged data: never touched; a new segment continues
    less than the head file promises        the same: an acknowledged frame is gone from the end
    marked damaged                          a new segment continues
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from appliance.core.errors import LogDamaged, StorageError
from appliance.core.limits import PAGE_BYTES, TORN_FILE_COUNT_MAX
from storage.log.direct_read import past_the_cache
from storage.log.disk import NO_SPACE, Disk, write_all
from storage.log.dropped import Dropped, read_dropped
from storage.log.head import Head
from storage.log.layout import genesis_hash
from storage.log.names import DROPPED_NEW, MANIFEST_NEW, SPARE, TORN, SegmentName, segments_in_order
from storage.log.scan import DamagedRange, Position, Scan, scan_segment
from storage.log.seal import read_footer
from storage.log.segment_header import NO_BRANCH, SegmentHeader, decode_segment_header, encode_segment_header
from storage.log.window import WINDOW_BYTES, Window


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What recovery found and did; json-able.

    Args:
        newest_segment: The file that was examined; "" for a new stream.
        frame_count: Whole frames found in it.
        torn_bytes: Length of the tail that was cut off.
        torn_file: Where it is kept, relative to the directory; "" when nothing was cut or the disk was full.
        torn_reason: Why it is no frame.
        removed: Files left by a crash between making a segment and its first frame.
        damaged: Acknowledged ranges that can't be read.
        head_was_ahead: The head file promised more than the segments hold.
        header_repaired: One copy of the segment's header was torn or damaged, and was written again.
        direct_read_refused: Why the page cache could not be avoided; "" when it was.
    """

    newest_segment: str = ""
    frame_count: int = 0
    torn_bytes: int = 0
    torn_file: str = ""
    torn_reason: str = ""
    removed: tuple[str, ...] = ()
    damaged: tuple[DamagedRange, ...] = ()
    head_was_ahead: bool = False
    header_repaired: bool = False
    direct_read_refused: str = ""


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where writing goes on.

    Args:
        epoch, position: The epoch; next sequence and hash of the frame before it. `position.offset` counts only
            together with `active`.
        active: The segment to write on, with its header; None: a new one is needed.
        set_aside: A segment to be marked damaged, once the new one is there.
        segments: All segments of the directory, oldest first.
        branch: For the header of the next segment, where a grant begins an epoch with it.
    """

    epoch: int
    position: Position
    active: tuple[SegmentName, SegmentHeader] | None
    set_aside: SegmentName | None
    segments: tuple[SegmentName, ...]
    report: RecoveryReport
    branch: bytes = NO_BRANCH


@dataclass(frozen=True, slots=True)
class _Found:
    header: SegmentHeader | None
    header_is_whole: bool
    scan: Scan
    direct_read_refused: str


def recover(disk: Disk, directory: Path, *, stream: str, node_id: bytes, published: Head | None) -> Recovered:
    """Finds the end of the log and leaves nothing after it that could be taken for a frame.

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
            sealed_end = _sealed_end(disk, directory, newest)
            if sealed_end is not None:
                return _ahead(disk, published, newest, sealed_end, tuple(segments), report)
        found = _examine(disk, directory, newest)
        if found.header is not None:
            check_owner(found.header, stream, node_id, directory)
        report = replace(report, direct_read_refused=found.direct_read_refused)
        if found.header is None and not found.scan.frame_count:
            report = remove_unfinished(disk, directory, newest, report)
            segments.pop()
            continue
        return _decide(disk, directory, published, newest, found, tuple(segments), report)
    return _begin(
        disk, directory, published, genesis_hash(node_id, stream), replace(report, newest_segment="")
    )


def end_on_disk(disk: Disk, directory: Path) -> tuple[int, int]:
    """(epoch, next sequence) as far as whole frames go, without changing anything; (0, 1) of a log without any.

    After a power cut the head file may tell of less, until a writer has recovered the log.

    Raises:
        OSError: it can't be read.
    """
    for name in reversed(segments_in_order(disk.names(directory))):
        if name.state == "seg" and (end := _sealed_end(disk, directory, name)) is not None:
            return name.epoch, end.next_seq
        found = _examine(disk, directory, name)
        if found.header is not None or found.scan.frame_count:
            return name.epoch, found.scan.end.next_seq
    return 0, 1


def _begin(
    disk: Disk, directory: Path, published: Head | None, genesis: bytes, report: RecoveryReport
) -> Recovered:
    """Without a segment a log begins with its stream, or after what `dropped` says is elsewhere."""
    try:
        dropped = read_dropped(disk, directory)
    except LogDamaged:
        dropped = Dropped()  # said elsewhere; the head file still keeps sequences from being used twice
    if not dropped.ranges or not dropped.last_hash:
        return _ahead(disk, published, None, Position(PAGE_BYTES, 1, genesis), (), report)
    first = Position(PAGE_BYTES, dropped.next_seq, bytes.fromhex(dropped.last_hash))
    recovered = _ahead(disk, published, None, first, (), report)
    return replace(recovered, epoch=max(recovered.epoch, dropped.ranges[-1].epoch))


def _decide(
    disk: Disk,
    directory: Path,
    published: Head | None,
    newest: SegmentName,
    found: _Found,
    segments: tuple[SegmentName, ...],
    report: RecoveryReport,
) -> Recovered:
    scan, header = found.scan, found.header
    report = replace(report, frame_count=scan.frame_count)
    damaged = list(scan.damaged)
    if header is None:
        damaged.insert(
            0,
            DamagedRange(
                str(newest), newest.first_seq, newest.first_seq, 0, PAGE_BYTES, "both copies of the header are damaged",
                "No record is lost: the frames are proved by their hashes.",
            ),
        )  # fmt: skip
    ahead = _is_ahead(published, newest.epoch, scan.end)
    if damaged or ahead or newest.state != "open" or header is None:
        report = replace(report, damaged=tuple(damaged))
        recovered = _ahead(disk, published, newest, scan.end, segments, report, scan.tail_end)
        aside = newest if newest.state == "open" else None
        return replace(recovered, set_aside=aside)
    if not found.header_is_whole:
        rewrite_header(disk, directory, newest, header)
        report = replace(report, header_repaired=True)
    if scan.tail_end > scan.end.offset:
        report = cut_tail(disk, directory, newest, scan, report)
    return Recovered(newest.epoch, scan.end, (newest, header), None, segments, report)


def _is_ahead(published: Head | None, epoch: int, end: Position) -> bool:
    return published is not None and (published.epoch, published.next_seq) > (epoch, end.next_seq)


def _ahead(
    disk: Disk,
    published: Head | None,
    newest: SegmentName | None,
    end: Position,
    segments: tuple[SegmentName, ...],
    report: RecoveryReport,
    tail_end: int = 0,
) -> Recovered:
    """No segment to write on: go on after `end`, or after what the head file promised if that is more."""
    epoch = newest.epoch if newest else 1
    if published is None or not _is_ahead(published, epoch, end):
        return Recovered(epoch, end, None, None, segments, report)
    lost = DamagedRange(
        str(newest or SegmentName(published.epoch, published.segment_first_seq, "open")),
        end.next_seq,
        published.next_seq,
        end.offset,
        max(tail_end, end.offset),
        "the head file says that these were on disk, and they are not there",
        "The disk lost or damaged acknowledged data: replace it, and fetch the range from a holder of a copy.",
    )
    return Recovered(
        published.epoch,
        Position(PAGE_BYTES, published.next_seq, published.hash),
        None,
        None,
        segments,
        replace(report, damaged=(*report.damaged, lost), head_was_ahead=True),
    )


def _sealed_end(disk: Disk, directory: Path, name: SegmentName) -> Position | None:
    descriptor = disk.open(directory / str(name))
    try:
        footer = read_footer(disk, descriptor)
    finally:
        disk.close(descriptor)
    return Position(footer.frames_end, footer.last_seq + 1, footer.last_hash) if footer else None


def _examine(disk: Disk, directory: Path, name: SegmentName) -> _Found:
    """Fsyncs a segment, then walks all of it past the page cache."""
    path = directory / str(name)
    descriptor = disk.open(path, write=name.state == "open")
    try:
        disk.fsync(descriptor)
        with past_the_cache(disk, path, descriptor) as direct:
            window = Window(direct.read_at, disk.size(descriptor))
            page = window.get(0, PAGE_BYTES)
            header = decode_segment_header(page)
            whole = header is not None and page == encode_segment_header(header)
            salt = header.salt if header else None
            start = Position(PAGE_BYTES, name.first_seq, header.continues_hash if header else b"")
            scan = scan_segment(window, str(name), epoch=name.epoch, salt=salt, start=start)
            return _Found(header, whole, scan, direct.refused)
    finally:
        disk.close(descriptor)


def rewrite_header(disk: Disk, directory: Path, name: SegmentName, header: SegmentHeader) -> None:
    """Makes both copies whole again. The whole one is written over with its own bytes, so it can't be lost."""
    descriptor = disk.open(directory / str(name), write=True)
    try:
        write_all(disk, descriptor, [encode_segment_header(header)], 0)
        disk.fdatasync(descriptor)
    finally:
        disk.close(descriptor)


def check_owner(header: SegmentHeader, stream: str, node_id: bytes, directory: Path) -> None:
    if (header.stream, header.node_id) != (stream, node_id):
        raise StorageError(
            f"{directory} holds stream {header.stream!r} of node {header.node_id.hex()},"
            f" not {stream!r} of node {node_id.hex()}.",
            hint="Point the configuration at this node's own data directory; a copied one needs a new epoch first.",
            code="log_foreign",
        )


def remove_unfinished(
    disk: Disk, directory: Path, name: SegmentName, report: RecoveryReport
) -> RecoveryReport:
    """Takes away a segment in which no frame was ever finished; what it holds is kept in torn/."""
    descriptor = disk.open(directory / str(name))
    try:
        window = Window(lambda length, offset: disk.pread(descriptor, length, offset), disk.size(descriptor))
        kept = keep_aside(disk, directory, f"{name}.0", window, 0, window.content_end(0))
    finally:
        disk.close(descriptor)
    disk.unlink(directory / str(name))
    disk.fsync_directory(directory)
    return replace(report, removed=(*report.removed, str(name)), torn_file=kept or report.torn_file)


def cut_tail(
    disk: Disk, directory: Path, name: SegmentName, scan: Scan, report: RecoveryReport
) -> RecoveryReport:
    """Copies the torn tail to torn/ and fills its place with zeros, durably."""
    descriptor = disk.open(directory / str(name), write=True)
    try:
        size = disk.size(descriptor)
        window = Window(lambda length, offset: disk.pread(descriptor, length, offset), size)
        start = scan.end.offset
        kept = keep_aside(disk, directory, f"{name}.{start}", window, start, scan.tail_end)
        disk.truncate(descriptor, start)
        try:
            disk.allocate(descriptor, size)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise  # on a full disk the segment ends here; the next append asks for a new one
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)
    return replace(report, torn_bytes=scan.tail_end - start, torn_file=kept, torn_reason=scan.tail_reason)


def keep_aside(disk: Disk, directory: Path, label: str, window: Window, start: int, end: int) -> str:
    """Copies a range into torn/; gives the new file's name, or "" where it is empty or the disk is full."""
    if end <= start:
        return ""
    torn = directory / TORN
    disk.make_directory(torn)
    for old in sorted(disk.names(torn))[: -(TORN_FILE_COUNT_MAX - 1)]:
        disk.unlink(torn / old)
    path = torn / f"{label}.torn"
    descriptor = disk.open(path, create=True)
    try:
        disk.truncate(descriptor, 0)
        for offset in range(start, end, WINDOW_BYTES):
            write_all(disk, descriptor, [window.get(offset, min(WINDOW_BYTES, end - offset))], offset - start)
        disk.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        disk.unlink(path)
        return ""
    finally:
        disk.close(descriptor)
    disk.fsync_directory(torn)
    return f"{TORN}/{path.name}"
