"""What a tier keeps of a stream: pieces, each a run of whole frames under one name. Pure.

A piece is a `Chunk` (storage/replicas/streams.py) of a few seconds or MiB, packed and sealed (envelope.py). The pieces of one
epoch of a stream follow each other without a gap and without overlap: whoever ships may only put the piece that begins where the
last one ends. So the sequence with which a piece begins names it, two writers can't both put one there, and the end of the last one is
what the tier has.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from storage.replicas.streams import StreamHead, StreamId


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceName:
    """Which records a piece holds, and what they follow.

    Attributes:
        first_seq, prev_hash: The piece follows the frame with this hash, and begins with this sequence.
        next_seq, hash: The first sequence after it, and the hash of its last frame.
        size_bytes: Of the piece as it is kept.
        last_at_ms: The last time in it, ms since 1970, by the writer's clock.
    """

    stream: StreamId
    epoch: int
    first_seq: int
    prev_hash: bytes
    next_seq: int
    hash: bytes
    size_bytes: int
    last_at_ms: int

    def follows(self, before: PieceName) -> bool:
        """Whether it goes on in the same epoch exactly where another one ends."""
        return (before.stream, before.epoch, before.next_seq, before.hash) == (
            self.stream,
            self.epoch,
            self.first_seq,
            self.prev_hash,
        )

    @property
    def head(self) -> StreamHead:
        """How far the tier has the stream with this piece."""
        return StreamHead(self.epoch, self.next_seq, self.hash, last_at_ms=self.last_at_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece with its bytes, which only who has the site's key for the tier can open."""

    name: PieceName
    data: bytes


def tier_holder(region: str) -> str:
    """Under which id a region's tier stands among a stream's holders: 32 hexadecimal digits, the same on every node."""
    return sha256(b"homeport tier " + region.encode()).hexdigest()[:32]
