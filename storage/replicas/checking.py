"""Verifying frames that somebody else sent, before any of them is written. Pure.

Everything that a reader, a scrubber or a recovery would look at is looked at here: both checksums with the segment's salt, the
hash anew, the dense sequence, the hash of the frame before, the padding. What passes is what the writer wrote, or somebody
found a SHA-256 collision, or holds the writer's place: forks are told by hashes that differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage.log.frame import HEADER_BYTES, TRAILER_BYTES, check_frame, compute_hash, decode_header
from storage.log.layout import ZERO_PAGE
from storage.log.scan import Position


@dataclass(frozen=True, slots=True)
class Checked:
    """Frames that are whole and follow one another.

    Args:
        end: The place after the last one; its offset counts from the beginning of the segment.
        hashes: (sequence after it, hash) of each frame, in order.
        last_at_ms: The last time in the last frame; 0 where there is none.
    """

    end: Position
    hashes: tuple[tuple[int, bytes], ...]
    frame_count: int
    last_at_ms: int


def check_frames(frames: bytes, *, epoch: int, salt: int, start: Position) -> Checked | str:
    """Verifies whole frames that follow `start`; gives what is wrong, one sentence, where they don't.

    Args:
        frames: As they lie in the segment's file, from `start.offset` on.
        epoch, salt: The segment's.
    """
    at = 0
    seq, before = start.next_seq, start.hash
    hashes: list[tuple[int, bytes]] = []
    last_at_ms = 0
    while at < len(frames):
        header = decode_header(frames[at : at + HEADER_BYTES], salt)
        if isinstance(header, str):
            return header
        if header.epoch != epoch or header.first_seq != seq:
            return f"a frame of epoch {header.epoch} with sequence {header.first_seq} is where {seq} of epoch {epoch} belongs"
        if header.prev_hash != before:
            return f"the frame with sequence {seq} does not name the frame before it"
        end = at + header.frame_bytes
        if end > len(frames):
            return "the last frame is not whole"
        frame = frames if end - at == len(frames) else frames[at:end]
        body = frame[HEADER_BYTES : HEADER_BYTES + header.stored_bytes]
        frame_hash = check_frame(header, frame, body, salt)
        if isinstance(frame_hash, str):
            return frame_hash
        if compute_hash(frame, body) != frame_hash:
            return "the frame's hash is wrong though its checksum is right"
        content_end = HEADER_BYTES + header.stored_bytes + TRAILER_BYTES
        if frame[content_end:] != ZERO_PAGE[: len(frame) - content_end]:
            return "the padding of a frame is not zero"
        at, seq, before, last_at_ms = end, header.next_seq, frame_hash, header.last_time_ms
        hashes.append((seq, before))
    return Checked(Position(start.offset + at, seq, before), tuple(hashes), len(hashes), last_at_ms)
