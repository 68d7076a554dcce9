"""Pieces out of what is held here: own logs and copies, cut where a region's own pieces end. Blocks.

For one thread at a time, as ChunkSource is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec

from appliance.core.errors import CursorExpired, LogDamaged
from replication.effects import Place
from replication.tier.steps import EMPTY, Failed, Gone, Nothing, Parted
from storage.log.disk import Disk, OsDisk
from storage.replicas.chunk_part import part_of
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.errors import OtherHistory
from storage.replicas.streams import SEQUENCE_MAX, Chunk, SealedEnd, StreamHead, StreamId

PartOf = Callable[[Chunk, int, bytes, int], Chunk | None]
"""(chunk, first sequence, hash before it, sequence before which the part's frames begin)."""
SOURCE_COUNT_MAX: Final = 64
"""Streams that are open: a few descriptors each."""


class Source(Protocol):
    """One stream as it is held here: a `ChunkSource` (storage/replicas/chunk_source.py), which says what each call gives and raises."""

    def head(self) -> StreamHead: ...

    def after(
        self, epoch: int, next_seq: int, frame_hash: bytes, *, bytes_max: int, upto_seq: int = SEQUENCE_MAX
    ) -> Chunk | None: ...

    def begin(self, seq: int = 0, *, bytes_max: int) -> Chunk | None: ...

    def begins_after(self, epoch: int) -> int | None: ...

    def end_before(self, seq: int, frame_hash: bytes) -> SealedEnd | None: ...

    def close(self) -> None: ...


class LocalPieces:
    """See the module.

    Args:
        opens: Opens a stream.
        part_of: Gives some of a chunk's frames; as storage/replicas/chunk_part.py, where frames are real.
    """

    def __init__(self, opens: Callable[[StreamId], Source], *, part_of: PartOf = part_of) -> None:
        self._opens = opens
        self.part_of = part_of
        self._sources: OrderedDict[StreamId, Source] = OrderedDict()

    @classmethod
    def in_files(cls, directory: Callable[[StreamId], Path], *, disk: Disk | None = None) -> LocalPieces:
        """Of streams in their directories.

        Args:
            directory: Where a stream is.
        """
        return cls(lambda stream: ChunkSource(directory(stream), stream, disk=disk or OsDisk()))

    def cut(
        self, stream: StreamId, place: Place, *, bytes_max: int, upto_seq: int = SEQUENCE_MAX
    ) -> tuple[Chunk, StreamHead] | Nothing | Gone | Parted | Failed:
        """The chunk that begins at a place, and how far the stream was held then.

        Args:
            place: EMPTY: the oldest that is kept.
            bytes_max: Of frames; a single one that is larger is a chunk of its own.
            upto_seq: It ends there at the latest.
        """
        try:
            source = self._source(stream)
            head = source.head()
            chunk = _with_end(source, self._chunk(source, place, bytes_max, upto_seq))
        except OtherHistory:
            return self._later_epoch(stream, place, bytes_max)
        except CursorExpired:
            return Gone()
        except (LogDamaged, OSError) as error:
            self.forget(stream)
            return Failed(reason=str(error), is_here=True)
        return Nothing() if chunk is None or chunk.next_seq == chunk.first_seq else (chunk, head)

    def has(self, stream: StreamId, place: Place) -> bool:
        """Whether a place lies on the history that is held here: taken so of what is older than that, and not of what can't be read."""
        try:
            source = self._source(stream)
            source.after(place.epoch, place.next_seq, place.hash, bytes_max=1)
            return place.next_seq <= source.head().next_seq
        except OtherHistory:
            return False
        except CursorExpired:
            return True
        except (LogDamaged, OSError):
            self.forget(stream)
            return False

    def segment_at(self, stream: StreamId, seq: int, *, bytes_max: int) -> Chunk | Failed | None:
        """The first piece of the segment that holds a sequence, or of the oldest that is kept; None where nothing is."""
        try:
            return self._source(stream).begin(seq, bytes_max=bytes_max)
        except (LogDamaged, CursorExpired, OSError) as error:
            self.forget(stream)
            return Failed(reason=str(error), is_here=True)

    def forget(self, stream: StreamId) -> None:
        """Opens a stream anew the next time: it was renamed, or can't be read."""
        source = self._sources.pop(stream, None)
        if source is not None:
            source.close()

    def close(self) -> None:
        for stream in list(self._sources):
            self.forget(stream)

    def _chunk(self, source: Source, place: Place, bytes_max: int, upto_seq: int) -> Chunk | None:
        if place == EMPTY:
            return source.begin(bytes_max=bytes_max)
        try:
            return source.after(
                place.epoch, place.next_seq, place.hash, bytes_max=bytes_max, upto_seq=upto_seq
            )
        except OtherHistory as other:
            if other.fork is not None:
                raise
            # The writer began a later epoch before that place: whoever holds the earlier one goes on from there.
            return source.after(*other.place, bytes_max=bytes_max)

    def _later_epoch(
        self, stream: StreamId, place: Place, bytes_max: int
    ) -> tuple[Chunk, StreamHead] | Nothing | Parted | Failed:
        """Where the region has another branch of an epoch, the next epoch begins anew: its first segment says what it continues."""
        try:
            source = self._source(stream)
            first_seq = source.begins_after(place.epoch)
            if first_seq is None:
                return Parted()
            head, chunk = source.head(), _with_end(source, source.begin(first_seq, bytes_max=bytes_max))
        except (LogDamaged, CursorExpired, OSError) as error:
            self.forget(stream)
            return Failed(reason=str(error), is_here=True)
        return Nothing() if chunk is None or chunk.next_seq == chunk.first_seq else (chunk, head)

    def _source(self, stream: StreamId) -> Source:
        source = self._sources.get(stream)
        if source is None:
            source = self._sources[stream] = self._opens(stream)
            while len(self._sources) > SOURCE_COUNT_MAX:
                self._sources.popitem(last=False)[1].close()
        self._sources.move_to_end(stream)
        return source


def _with_end(source: Source, chunk: Chunk | None) -> Chunk | None:
    """A chunk that begins a segment, with the end of the segment before: that one may have been sealed after its last frame was shipped."""
    if chunk is None or chunk.header_page is None:
        return chunk
    return msgspec.structs.replace(chunk, end_before=source.end_before(chunk.first_seq, chunk.prev_hash))
