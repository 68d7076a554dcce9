"""A look into the log for those who are fed from it: a few reads are kept unpacked, for the next slice and for others who are
at the same place.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import trio

from appliance.core.errors import CursorExpired, LogDamaged, StorageError
from storage.log.block import Block
from storage.log.columns import Columns

from .delivery import Delivery

READ_BYTES: Final = 512 * 1024
"""Read from the log at a time."""
CACHED_CHUNK_COUNT_MAX: Final = 4
"""Reads kept; about 1 MiB each, unpacked."""
Chunk: TypeAlias = list[tuple[Block, Columns]]
"""Blocks as one read gave them, in order, unpacked."""


class BlockSource(Protocol):
    """What is needed of `storage.log.LogReader`."""

    def read(self, seq: int, *, bytes_max: int) -> list[Block]: ...

    def first_seq(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Slice:
    """Records of one block, by sequence."""

    block: Block
    columns: Columns
    seqs: range

    def message(self, index: int) -> Delivery:
        """The message at a place of the block."""
        return _message(self.block, self.columns, index)


class LogWindow:
    """See the module's docstring. Reading is done in a thread."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self._chunks: deque[Chunk] = deque(maxlen=CACHED_CHUNK_COUNT_MAX)

    def clear(self) -> None:
        """Nobody needs what is kept."""
        self._chunks.clear()

    def skip(self, seq: int, error: CursorExpired | LogDamaged, durable_next_seq: int) -> int:
        """Where to go on behind what can't be read at `seq`."""
        after = error.next_seq if isinstance(error, LogDamaged) else self._source.first_seq()
        return after if after > seq else durable_next_seq

    async def message(self, seq: int) -> Delivery:
        """The message of one record.

        Raises:
            CursorExpired: the log no longer holds it.
            LogDamaged: it can't be read.
            StorageError: the disk fails.
        """
        for block, columns in await self._chunk_at(seq):
            if block.first_seq <= seq < block.next_seq:
                return _message(block, columns, seq - block.first_seq)
        raise LogDamaged(f"Record {seq} is not where it should be.", first_seq=seq, next_seq=seq + 1)

    async def slice(self, seq: int, count: int, stop_seq: int) -> list[Slice]:
        """Up to `count` records from `seq` on, of whole blocks before `stop_seq`; at least one.

        Raises:
            As `message`.
        """
        found: list[Slice] = []
        for block, columns in await self._chunk_at(seq):
            if block.next_seq <= seq:
                continue
            if block.next_seq > stop_seq or count <= 0:
                break
            seqs = range(seq, min(block.next_seq, seq + count))
            found.append(Slice(block, columns, seqs))
            count -= len(seqs)
            seq = seqs.stop
        return found

    async def _chunk_at(self, seq: int) -> Chunk:
        for chunk in self._chunks:
            if chunk[0][0].first_seq <= seq < chunk[-1][0].next_seq:
                return chunk
        chunk = await trio.to_thread.run_sync(self._read, seq)
        if not chunk:
            raise LogDamaged(f"Record {seq} is not where it should be.", first_seq=seq, next_seq=seq + 1)
        self._chunks.append(chunk)
        return chunk

    def _read(self, seq: int) -> Chunk:
        try:
            blocks = self._source.read(seq, bytes_max=READ_BYTES)
        except OSError as error:
            raise StorageError(
                f"The log can't be read at {seq}: {error}.", hint="Look at the disk."
            ) from error
        return [(block, block.columns()) for block in blocks]


def _message(block: Block, columns: Columns, index: int) -> Delivery:
    flags = columns.flags[index]
    return Delivery(
        seq=block.first_seq + index,
        client=columns.clients[columns.client_index[index]],
        topic=columns.topics[columns.topic_index[index]],
        payload=columns.payload(index),
        properties=columns.published_properties(index),
        qos=flags >> 1 & 3,
        is_retained=bool(flags & 1),
        received_at_ms=block.first_time_ms + columns.received_delta_ms[index],
    )
