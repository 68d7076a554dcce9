"""Reading for others and appending for ourselves: effects become calls of storage, and their errors become words. Blocks.

Two halves, each for one thread at a time: whoever reads a backlog for a peer holds up nothing that is to be stored here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from appliance.core.errors import CursorExpired, LogDamaged, LogFull, RemoteProtocolError, StorageError
from replication.effects import Append, AppendReason, KeepFork, NotThere, PackedChunk, Place, Read, Refused
from replication.gossip.state import NOTHING
from replication.packing import pack, unpack
from storage.log.disk import Disk
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.errors import OtherHistory, Refusal, ReplicaRefused
from storage.replicas.forks import ForkEvidence
from storage.replicas.room import ReplicaRoom
from storage.replicas.streams import Chunk, StreamHead, StreamId

SOURCE_COUNT_MAX: Final = 64
"""Streams that are open for reading: a few descriptors each."""
_REASONS: Final[Mapping[Refusal, AppendReason]] = {
    Refusal.GAP: "gap",
    Refusal.FORK: "fork",
    Refusal.DAMAGED: "damaged",
    Refusal.NOT_SEALED: "damaged",
}
log = structlog.get_logger(__name__)


class Reading:
    """Chunks of own logs and of copies.

    Args:
        directory: Where a stream is.
    """

    def __init__(self, directory: Callable[[StreamId], Path], *, disk: Disk | None = None) -> None:
        self._directory = directory
        self._disk = disk
        self._sources: OrderedDict[StreamId, ChunkSource] = OrderedDict()

    def head(self, stream: StreamId) -> StreamHead:
        """How far a stream is held, durably.

        Raises:
            StorageError, OSError: it can't be read.
        """
        return self._source(stream).head()

    def read(self, effect: Read) -> PackedChunk | NotThere:
        """The chunk that is asked for, packed; or why there is none."""
        try:
            chunk = self._chunk(effect)
        except OtherHistory as other:
            return NotThere(reason="parted", hash=other.fork.ours if other.fork is not None else b"")
        except CursorExpired:
            return NotThere(reason="expired")
        except (LogDamaged, OSError) as error:
            log.warning("a piece of a stream can't be read", stream=str(effect.stream), error=str(error))
            self.forget(effect.stream)
            return NotThere(reason="damaged")
        return NotThere(reason="nothing") if chunk is None else pack(chunk)

    def forget(self, stream: StreamId) -> None:
        """Opens a stream anew the next time: it was renamed, or can't be read."""
        source = self._sources.pop(stream, None)
        if source is not None:
            source.close()

    def close(self) -> None:
        for stream in list(self._sources):
            self.forget(stream)

    def _chunk(self, effect: Read) -> Chunk | None:
        source, place = self._source(effect.stream), effect.place
        if effect.wanted == "footer":
            return source.footer_after(place.next_seq)
        if effect.wanted == "segment":
            return source.begin(max(1, place.next_seq - 1), bytes_max=effect.bytes_max)
        if not place.epoch:
            return source.begin(bytes_max=effect.bytes_max)
        try:
            return source.after(place.epoch, place.next_seq, place.hash, bytes_max=effect.bytes_max)
        except OtherHistory as other:
            if other.fork is not None:
                raise
            # The writer began a later epoch before that place: whoever asks goes on from there. It is asked for from the epoch before, so
            # that it is given though nothing is written in it yet: "nothing" would say that what was asked for lies on this history.
            epoch, next_seq, continues = other.place
            return source.after(epoch - 1, next_seq, continues, bytes_max=effect.bytes_max)

    def _source(self, stream: StreamId) -> ChunkSource:
        source = self._sources.get(stream)
        if source is None:
            source = self._sources[stream] = ChunkSource(self._directory(stream), stream, disk=self._disk)
            while len(self._sources) > SOURCE_COUNT_MAX:
                self._sources.popitem(last=False)[1].close()
        self._sources.move_to_end(stream)
        return source


class Writing:
    """Copies of others' streams."""

    def __init__(self, room: ReplicaRoom) -> None:
        self.room = room
        self._branches: list[tuple[StreamId, StreamHead]] = []

    def append(self, effect: Append) -> StreamHead | Refused:
        """Verifies a chunk and appends it to its copy; durable when this returns a head."""
        stream = effect.chunk.stream
        try:
            before = self.room.log(stream).head()
            head = self.room.append(unpack(effect.chunk), begins=True)
            if before.epoch and head.epoch > before.epoch:
                self._look_for_branches(stream)
            return head
        except RemoteProtocolError as error:
            return self._refused(stream, "damaged", error.message)
        except ReplicaRefused as refused:
            fork = refused.fork
            log.warning("a piece of a stream is refused", stream=str(stream), reason=refused.message)
            return Refused(
                reason=_REASONS.get(refused.reason, "refused"),
                head=refused.head if refused.head.epoch else NOTHING,
                fork_place=Place(epoch=fork.epoch, next_seq=fork.seq, hash=fork.ours) if fork else None,
                fork_hash=fork.theirs if fork else b"",
            )
        except LogFull as error:
            return self._refused(stream, "full", error.message)
        except (StorageError, OSError) as error:
            return self._refused(stream, "failed", str(error))

    def take_branches(self) -> list[tuple[StreamId, StreamHead]]:
        """Branches of streams of which a later epoch began: what it replaced may have become one. They are given once."""
        found, self._branches = self._branches, []
        return found

    def _look_for_branches(self, stream: StreamId) -> None:
        self._branches += [
            (other, self.room.log(other).head())
            for other in self.room.streams()
            if other.branch and (other.node_id, other.name) == (stream.node_id, stream.name)
        ]

    def keep_fork(self, effect: KeepFork, now_ms: int) -> None:
        """Makes evidence durable.

        Raises:
            StorageError, OSError: it can't be written.
        """
        place = effect.place
        evidence = ForkEvidence(
            epoch=place.epoch,
            next_seq=place.next_seq,
            hash=place.hash,
            other_hash=effect.other_hash,
            found_at_ms=now_ms,
        )
        self.room.keep_fork(effect.stream, evidence)

    def _refused(self, stream: StreamId, reason: AppendReason, why: str) -> Refused:
        log.warning("a piece of a stream is not appended", stream=str(stream), reason=why)
        try:
            head = self.room.log(stream).head()
        except (StorageError, OSError):
            head = NOTHING  # it is opened anew, and found out, with the next piece
        return Refused(reason=reason, head=head if head.epoch else NOTHING)
