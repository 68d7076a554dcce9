"""A batch that doesn't add up is refused: each record is in exactly one count, and each row in the batch."""

from __future__ import annotations

from appliance.core.errors import StorageError
from storage.telemetry.batch import Counts, StoreBatch


def check_counts(batch: StoreBatch, *, is_replay: bool = False) -> None:
    """Refuse a batch in which a record is in no row, no dead letter and no other count, or in two of them.

    Args:
        is_replay: Its records were read before, the cursor doesn't move.
    Raises:
        StorageError: with the numbers.
    """
    counts: Counts = batch.counts
    span = batch.after.next_seq - batch.before.next_seq
    rows = sum(map(len, batch.numbers.values())) + sum(map(len, batch.texts.values()))
    uneven = [number for number, (records, accounted) in enumerate(batch.blocks) if records != accounted]
    if (
        uneven
        or counts.accounted != counts.records
        or sum(records for records, _ in batch.blocks) != counts.records
        or (span != 0 if is_replay else span < counts.records)
        or rows != counts.rows
        or len(batch.dead_letters) != counts.dead_letters
    ):
        raise StorageError(
            f"A batch does not add up: {counts}, {rows} rows, {len(batch.dead_letters)} dead letters, "
            f"{span} sequences, uneven blocks {uneven}.",
            hint="This is a defect of Homeport; nothing was written. Please report it with this message.",
            code="batch_uneven",
        )
