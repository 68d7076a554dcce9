"""Walking the frames of one segment: what is whole, what is damaged, and where it ends.

One frame is in flight at a time. So a frame that is not whole and has the header of a later frame after it
was acknowledged: that is damage. One with nothing after it is a torn tail, which nobody was promised. The
header of a later frame is enough as evidence, because it was written after the fdatasync of the one before.
Source: docs/LOG_FORMAT.md "Recovery".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.core.limits import PAGE_BYTES
from storage.log.frame import HEADER_BYTES, MAGIC, FrameHeader, check_frame, compute_hash, decode_header
from storage.log.window import Window


@dataclass(frozen=True, slots=True)
class DamagedRange:
    """Records that can't be given out.

    Args:
        segment: File name.
        first_seq, next_seq: The sequences [first_seq, next_seq).
        offset, end_offset: The bytes of the file that hold, or held, them.
        reason: What was found, one sentence.
        hint: The operator's next step.
    """

    segment: str
    first_seq: int
    next_seq: int
    offset: int
    end_offset: int
    reason: str
    hint: str = (
        "The bytes stay as they are; the range is fetched again from a holder of a copy, or marked lost."
    )


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two frames of one segment: where it is, what comes next, what came before.

    An empty hash means that what came before isn't known, so the next frame's link can't be checked.
    """

    offset: int
    next_seq: int
    hash: bytes


@dataclass(slots=True)
class Scan:
    """What was found in a segment.

    `end` is the place after the last whole frame (or after the last frame whose successor's header shows what
    it was). `tail_end` > end.offset: there is something after it that is no frame.
    """

    end: Position
    tail_end: int
    tail_reason: str = ""
    frame_count: int = 0
    record_count: int = 0
    damaged: list[DamagedRange] = field(default_factory=list)


OnFrame = Callable[[FrameHeader, int, bytes], None]
"""(header, offset, hash) of each whole frame, in order."""


def scan_segment(
    window: Window,
    name: str,
    *,
    epoch: int,
    salt: int | None,
    start: Position,
    end_offset: int | None = None,
    end_seq: int | None = None,
    prove: bool = True,
    on_frame: OnFrame | None = None,
) -> Scan:
    """Walks the frames from `start` on.

    Args:
        window: The segment's bytes.
        name: The segment's file name, for reports.
        salt: The segment's; None when its header is lost, then hashes are checked instead of checksums.
        end_offset: Stop there; nothing beyond is looked at.
        end_seq: Stop at this sequence; frames beyond it don't count.
        prove: Compute each frame's hash too, and not only its checksum.
        on_frame: Called with each whole frame.
    """
    scan = Scan(start, start.offset)
    limit = window.size if end_offset is None else min(end_offset, window.size)
    while scan.end.offset < limit and (end_seq is None or scan.end.next_seq < end_seq):
        at = scan.end
        found = _whole_frame(window, at.offset, salt, prove)
        if not isinstance(found, str):
            header, frame_hash = found
            if header.epoch == epoch and header.first_seq == at.next_seq:
                if at.hash and header.prev_hash != at.hash:
                    scan.damaged.append(_break_of_chain(name, at, header))
                elif on_frame is not None:
                    on_frame(header, at.offset, frame_hash)
                scan.frame_count += 1
                scan.record_count += header.record_count
                scan.end = Position(at.offset + header.frame_bytes, header.next_seq, frame_hash)
                continue
            reason = f"a frame of epoch {header.epoch} with sequence {header.first_seq} is in this place"
            search_from = at.offset
        else:
            reason = found
            search_from = at.offset + PAGE_BYTES
        later = find_later_frame(window, search_from, limit, salt, epoch, at.next_seq)
        if later is None:
            scan.tail_end = min(limit, window.content_end(at.offset))
            scan.tail_reason = reason if scan.tail_end > at.offset else ""
            return scan
        offset, header = later
        scan.damaged.append(DamagedRange(name, at.next_seq, header.first_seq, at.offset, offset, reason))
        scan.end = Position(offset, header.first_seq, header.prev_hash)
    scan.tail_end = scan.end.offset
    return scan


def _whole_frame(
    window: Window, offset: int, salt: int | None, prove: bool
) -> tuple[FrameHeader, bytes] | str:
    header = decode_header(window.get(offset, HEADER_BYTES), salt)
    if isinstance(header, str):
        return header
    data = window.get(offset, header.frame_bytes)
    body = data[HEADER_BYTES : HEADER_BYTES + header.stored_bytes]
    frame_hash = check_frame(header, data, body, salt)
    if isinstance(frame_hash, str):
        return frame_hash
    if prove and salt is not None and compute_hash(data, body) != frame_hash:
        return "the frame's hash is wrong though its checksum is right"
    return header, frame_hash


def find_later_frame(
    window: Window, offset: int, limit: int, salt: int | None, epoch: int, seq: int
) -> tuple[int, FrameHeader] | None:
    """The first page from `offset` on, before `limit`, that begins with the header of a frame after `seq`."""
    position = window.find_pages(offset, MAGIC)
    while position is not None and position < limit:
        header = decode_header(window.get(position, HEADER_BYTES), salt)
        if not isinstance(header, str) and header.epoch == epoch and header.first_seq > seq:
            if salt is not None:
                return position, header
            whole = _whole_frame(window, position, None, True)  # without a salt only the hash is evidence
            if not isinstance(whole, str):
                return position, header
        position = window.find_pages(position + PAGE_BYTES, MAGIC)
    return None


def _break_of_chain(name: str, at: Position, header: FrameHeader) -> DamagedRange:
    return DamagedRange(
        name,
        header.first_seq,
        header.next_seq,
        at.offset,
        at.offset + header.frame_bytes,
        "the frame does not name the hash of the frame before it",
        "Someone may have edited the log: compare it with a holder of a copy before trusting this range.",
    )
