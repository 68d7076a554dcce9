"""What copies of streams are spoken of with: which stream, how far, and a piece of it. Pure.

These are msgspec structs, so that they stand in messages between nodes as they are; bounds are checked when one is decoded.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from appliance.core.limits import FRAME_BYTES_HARD_MAX, LEAF_BYTES, MIB, PAGE_BYTES
from storage.log.layout import HASH_BYTES
from storage.log.lost import LostRange

CHUNK_BYTES_DEFAULT: Final = 1 * MIB
"""Of frames in one chunk; a single frame that is larger is one of its own."""
CHUNK_BYTES_MAX: Final = FRAME_BYTES_HARD_MAX + 2 * PAGE_BYTES
"""Of frames in one chunk: a record of 16 MiB with its columns, header and padding."""
FOOTER_BYTES_MAX: Final = 1 * MIB
SEQUENCE_MAX: Final = 2**63 - 1

StreamName = Literal["telemetry", "catalog"]
STREAM_NAMES: Final[tuple[StreamName, ...]] = ("telemetry", "catalog")
_NODE_ID: Final = re.compile(r"[0-9a-f]{32}\Z")

NodeId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$", max_length=32)]
Branch = Annotated[str, Meta(pattern=r"^([0-9a-f]{8})?\Z", max_length=8)]
Epoch = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Sequence = Annotated[int, Meta(ge=0, le=SEQUENCE_MAX)]
Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]


class StreamId(msgspec.Struct, frozen=True, order=True, array_like=True):
    """One stream: its writer's node id (32 hexadecimal digits) and its name.

    Args:
        branch: Of the second history after a fork: the first 8 hexadecimal digits of the hash of the first frame that
            differs, or of the last where that name is taken; "" for the stream itself.
    """

    node_id: NodeId
    name: StreamName
    branch: Branch = ""

    def is_branch_of(self, stream: StreamId) -> bool:
        """Whether this is a second history of a stream."""
        return bool(self.branch) and stream == StreamId(self.node_id, self.name)

    def __str__(self) -> str:
        return f"{self.node_id}/{self.name}" + (f".fork-{self.branch}" if self.branch else "")


class StreamHead(msgspec.Struct, frozen=True, array_like=True):
    """How far a holder has a stream, durably. Equal (epoch, next_seq, hash) proves equal prefixes.

    Args:
        epoch: Of the segment that the next frame belongs to; 0 of a stream of which nothing is there.
        next_seq: The first sequence that is not held.
        hash: Of the frame before it (a stream's genesis hash where there is none).
        first_seq: The oldest sequence that is held.
        sealed_seq: All segments before this sequence are held with their footers; it is where a segment begins.
        last_at_ms: The last time in the frame before `next_seq`, by the writer's wall clock; 0 where there is none.
    """

    epoch: Epoch
    next_seq: Sequence
    hash: Hash
    first_seq: Sequence = 1
    sealed_seq: Sequence = 1
    last_at_ms: Sequence = 0

    @property
    def place(self) -> tuple[int, int]:
        """What heads are ordered by."""
        return (self.epoch, self.next_seq)

    def is_same_place(self, other: StreamHead) -> bool:
        """Whether both have the same records up to there."""
        return self.place == other.place and self.hash == other.hash


class SealedEnd(msgspec.Struct, frozen=True, array_like=True):
    """The signed end of a segment, apart from its frames.

    Args:
        epoch, segment_first_seq: Name the segment.
    """

    epoch: Epoch
    segment_first_seq: Sequence
    footer: Annotated[bytes, Meta(max_length=FOOTER_BYTES_MAX)]


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a stream: whole frames of one segment as they lie in its file.

    Args:
        epoch, segment_first_seq: Name the segment.
        header_page: The segment's first page, where the chunk begins with the segment.
        first_seq, prev_hash: The holder that has everything before `first_seq`, up to the frame with this hash, may append it.
        next_seq, hash: Where its holder is when it was appended: what its last frame says (first_seq and prev_hash where there are
            no frames). As a holder of the chunk tells it, so not to be trusted before the frames were verified.
        last_at_ms: The last time in its last frame, as told; 0 where there are no frames.
        frames: Header, body, hash, checksums and padding of each; none where only the footer follows.
        footer: The segment's signed end, where the chunk ends with a segment that is sealed.
        lost: The chunk is a gap: its records are marked lost, and its frames are zeros (gaps.py).
        end_before: In a piece of the tier alone, where it begins a segment: the signed end of the segment that ends there, which may
            have been sealed after its last frame was shipped.
    """

    stream: StreamId
    epoch: Epoch
    segment_first_seq: Sequence
    header_page: Annotated[bytes, Meta(min_length=PAGE_BYTES, max_length=PAGE_BYTES)] | None
    first_seq: Sequence
    prev_hash: Hash
    next_seq: Sequence
    hash: Hash
    last_at_ms: Sequence
    frames: Annotated[bytes, Meta(max_length=CHUNK_BYTES_MAX)]
    footer: Annotated[bytes, Meta(max_length=FOOTER_BYTES_MAX)] | None = None
    lost: LostRange | None = None
    end_before: SealedEnd | None = None

    def before(self) -> Chunk | None:
        """The end of the segment before this chunk as a chunk of its own, without frames; None where none is told."""
        end = self.end_before
        if end is None:
            return None
        at, last = self.first_seq, self.prev_hash
        return Chunk(
            self.stream, end.epoch, end.segment_first_seq, None, at, last, at, last, 0, b"", end.footer
        )


def is_node_id(text: str) -> bool:
    """Whether it is the name of a node: 32 hexadecimal digits."""
    return _NODE_ID.match(text) is not None


assert LEAF_BYTES <= CHUNK_BYTES_MAX
