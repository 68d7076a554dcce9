"""Rows of the outbox as blocks of the stream. Pure.

Rows of one transaction stay in one block; one that is larger than a block may be is split, and the flag of its last row says where it
ends (record.py). A row alone may be larger than 512 KiB, as a record of the log may.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from appliance.core.limits import FRAME_BYTES_MAX, KIB
from storage.catalog.rows import OutboxRow
from storage.catalog_stream.record import ROW_CHANGED, CatalogRecordError, encode_change
from storage.log.columns import encode_columns

BATCH_BYTES_MAX: Final = FRAME_BYTES_MAX - 16 * KIB
"""Payloads of one block, which leaves room for its columns: 1,000 rows have 30 bytes each beside them."""
BATCH_ROW_COUNT_MAX: Final = 1_000
_COUNTER_BITS: Final = 16
_DELTA_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One block's worth. Times are wall time, ms; `position` is its last row's."""

    position: int
    record_count: int
    body: bytes
    first_time_ms: int
    last_time_ms: int


@dataclass(frozen=True, slots=True)
class Batches:
    """What a part of the outbox becomes.

    Args:
        position: Everything up to there is in them, or left out.
        left_out: Positions of rows that are larger than a record may be, with the reason.
    """

    batches: tuple[Batch, ...]
    position: int
    left_out: tuple[tuple[int, str], ...]


def make_batches(rows: Sequence[OutboxRow], *, is_all: bool) -> Batches:
    """Blocks of these rows, in order.

    Args:
        rows: Of the outbox, oldest first, at least one.
        is_all: The outbox has no more behind them. Otherwise the last transaction may go on there: it is left for next time,
            unless there is no other.
    """
    transactions = [list(group) for _, group in groupby(rows, key=lambda row: row.hlc)]
    is_cut = not is_all and len(transactions) == 1
    if not is_all and not is_cut:
        transactions.pop()
    left_out: list[tuple[int, str]] = []
    batches: list[Batch] = []
    waiting: list[tuple[OutboxRow, bytes]] = []
    for transaction in transactions:
        records = list(_records(transaction, is_cut, left_out))
        if waiting and not _fits(waiting, records):
            batches.append(_batch(waiting))
            waiting = []
        for record in records:
            if waiting and not _fits(waiting, [record]):
                batches.append(_batch(waiting))
                waiting = []
            waiting.append(record)
    if waiting:
        batches.append(_batch(waiting))
    return Batches(tuple(batches), transactions[-1][-1].position, tuple(left_out))


def _records(
    transaction: list[OutboxRow], is_cut: bool, left_out: list[tuple[int, str]]
) -> Iterator[tuple[OutboxRow, bytes]]:
    for number, row in enumerate(transaction, 1):
        try:
            yield row, encode_change(row, ends_transaction=number == len(transaction) and not is_cut)
        except CatalogRecordError as error:
            left_out.append((row.position, error.message))


def _fits(waiting: list[tuple[OutboxRow, bytes]], more: list[tuple[OutboxRow, bytes]]) -> bool:
    size = sum(len(payload) for _, payload in (*waiting, *more))
    return size <= BATCH_BYTES_MAX and len(waiting) + len(more) <= BATCH_ROW_COUNT_MAX


def _batch(records: list[tuple[OutboxRow, bytes]]) -> Batch:
    times_ms = [row.hlc >> _COUNTER_BITS for row, _ in records]
    count, first_ms = len(records), min(times_ms)
    zeros = array("H", bytes(2 * count))
    body = encode_columns(
        kinds=bytes([ROW_CHANGED]) * count,
        flags=bytes(count),
        clients=[("", "")],
        client_index=zeros,
        topics=[b""],
        topic_index=zeros,
        packet_ids=zeros,
        received_delta_ms=array("I", (min(at_ms - first_ms, _DELTA_MAX) for at_ms in times_ms)),
        payloads=[payload for _, payload in records],
        properties={},
    )
    return Batch(
        position=records[-1][0].position,
        record_count=count,
        body=body,
        first_time_ms=first_ms,
        last_time_ms=max(times_ms),
    )
