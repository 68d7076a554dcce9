"""Whether a piece of a stream fits a copy, from its words alone: whose it is, where it begins, which history it continues. Pure."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

from storage.log.frame import HEADER_BYTES, decode_header
from storage.log.layout import HASH_BYTES
from storage.log.names import SegmentName
from storage.log.scan import Position
from storage.log.segment_header import SegmentHeader, decode_segment_header, encode_segment_header
from storage.replicas.errors import Fork, Refusal
from storage.replicas.places import segment_at
from storage.replicas.streams import CHUNK_BYTES_MAX, FOOTER_BYTES_MAX, Chunk, StreamId


class Rejected(Exception):  # noqa: N818 - the log turns it into ReplicaRefused, with its head
    """A piece is not appended.

    Args:
        fork: (sequence, the hash here, the hash there) of two histories, where that is the reason.
    """

    def __init__(self, reason: Refusal, message: str, fork: tuple[int, bytes, bytes] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.fork = fork


def gap(stream: StreamId, held_seq: int, seq: int) -> Rejected:
    return Rejected(Refusal.GAP, f"{stream} is held up to {held_seq}, the piece begins at {seq}.")


def fork(stream: StreamId, seq: int, ours: bytes, theirs: bytes) -> Rejected:
    message = (
        f"Before record {seq}, {stream} has two histories: {ours.hex()[:8]} here, {theirs.hex()[:8]} there."
    )
    return Rejected(Refusal.FORK, message, (seq, ours, theirs))


def fork_of(rejected: Rejected, stream: StreamId, epoch: int, live: list[SegmentName]) -> Fork | None:
    """The evidence of two histories, where that is why a piece was rejected.

    Args:
        epoch, live: Of the copy that rejected it.
    """
    if rejected.fork is None:
        return None
    seq, ours, theirs = rejected.fork
    begin = live[segment_at(live, max(live[0].first_seq, seq - 1))].first_seq if live else 1
    return Fork(stream, epoch, seq, ours, theirs, begin)


def check_words(chunk: Chunk, stream: StreamId) -> None:
    """Whether it is a piece of this stream at all, and of a size that a piece may have.

    Raises:
        Rejected: it isn't.
    """
    if (chunk.stream.node_id, chunk.stream.name) != (stream.node_id, stream.name):
        raise Rejected(Refusal.WRONG_STREAM, f"A piece of {chunk.stream} is none of {stream}.")
    if len(chunk.frames) > CHUNK_BYTES_MAX or len(chunk.footer or b"") > FOOTER_BYTES_MAX:
        raise Rejected(Refusal.TOO_LARGE, "The piece is larger than any frame can be.")


def check_goes_on(live: Sequence[SegmentName], chunk: Chunk, next_seq: int) -> None:
    """Whether the newest segment of a copy can be gone on with, where a chunk is more of it.

    Args:
        live: The copy's segments, none of which is appended to.
        next_seq: Where the copy ends.
    Raises:
        OSError: both copies of its header are damaged: opened again it goes on, if it was mended by then (storage/replicas/mending.py).
    """
    key = (chunk.epoch, chunk.segment_first_seq)
    if live and live[-1].key == key and live[-1].state == "damaged" and chunk.next_seq > next_seq:
        raise OSError(errno.EIO, f"both copies of the header of {live[-1]} are damaged")


def check_header(chunk: Chunk, stream: StreamId) -> SegmentHeader:
    """The header of the segment that a chunk begins.

    Raises:
        Rejected: it isn't there, not whole, or that of another segment or stream.
    """
    page = chunk.header_page
    if page is None:
        raise Rejected(Refusal.NO_HEADER, f"The first page of segment {chunk.segment_first_seq} is missing.")
    header = decode_segment_header(page)
    if header is None or page != encode_segment_header(header):
        raise Rejected(Refusal.DAMAGED, "The first page of the segment is not whole.")
    if (header.node_id.hex(), header.stream) != (stream.node_id, stream.name):
        raise Rejected(Refusal.WRONG_STREAM, "The segment's header is that of another stream.")
    if (header.epoch, header.first_seq) != (chunk.epoch, chunk.segment_first_seq) or not header.epoch:
        raise Rejected(Refusal.DAMAGED, "The segment's header is that of another segment.")
    return header


def rest_of(chunk: Chunk, header: SegmentHeader, place: Position, recent: Mapping[int, bytes]) -> bytes:
    """What of a chunk's frames is not here yet, if they follow what is here.

    Args:
        header: Of the segment that the chunk and `place` are in.
        place: Where the copy ends.
        recent: Hashes of the newest frames by the sequence after them.
    Raises:
        Rejected: the chunk begins later, or belongs to another history.
    """
    at = 0
    seq, before = chunk.first_seq, chunk.prev_hash
    if seq > place.next_seq:
        raise gap(chunk.stream, place.next_seq, seq)
    if chunk.lost is not None and seq < place.next_seq:
        return b""  # a gap comes as one piece: it is here, or what is here in its place is not lost
    while seq < place.next_seq and at < len(chunk.frames):
        frame = decode_header(chunk.frames[at : at + HEADER_BYTES], header.salt)
        if isinstance(frame, str) or frame.first_seq != seq:
            raise Rejected(
                Refusal.DAMAGED, f"A piece of {chunk.stream} is refused: no frame of it begins with {seq}."
            )
        end = at + HEADER_BYTES + frame.stored_bytes
        at, seq, before = at + frame.frame_bytes, frame.next_seq, chunk.frames[end : end + HASH_BYTES]
        known = recent.get(seq)
        if known is not None and known != before:
            raise fork(chunk.stream, seq, known, before)
    if seq > place.next_seq or (seq == place.next_seq and before != place.hash):
        raise fork(chunk.stream, place.next_seq, place.hash, before)
    return chunk.frames[at:] if at else chunk.frames


def begins_otherwise(chunk: Chunk, header: SegmentHeader) -> bool:
    """Whether a chunk begins a segment anew: the writer did before the segment had a frame, so it has another salt."""
    return chunk.header_page is not None and chunk.header_page != encode_segment_header(header)
