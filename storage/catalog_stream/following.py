"""Reads another node's `catalog` stream from the copy of it that is here, on from where it was taken over. Blocks; for one thread at a time.

The copy may be another log than before (its node began a new epoch, or was restored and went on elsewhere): then what was read last is not
what stands there, and all of it is read again. That costs time and changes nothing that is known: a record that comes twice does nothing.
Damage is waited for: the copy is mended from another holder. What is gone from its beginning is passed over, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.core.errors import CursorBeyondHead, CursorExpired
from appliance.core.limits_catalog_stream import MERGE_RECORD_COUNT_MAX
from storage.catalog.merging import Arrived, Followed
from storage.catalog_stream.record import ROW_CHANGED, CatalogRecordError, decode_change
from storage.log.block import Block
from storage.log.head import Head
from storage.log.reader import LogReader

STREAM = "catalog"
READ_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Records to take over, and how far the stream is followed with them.

    Attributes:
        is_anew: The copy is another log than before: it is read from its beginning.
        passed_over: Records that are no longer there.
    """

    stream: Followed
    records: tuple[Arrived, ...]
    is_anew: bool = False
    passed_over: int = 0


class CopyReader:
    """One node's copy.

    Args:
        node_id: Whose stream it is, 32 hex digits.
        directory: Of the copy; it need not exist yet.
    """

    def __init__(self, node_id: str, directory: Path) -> None:
        self.node_id = node_id
        self.directory = directory
        self._reader = LogReader(directory, stream=STREAM)
        self._blocks: list[Block] = []

    def lag(self, followed: Followed | None) -> int:
        """Records that are here and not taken over. Raises LogDamaged: the head can't be read."""
        return max(0, self._reader.head().next_seq - (followed.next_seq if followed is not None else 1))

    def read(self, followed: Followed | None, *, limit: int = MERGE_RECORD_COUNT_MAX) -> Batch | None:
        """What comes next; None when nothing is there.

        Args:
            followed: As it was written with the last batch; None for a node that was never followed.
            limit: Records in the batch, at least 1.
        Raises:
            LogDamaged, Unavailable: it can't be read now.
        """
        head = self._reader.head()
        if head.next_seq <= 1 and followed is None:
            return None
        at = self._begin() if followed is None else followed.next_seq
        is_anew = followed is not None and (at > head.next_seq or _ends_otherwise(followed, head))
        passed_over = 0
        if is_anew:
            at, self._blocks = 1, []
        try:
            blocks = self._blocks_from(at)
        except CursorExpired:
            first = self._reader.first_seq()
            passed_over, at = first - at, first
            blocks = self._blocks_from(at)
        except CursorBeyondHead:
            return None  # The head moved back between two looks; the next one sees it.
        if not blocks:
            return None
        if followed is not None and not is_anew and not passed_over and not _continues(followed, blocks[0]):
            is_anew, at, self._blocks = True, max(1, self._reader.first_seq()), []
            blocks = self._blocks_from(at)
        return self._batch(blocks[0], at, limit, is_anew, passed_over)

    def _begin(self) -> int:
        """What is before a branch of a fork is in the stream that it parts from, and not gone."""
        return self._reader.first_seq() if ".fork-" in self.directory.name else 1

    def close(self) -> None:
        """Let go of the files."""
        self._blocks = []
        self._reader.close()

    def _blocks_from(self, at: int) -> list[Block]:
        self._blocks = [block for block in self._blocks if block.next_seq > at]
        if not self._blocks or self._blocks[0].first_seq > at:
            self._blocks = self._reader.read(at, bytes_max=READ_BYTES)
        return self._blocks

    def _batch(self, block: Block, at: int, limit: int, is_anew: bool, passed_over: int) -> Batch:
        columns = block.columns()
        first = at - block.first_seq
        end = min(len(columns), first + limit)
        payloads = columns.payloads()
        records = tuple(
            self._arrived(block.first_seq + n, payloads[n])
            for n in range(first, end)
            if columns.kinds[n] == ROW_CHANGED
        )
        next_seq = block.first_seq + end
        stream = Followed(
            node_id=self.node_id,
            epoch=block.epoch,
            next_seq=next_seq,
            hash=block.hash if next_seq == block.next_seq else b"",
        )
        return Batch(stream=stream, records=records, is_anew=is_anew, passed_over=passed_over)

    def _arrived(self, seq: int, payload: bytes) -> Arrived:
        return read_record(seq, payload, self.node_id)


def read_record(seq: int, payload: bytes, node_id: str) -> Arrived:
    """What a record says, or why it can't be understood."""
    try:
        return Arrived(seq=seq, payload=payload, change=decode_change(payload, origin=node_id))
    except CatalogRecordError as error:
        return Arrived(seq=seq, payload=payload, change=None, refused=error.message, is_newer=error.is_newer)


def _ends_otherwise(followed: Followed, head: Head) -> bool:
    """Whether another log ends at the very record up to which this one was taken over."""
    return bool(followed.hash) and head.next_seq == followed.next_seq and head.hash != followed.hash


def _continues(followed: Followed, block: Block) -> bool:
    """Whether a block follows, or goes on with, what was taken over."""
    if followed.hash and block.first_seq == followed.next_seq:
        return block.prev_hash == followed.hash
    return block.epoch == followed.epoch
