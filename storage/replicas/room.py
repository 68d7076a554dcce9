"""All copies that a box keeps of others' streams: found, opened, appended to, kept within bounds.

Theory of operation: `data_dir/replicas/NODE/STREAM` for each. A copy is opened when it is needed and closed when it wasn't for long; one
that broke is opened again, which proves from the disk what there is. Copies give way before this node's own data does: nothing is
appended while the disk is at the level hold, and their oldest segments go first while it is low.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.clock import Clock
from appliance.core.errors import LogFull
from storage.log.disk import Disk, OsDisk
from storage.log.disk_level import DiskLevel, DiskLevels
from storage.log.dropped import DroppedRange, read_dropped
from storage.log.layout import sha256
from storage.log.manifest import read_manifest
from storage.log.names import parse_segment_name
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.forks import ForkEvidence, keep_fork, read_forks
from storage.replicas.keeping import CopyBounds, CopySize, Removal, SealedPart, choose_removals
from storage.replicas.replica_log import ReplicaLog
from storage.replicas.streams import STREAM_NAMES, Chunk, StreamHead, StreamId, is_node_id

FOLDER: Final = "replicas"
OPEN_COPY_COUNT_MAX: Final = 64
"""Each has three descriptors; more copies than that are opened in turn."""
LEVEL_INTERVAL_MS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyStatus:
    """One copy, as pages and commands show it.

    Args:
        dropped: What of the stream is not here, and by which rule.
        forks: Places at which two histories are known.
    """

    stream: StreamId
    head: StreamHead
    bytes: int
    dropped: tuple[DroppedRange, ...]
    forks: int


class ReplicaRoom:
    """The copies below one folder. For one thread at a time.

    Args:
        root: `data_dir/replicas`; made with the first copy.
        keys: Public keys that may have signed a stream's footers; None takes the first that did, for each epoch.
        needed_seq: From where on this node itself has still to read a copy.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock,
        disk: Disk | None = None,
        keys: Callable[[StreamId], Collection[bytes]] | None = None,
        needed_seq: Callable[[StreamId], int] = lambda stream: 2**63 - 1,
        levels: DiskLevels | None = None,
        bounds: CopyBounds | None = None,
    ) -> None:
        self.root = root
        self._clock = clock
        self._disk = disk or OsDisk()
        self._keys = keys
        self._needed_seq = needed_seq
        self._levels = levels or DiskLevels()
        self._bounds = bounds or CopyBounds()
        self._open: OrderedDict[StreamId, ReplicaLog] = OrderedDict()
        self._sources: OrderedDict[StreamId, ChunkSource] = OrderedDict()
        self._level = DiskLevel.OK
        self._level_mono_ms: int | None = None

    def directory(self, stream: StreamId) -> Path:
        """Where the copy of a stream is, or would be."""
        assert is_node_id(stream.node_id)
        assert stream.name in STREAM_NAMES
        return (
            self.root / stream.node_id / (stream.name + (f".fork-{stream.branch}" if stream.branch else ""))
        )

    def streams(self) -> list[StreamId]:
        """All streams of which there is a copy, branches among them, in order.

        Raises:
            OSError: a folder can't be read.
        """
        found = []
        for node_id in self._names(self.root):
            if is_node_id(node_id):
                for name in self._names(self.root / node_id):
                    base, _, branch = name.partition(".fork-")
                    found += [StreamId(node_id, known, branch) for known in STREAM_NAMES if known == base]
        return sorted(found)

    def log(self, stream: StreamId) -> ReplicaLog:
        """The copy of a stream, open; made where there is none.

        Raises:
            As `ReplicaLog.open`.
        """
        log = self._open.get(stream)
        if log is not None and log.is_broken:
            log.close()
            del self._open[stream]
            log = None
        if log is None:
            keys = self._keys
            log = ReplicaLog.open(
                self.directory(stream),
                stream,
                clock=self._clock,
                disk=self._disk,
                keys=(lambda: keys(stream)) if keys is not None else None,
            )
            self._open[stream] = log
            while len(self._open) > OPEN_COPY_COUNT_MAX:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(stream)
        return log

    def append(self, chunk: Chunk, *, begins: bool = False) -> StreamHead:
        """Appends a piece to the copy of its stream.

        Args:
            begins: The source has nothing older: an empty copy may begin with it.
        Raises:
            ReplicaRefused: it isn't the next piece. LogFull: the disk is too full. LogBroken: the disk failed.
        """
        if self.level() >= DiskLevel.HOLD:
            raise LogFull(
                "The disk is too full for copies of other nodes' data.",
                hint="Free space on this disk; copies go on by themselves then.",
            )
        log = self.log(chunk.stream)
        if begins and log.is_empty and chunk.segment_first_seq > 1:
            return log.begin(chunk)
        return log.append(chunk)

    def source(self, stream: StreamId) -> ChunkSource:
        """Pieces of a copy, for others."""
        source = self._sources.get(stream)
        if source is None:
            source = self._sources[stream] = ChunkSource(self.directory(stream), stream, disk=self._disk)
            while len(self._sources) > OPEN_COPY_COUNT_MAX:
                self._sources.popitem(last=False)[1].close()
        self._sources.move_to_end(stream)
        return source

    def set_aside(self, stream: StreamId) -> StreamId | None:
        """Keeps a copy that can't be gone on with (what comes next was dropped everywhere) as a branch; gives that.

        None where there is nothing to keep. The branch is named after the last frame; where another copy that ended there has the name,
        by hashes of that, and no branch is ever written over.

        Raises:
            OSError: the disk failed.
        """
        log = self.log(stream)
        if log.is_empty:
            return None
        name = log.head().hash
        branch = StreamId(stream.node_id, stream.name, name.hex()[:8])
        taken = set(self._names(self.root / stream.node_id))
        while self.directory(branch).name in taken:
            name = sha256(name)
            branch = StreamId(stream.node_id, stream.name, name.hex()[:8])
        self._forget(stream)
        self._disk.rename(self.directory(stream), self.directory(branch))
        self._disk.fsync_directory(self.root / stream.node_id)
        return branch

    def keep_fork(self, stream: StreamId, evidence: ForkEvidence) -> bool:
        """Keeps evidence that a stream has two histories; nothing of it is removed any more.

        Raises:
            StorageError, OSError: it can't be written.
        """
        directory = self.directory(stream)
        self._disk.make_directory(directory)
        return keep_fork(self._disk, directory, evidence)

    def forks(self, stream: StreamId) -> list[ForkEvidence]:
        """What is known of a stream's forks.

        Raises:
            StorageError, OSError: it can't be read.
        """
        return read_forks(self._disk, self.directory(stream))

    def level(self) -> DiskLevel:
        """How full the file system is; looked at once a second.

        Raises:
            OSError: it doesn't say.
        """
        now_ms = self._clock.mono_ms()
        if self._level_mono_ms is None or now_ms - self._level_mono_ms >= LEVEL_INTERVAL_MS:
            self._level_mono_ms = now_ms
            self._level = self._levels.after(self._level, self._disk.space(self._there()).used_ratio())
        return self._level

    def keep_house(self) -> list[Removal]:
        """Removes what copies may not keep any longer; gives what went. To be called every few seconds.

        Raises:
            StorageError, OSError: something can't be read or removed; the rest is done next time.
        """
        space = self._disk.space(self._there())
        excess_bytes = self._levels.excess_bytes(space) if self.level() >= DiskLevel.LOW else 0
        copies = [self._size(stream) for stream in self.streams()]
        removals = choose_removals(
            copies, total_bytes=space.total_bytes, excess_bytes=excess_bytes, bounds=self._bounds
        )
        return [each for each in removals if self.log(each.stream).drop_before(each.next_seq, each.rule)]

    def status(self) -> list[CopyStatus]:
        """All copies.

        Raises:
            StorageError, OSError: one can't be read.
        """
        return [
            CopyStatus(
                stream=stream,
                head=self.source(stream).head(),
                bytes=self._bytes(stream),
                dropped=read_dropped(self._disk, self.directory(stream)).ranges,
                forks=len(self.forks(stream)),
            )
            for stream in self.streams()
        ]

    def close(self) -> None:
        for stream in list(self._open):
            self._forget(stream)
        for source in self._sources.values():
            source.close()
        self._sources.clear()

    def _forget(self, stream: StreamId) -> None:
        log, source = self._open.pop(stream, None), self._sources.pop(stream, None)
        if log is not None:
            log.close()
        if source is not None:
            source.close()

    def _size(self, stream: StreamId) -> CopySize:
        directory = self.directory(stream)
        summaries = read_manifest(self._disk, directory) or []
        parts = [
            SealedPart(next_seq=each.last_seq + 1, bytes=each.bytes, last_at_ms=each.last_time_ms)
            for each in summaries[:-1]
        ]
        return CopySize(
            stream=stream,
            parts=tuple(parts),
            bytes=self._bytes(stream),
            last_at_ms=summaries[-1].last_time_ms if summaries else 0,
            needed_seq=self._needed_seq(stream),
            is_kept=bool(stream.branch) or bool(self.forks(stream)),
        )

    def _bytes(self, stream: StreamId) -> int:
        directory = self.directory(stream)
        names = [name for name in self._names(directory) if parse_segment_name(name)]
        return sum(self._disk.file_size(directory / name) for name in names)

    def _there(self) -> Path:
        """A folder of this file system that is there."""
        return next(path for path in (self.root, *self.root.parents) if path.is_dir())

    def _names(self, directory: Path) -> list[str]:
        try:
            return self._disk.names(directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
