"""Chunks in parts: cut for the wire, and put together with bounds on what a peer can have us keep. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.core.limits_replication import PART_BYTES_MIN
from replication.effects import PackedChunk
from replication.messages import ChunkPart


def cut(chunk: PackedChunk, request: int, part_bytes: int) -> Iterator[ChunkPart]:
    """A chunk's parts in their order, each of which says which chunk it is of.

    Args:
        part_bytes: Of all but the last: a multiple of PART_BYTES_MIN.
    """
    total_bytes = len(chunk.data)
    for offset in range(0, total_bytes, part_bytes):
        yield ChunkPart(
            request,
            chunk.stream,
            chunk.epoch,
            chunk.first_seq,
            chunk.prev_hash,
            chunk.next_seq,
            chunk.hash,
            chunk.last_at_ms,
            total_bytes,
            offset,
            chunk.data[offset : offset + part_bytes],
        )


class Assembly:
    """A chunk of which some parts came. Links keep their order, but a part may come twice, or after one that got lost.

    All parts but the last are of one size, which the sender chose; a chunk that is sent once more in parts of another size begins anew.
    """

    __slots__ = ("_first", "_part_bytes", "_parts", "got_bytes", "touched_at_ms")

    def __init__(self, first: ChunkPart, now_ms: int) -> None:
        self._first = first
        self._parts: dict[int, bytes] = {}
        self._part_bytes = 0
        self.got_bytes = 0
        self.touched_at_ms = now_ms

    @property
    def total_bytes(self) -> int:
        return self._first.total_bytes

    def is_of(self, part: ChunkPart) -> bool:
        """Whether a part belongs to this chunk."""
        first = self._first
        return (
            part.request == first.request
            and part.stream == first.stream
            and part.first_seq == first.first_seq
            and part.hash == first.hash
            and part.prev_hash == first.prev_hash
            and part.epoch == first.epoch
            and part.next_seq == first.next_seq
            and part.total_bytes == first.total_bytes
        )

    def add(self, part: ChunkPart, now_ms: int) -> PackedChunk | None:
        """Takes a part; the chunk when it is whole. A part that doesn't fit is dropped."""
        size_bytes, end = len(part.data), part.offset + len(part.data)
        if not size_bytes or end > self.total_bytes or part.offset % PART_BYTES_MIN:
            return None
        if size_bytes == self.total_bytes:
            self._begin_anew(0)
        elif end < self.total_bytes:
            if size_bytes % PART_BYTES_MIN or part.offset % size_bytes:
                return None
            if self._part_bytes != size_bytes:
                self._begin_anew(size_bytes)
        elif self._part_bytes and (part.offset % self._part_bytes or size_bytes > self._part_bytes):
            return None
        if part.offset in self._parts:
            return None
        self._parts[part.offset] = part.data
        self.got_bytes += len(part.data)
        self.touched_at_ms = now_ms
        if self.got_bytes < self.total_bytes:
            return None
        first = self._first
        return PackedChunk(
            stream=first.stream,
            epoch=first.epoch,
            first_seq=first.first_seq,
            prev_hash=first.prev_hash,
            next_seq=first.next_seq,
            hash=first.hash,
            last_at_ms=first.last_at_ms,
            data=b"".join(self._parts[offset] for offset in sorted(self._parts)),
        )

    def _begin_anew(self, part_bytes: int) -> None:
        """The parts are so large (0: there is one). What came before in another size is dropped, but for a last part that fits."""
        self._part_bytes = part_bytes
        self._parts = {
            offset: data
            for offset, data in self._parts.items()
            if part_bytes
            and offset % part_bytes == 0
            and offset + min(part_bytes, len(data)) == self.total_bytes
        }
        self.got_bytes = sum(map(len, self._parts.values()))
