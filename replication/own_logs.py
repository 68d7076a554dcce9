"""This node's own streams, as their writers leave them on the disk: how far they are, seen without asking anybody. For trio.

A log's head file is mapped, so a look costs some microseconds. What it doesn't tell (where the log begins, what is sealed) is looked for
in the folder when another segment is begun, and each second while one waits to be sealed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import LogDamaged, StorageError
from replication.disk_work import Reading
from replication.gossip.state import NOTHING
from storage.log.head import Head
from storage.log.names import parse_segment_name
from storage.log.reader import LogReader
from storage.replicas.streams import StreamHead, StreamId

SEALED_LOOK_MS: Final = 1_000
"""So often it is looked whether a segment was sealed, which the head doesn't tell, while one waits to be."""
AGE_MS_MAX: Final = 86_400_000
"""The age of what was not known to be safe when the process began, at most: clocks jump."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """An own stream has grown, or what is told of it has changed.

    Args:
        age_ms: Of its newest frame, where it was there before this process.
    """

    stream: StreamId
    head: StreamHead
    age_ms: int


class OwnLogs:
    """See the module.

    Args:
        directories: Of the streams; they need not exist yet.
        one_reads: Bounds the threads that use `reading` to one.
        away_ms: How long ago it was last known how far they are: what is new since then may be as old.
    """

    def __init__(
        self,
        directories: Mapping[StreamId, Path],
        reading: Reading,
        clock: Clock,
        one_reads: trio.CapacityLimiter,
        away_ms: int = 0,
    ) -> None:
        self._directories = directories
        self._reading = reading
        self._clock = clock
        self._one_reads = one_reads
        self._away_ms = away_ms
        self._logs = {
            stream: LogReader(directory, stream=stream.name) for stream, directory in directories.items()
        }
        self._seen: dict[StreamId, Head] = {}
        self._told: dict[StreamId, StreamHead] = {}
        self._look_at_ms: dict[StreamId, int] = {}
        self._damaged: set[StreamId] = set()

    async def look(self) -> AsyncIterator[Grown]:
        """Those that have grown since the last look."""
        for stream, reader in self._logs.items():
            try:
                head = reader.head()
                if head.epoch and (head != self._seen.get(stream) or self._is_due(stream)):
                    yield await self._grown(stream, head)
                self._damaged.discard(stream)
            except (StorageError, LogDamaged, OSError) as error:
                if stream not in self._damaged:
                    self._damaged.add(stream)
                    log.error("an own log can't be read", stream=str(stream), error=str(error))

    def sizes(self) -> dict[StreamId, int]:
        """Bytes of each on the disk. Blocks.

        Raises:
            OSError: a folder can't be read.
        """
        sizes = {}
        for stream, directory in self._directories.items():
            sizes[stream] = 0
            for path in directory.iterdir() if directory.is_dir() else ():
                if parse_segment_name(path.name):
                    with suppress(FileNotFoundError):  # it was sealed meanwhile, and has another name
                        sizes[stream] += path.stat().st_size
        return sizes

    def close(self) -> None:
        for reader in self._logs.values():
            reader.close()

    def _is_due(self, stream: StreamId) -> bool:
        at_ms = self._look_at_ms.get(stream)
        return at_ms is not None and self._clock.mono_ms() >= at_ms

    async def _grown(self, stream: StreamId, head: Head) -> Grown:
        before, told, age_ms = self._seen.get(stream), self._told.get(stream, NOTHING), 0
        is_next_segment = before is None or before.segment_first_seq != head.segment_first_seq
        if is_next_segment or self._is_due(stream):
            told = await trio.to_thread.run_sync(self._reading.head, stream, limiter=self._one_reads)
            self._look_at_ms.pop(stream, None)
            if told.sealed_seq < head.segment_first_seq:
                self._look_at_ms[stream] = self._clock.mono_ms() + SEALED_LOOK_MS
        now_ms = self._clock.now_ms()
        if before is None and told.last_at_ms:
            age_ms = min(AGE_MS_MAX, max(0, now_ms - told.last_at_ms, self._away_ms))
        self._seen[stream] = head
        told = StreamHead(
            head.epoch, head.next_seq, head.hash, told.first_seq, told.sealed_seq, now_ms - age_ms
        )
        self._told[stream] = told
        return Grown(stream=stream, head=told, age_ms=age_ms)
