"""Frames, segments' ends and pieces of a modelled stream: what lies on a disk and what is sent. Bodies are short."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from replication.effects import PackedChunk, Place
from storage.replicas.streams import StreamHead, StreamId

FRAME_OVERHEAD_BYTES: Final = 160
"""Of a packed frame beside its body: header, hash, checksums."""
HASH_BYTES: Final = 32
ZERO_HASH: Final = bytes(HASH_BYTES)
NOTHING: Final = StreamHead(0, 1, ZERO_HASH)


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """One frame; its hash covers all of the rest."""

    epoch: int
    first_seq: int
    next_seq: int
    prev_hash: bytes
    at_ms: int
    body: bytes
    hash: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.body) + FRAME_OVERHEAD_BYTES


class Footer(msgspec.Struct, frozen=True, array_like=True):
    """The signed end of a segment."""

    epoch: int
    first_seq: int
    next_seq: int
    hash: bytes
    last_at_ms: int


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """What storage's Chunk is: whole frames of one segment. `begins` stands for the segment's first page: what it continues."""

    epoch: int
    segment_first_seq: int
    begins: bytes | None
    first_seq: int
    prev_hash: bytes
    next_seq: int
    hash: bytes
    last_at_ms: int
    frames: tuple[Frame, ...]
    footer: Footer | None = None

    @property
    def key(self) -> tuple[int, int]:
        """Of its segment."""
        return (self.epoch, self.segment_first_seq)


_PACKED: Final = msgspec.msgpack.Decoder(Piece)


def genesis(stream: StreamId) -> bytes:
    """The hash that a stream's first frame names."""
    return hashlib.sha256(f"genesis {stream.node_id} {stream.name}".encode()).digest()


def frame_hash(epoch: int, first_seq: int, next_seq: int, prev_hash: bytes, at_ms: int, body: bytes) -> bytes:
    """The hash of a frame."""
    head = b"%d %d %d %d " % (epoch, first_seq, next_seq, at_ms)
    return hashlib.sha256(head + prev_hash + body).digest()


def end_of(frame: Frame) -> Place:
    """Where the frame after it begins."""
    return Place(epoch=frame.epoch, next_seq=frame.next_seq, hash=frame.hash)


def pack(stream: StreamId, piece: Piece) -> PackedChunk:
    """A piece as it is sent."""
    return PackedChunk(
        stream=stream,
        epoch=piece.epoch,
        first_seq=piece.first_seq,
        prev_hash=piece.prev_hash,
        next_seq=piece.next_seq,
        hash=piece.hash,
        last_at_ms=piece.last_at_ms,
        data=msgspec.msgpack.encode(piece),
    )


def unpack(chunk: PackedChunk) -> Piece | None:
    """The piece that was sent; None: its bytes are wrong, or it is another than was announced."""
    try:
        piece = _PACKED.decode(chunk.data)
    except msgspec.DecodeError:
        return None
    told = (chunk.epoch, chunk.first_seq, chunk.prev_hash, chunk.next_seq, chunk.hash)
    return (
        piece if told == (piece.epoch, piece.first_seq, piece.prev_hash, piece.next_seq, piece.hash) else None
    )
