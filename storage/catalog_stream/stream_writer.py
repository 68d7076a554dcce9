"""The writer of a node's `catalog` stream: each row of the outbox once, whatever stops it.

What makes it so: a record says the outbox's position, and the log says by its last record how far it is. A row leaves the outbox only
after it is durable in the log; one that was written and did not leave yet is known by its position.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.clock import Clock
from appliance.core.errors import LogDamaged
from appliance.core.limits import MIB
from storage.catalog.rows import OutboxRow
from storage.catalog_stream.batching import make_batches
from storage.catalog_stream.record import ROW_CHANGED, CatalogRecordError, decode_change
from storage.log.block import Block
from storage.log.disk import Disk, OsDisk
from storage.log.names import live_segments, segments_in_order
from storage.log.reader import LogReader
from storage.log.signer import Signer
from storage.log.writer import LogWriter

STREAM: Final = "catalog"
SEGMENT_BYTES: Final = 16 * MIB
"""A day of a busy site. All of the last segment is read at a start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogStreamStatistics:
    """Since it was opened, but for `position`: the last row of the outbox that is in the log."""

    position: int
    blocks_total: int
    records_total: int
    left_out_total: int


class CatalogStreamWriter:
    """Made by `open`. For one thread at a time."""

    def __init__(self, writer: LogWriter, position: int) -> None:
        self._writer = writer
        self.position = position
        """Everything in the outbox up to there is in the log."""
        self._blocks = self._records = self._left_out = 0

    @classmethod
    def open(
        cls, directory: Path, *, node_id: bytes, signer: Signer, clock: Clock, disk: Disk | None = None
    ) -> CatalogStreamWriter:
        """Recovers the stream and finds out how far the outbox is in it. Blocks.

        Raises:
            As `LogWriter.open`.
        """
        writer = LogWriter.open(
            directory,
            stream=STREAM,
            node_id=node_id,
            signer=signer,
            clock=clock,
            disk=disk,
            segment_bytes=SEGMENT_BYTES,
        )
        try:
            return cls(writer, last_position(directory, node_id=node_id, disk=disk))
        except BaseException:
            writer.close()
            raise

    def append(self, rows: list[OutboxRow], *, is_all: bool) -> list[tuple[int, str]]:
        """Writes what of these rows is not in the log yet; when it returns it is on disk. Blocks.

        Args:
            rows: Of the outbox, oldest first, all with positions behind `position`.
            is_all: The outbox has no more.
        Returns:
            Rows that were left out because they are larger than a record may be: position and reason.
        Raises:
            LogFull: there is no room; what was written counts, later is right. LogBroken: open it again.
        """
        assert all(row.position > self.position for row in rows)
        if not rows:
            return []
        made = make_batches(rows, is_all=is_all)
        for batch in made.batches:
            self._writer.append(batch.body, batch.record_count, batch.first_time_ms, batch.last_time_ms)
            self.position = batch.position
            self._blocks += 1
            self._records += batch.record_count
        self.position = made.position
        self._left_out += len(made.left_out)
        return list(made.left_out)

    def seal_if_due(self) -> None:
        """To be called now and then: an idle stream's segment is sealed after an hour too."""
        self._writer.seal_if_due()

    def statistics(self) -> CatalogStreamStatistics:
        """From any thread."""
        return CatalogStreamStatistics(
            position=self.position,
            blocks_total=self._blocks,
            records_total=self._records,
            left_out_total=self._left_out,
        )

    def close(self) -> None:
        self._writer.close()


def last_position(directory: Path, *, node_id: bytes, disk: Disk | None = None) -> int:
    """The greatest position of the outbox that the stream's newest readable records name; 0 of an empty stream.

    Where the last blocks are damaged, it is that of the ones before: rows that are still in the outbox are then written once more,
    which merging takes no harm from.

    Raises:
        OSError: the log can't be read.
    """
    reader = LogReader(directory, stream=STREAM, disk=disk)
    try:
        head = reader.head()
        names = live_segments(segments_in_order((disk or OsDisk()).names(directory)))
        end = head.next_seq
        for name in reversed(names):
            found = _last_between(reader, name.first_seq, end, node_id.hex())
            if found:
                return found
            end = name.first_seq
        return 0
    finally:
        reader.close()


def _last_between(reader: LogReader, seq: int, end: int, origin: str) -> int:
    last = 0
    while seq < end:
        try:
            blocks = reader.read(seq)
        except LogDamaged as error:
            seq = max(error.next_seq, seq + 1)
            continue
        for block in blocks:
            last = max(last, _position_of(block, origin))
        seq = blocks[-1].next_seq
    return last


def _position_of(block: Block, origin: str) -> int:
    """Of the block's last change; 0 where it has none that is understood."""
    try:
        columns = block.columns()
        return max(
            (
                decode_change(payload, origin=origin).position
                for kind, payload in zip(columns.kinds[-1:], columns.payloads()[-1:], strict=True)
                if kind == ROW_CHANGED
            ),
            default=0,
        )
    except (LogDamaged, CatalogRecordError):
        return 0
