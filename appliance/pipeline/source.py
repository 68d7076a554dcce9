"""Blocks behind a cursor: whole ones, in order, enough for a batch, and none that doesn't follow from the last.

In the pipeline's thread, like everything that blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.core.errors import CursorBeyondHead, LogDamaged, StorageError
from appliance.core.limits import BATCH_BYTES_MAX
from storage.log.block import Block
from storage.log.columns import Columns
from storage.log.source import LogSource
from storage.telemetry.batch import Cursor


class BlockSource:
    """Reads ahead of one pipeline.

    Attributes:
        head_seq: The durable head's next sequence when it was last looked at.
    """

    def __init__(self, reader: LogSource) -> None:
        self._reader = reader
        self._ahead: list[Block] = []
        self.head_seq = 1

    def look(self) -> int:
        """Look at the durable head; it stays as it was while it can't be read (reading on will say what is wrong)."""
        try:
            self.head_seq = self._reader.head().next_seq
        except LogDamaged:
            return self.head_seq
        return self.head_seq

    def first_seq(self) -> int:
        """The oldest record that is kept."""
        return self._reader.first_seq()

    def forget(self) -> None:
        """The cursor is about to be somewhere else."""
        self._ahead = []

    def give_back(self, blocks: Sequence[Block]) -> None:
        """Blocks that were read but not used; the next read begins with them."""
        self._ahead = [*blocks, *self._ahead]

    def read(
        self, cursor: Cursor, messages: int, until_seq: int | None = None
    ) -> tuple[list[Block], list[Columns]]:
        """Blocks from the cursor on, with their columns, until they hold that many messages or a batch's bytes.

        Args:
            until_seq: The first sequence of a block that is not wanted yet.
        Returns:
            None of them at the head, or at `until_seq`.
        Raises:
            CursorBeyondHead: the cursor is past the head, or the log doesn't go on where it stands.
            CursorExpired: what follows the cursor is no longer kept.
            LogDamaged: the very next records can't be read; what stands before damage is given out first.
        """
        blocks: list[Block] = []
        count = size = 0
        while count < messages and size < BATCH_BYTES_MAX:
            if not self._ahead and not self._read_ahead(cursor, blocks):
                break
            if until_seq is not None and self._ahead[0].first_seq >= until_seq:
                break
            block = self._ahead.pop(0)
            blocks.append(block)
            count += block.record_count
            size += len(block.body)
        return self._decode(blocks)

    def _read_ahead(self, cursor: Cursor, blocks: Sequence[Block]) -> bool:
        """Read what follows the blocks (or the cursor). False when there is nothing, or nothing readable, yet."""
        self.head_seq = self._reader.head().next_seq
        seq = blocks[-1].next_seq if blocks else cursor.next_seq
        if blocks and seq >= self.head_seq:
            return False
        try:
            self._ahead = self._reader.read(seq, bytes_max=BATCH_BYTES_MAX // 2)
        except StorageError:
            # What stands before it comes first; the next turn meets the error again, with nothing before it.
            if blocks:
                return False
            raise
        if self._ahead and not blocks:
            _check_chain(cursor, self._ahead[0])
        return bool(self._ahead)

    def _decode(self, blocks: list[Block]) -> tuple[list[Block], list[Columns]]:
        """The columns of all blocks, or of those before one that can't be decoded."""
        columns: list[Columns] = []
        for block in blocks:
            try:
                columns.append(block.columns())
            except LogDamaged as error:
                if not columns:
                    raise LogDamaged(
                        error.message, first_seq=block.first_seq, next_seq=block.next_seq, hint=error.hint
                    ) from error
                break
        self.give_back(blocks[len(columns) :])
        return blocks[: len(columns)], columns


def _check_chain(cursor: Cursor, block: Block) -> None:
    """The block that follows must be the one that followed: not the log of another box, nor another branch."""
    if block.first_seq != cursor.next_seq or (cursor.hash and block.prev_hash != cursor.hash):
        raise CursorBeyondHead(
            f"The log does not go on where the store left off, at record {cursor.next_seq}.",
            hint="The log was replaced. To fill the store from this one, move telemetry.duckdb away and restart.",
            code="cursor_mismatch",
        )
