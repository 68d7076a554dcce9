"""Gaps in a stream: records that are marked lost (storage/log/lost.py) go to other holders as the room that they took.

A piece of a stream that is a gap has the statement, and zeros in place of its frames; whoever appends it looks at the statement's signature and at the chain: it
continues what is held, and the next frame names what the statement says. So a copy stays the same file but for that room, and nobody asks for it again.
"""

from __future__ import annotations

from pathlib import Path

from appliance.core.limits import LEAF_BYTES, PAGE_BYTES
from storage.log.disk import Disk
from storage.log.frame import FrameHeader
from storage.log.lost import LostRange, is_lost_signed, keep_lost, lost_of, without_lost
from storage.log.names import SegmentName
from storage.log.scan import Position, scan_segment
from storage.log.segment_header import decode_segment_header
from storage.log.window import Window
from storage.replicas.acceptance import Rejected
from storage.replicas.checking import Checked
from storage.replicas.errors import Refusal
from storage.replicas.streams import CHUNK_BYTES_MAX, Chunk


def gap_at(
    directory: Path, epoch: int, at: Position, later: tuple[int, FrameHeader]
) -> tuple[LostRange, Position] | None:
    """The statement that fills a damaged range, and the place behind it; None where there is none.

    Args:
        later: The first frame behind the range: its offset and header.
    Raises:
        OSError: the list can't be read.
    """
    offset, header = later
    for lost in lost_of(directory):
        if lost.fills(epoch, at.next_seq, header.first_seq, at.hash, header.prev_hash):
            return (
                (lost, Position(offset, header.first_seq, header.prev_hash))
                if offset - at.offset <= CHUNK_BYTES_MAX
                else None
            )
    return None


def take_gap(disk: Disk, directory: Path, chunk: Chunk, at: Position) -> Checked:
    """Verifies a piece that is a gap, which begins at a place, and keeps its statement with the copy, durably.

    Raises:
        Rejected: it is none, of another stream or place, or nobody signed it.
        LimitExceeded, LogDamaged, OSError: as `keep_lost`.
    """
    lost, size = chunk.lost, len(chunk.frames)
    assert lost is not None
    is_its = (lost.node_id, lost.stream) == (chunk.stream.node_id, chunk.stream.name)
    fits = lost.fills(chunk.epoch, at.next_seq, chunk.next_seq, at.hash, chunk.hash)
    if not is_its or not fits or not size or size % PAGE_BYTES or any(chunk.frames):
        raise Rejected(Refusal.DAMAGED, f"A gap of {chunk.stream} does not belong where the copy ends.")
    if lost.next_seq <= lost.first_seq or not is_lost_signed(lost):
        raise Rejected(Refusal.DAMAGED, f"Nobody signed that records of {chunk.stream} are lost.")
    keep_lost(disk, directory, lost)
    end = Position(at.offset + size, chunk.next_seq, chunk.hash)
    return Checked(end, ((chunk.next_seq, chunk.hash),), 0, chunk.last_at_ms)


def lost_leaves(disk: Disk, directory: Path, name: SegmentName, descriptor: int, frames_end: int) -> set[int]:
    """The leaves of a segment in which lost records lay: they aren't what they were, and need not be.

    Raises:
        OSError: it can't be read.
    """
    ranges = lost_of(directory)
    header = decode_segment_header(disk.pread(descriptor, PAGE_BYTES, 0)) if ranges else None
    if header is None:
        return set()
    window = Window(lambda length, offset: disk.pread(descriptor, length, offset), frames_end)
    start = Position(PAGE_BYTES, name.first_seq, header.continues_hash)
    scan = scan_segment(window, str(name), epoch=name.epoch, salt=header.salt, start=start, prove=False)
    left, gone = without_lost(scan.damaged, ranges, name.epoch)
    found: set[int] = set()
    for each in gone if not left else ():
        found.update(range(each.offset // LEAF_BYTES, -(-each.end_offset // LEAF_BYTES)))
    return found
