"""Rows of the outbox as blocks: transactions stay whole where they fit, and nothing is forgotten."""

from __future__ import annotations

from storage.catalog.rows import OutboxRow
from storage.catalog_stream.batching import BATCH_BYTES_MAX, Batch, make_batches
from storage.catalog_stream.record import decode_change
from storage.log.columns import decode_columns

ORIGIN = "ab" * 16


def row(position: int, transaction: int, size: int = 10) -> OutboxRow:
    return OutboxRow(
        position=position,
        table="settings",
        key=f"k{position}",
        op="insert",
        row='{"value":"' + "x" * size + '"}',
        changed=None,
        hlc=(1_000 + transaction) << 16,
        origin=ORIGIN,
    )


def changes(batch: Batch) -> list[tuple[int, bool]]:
    """(position, ends its transaction) of each record."""
    columns = decode_columns(batch.body)
    assert len(columns) == batch.record_count
    assert set(columns.kinds) == {9}
    decoded = [decode_change(payload, origin=ORIGIN) for payload in columns.payloads()]
    return [(each.position, each.ends_transaction) for each in decoded]


def test_transactions_stand_together_in_a_block() -> None:
    made = make_batches([row(1, 1), row(2, 1), row(3, 2)], is_all=True)
    (batch,) = made.batches
    assert changes(batch) == [(1, False), (2, True), (3, True)]
    assert (made.position, batch.first_time_ms, batch.last_time_ms) == (3, 1_001, 1_002)


def test_the_last_transaction_of_a_part_waits_for_its_rest() -> None:
    made = make_batches([row(1, 1), row(2, 2), row(3, 2)], is_all=False)
    assert [changes(batch) for batch in made.batches] == [[(1, True)]]
    assert made.position == 1


def test_a_transaction_that_is_larger_than_a_part_is_split_and_says_so() -> None:
    made = make_batches([row(1, 1), row(2, 1)], is_all=False)
    assert changes(made.batches[0]) == [(1, False), (2, False)]
    rest = make_batches([row(3, 1)], is_all=True)
    assert changes(rest.batches[0]) == [(3, True)]


def test_a_block_is_no_larger_than_a_frame_may_be() -> None:
    half = BATCH_BYTES_MAX // 2
    made = make_batches([row(1, 1, half), row(2, 2, half - 1000), row(3, 2, 900), row(4, 3)], is_all=True)
    assert [changes(batch) for batch in made.batches] == [[(1, True)], [(2, False), (3, True), (4, True)]]
    made = make_batches([row(1, 1, half), row(2, 1, half), row(3, 1, half)], is_all=True)
    assert [changes(batch) for batch in made.batches] == [[(1, False)], [(2, False)], [(3, True)]]


def test_a_large_row_stands_alone() -> None:
    made = make_batches([row(1, 1), row(2, 2, 2 * BATCH_BYTES_MAX), row(3, 3)], is_all=True)
    assert [changes(batch) for batch in made.batches] == [[(1, True)], [(2, True)], [(3, True)]]


def test_a_row_that_no_record_can_hold_is_left_out_and_told() -> None:
    made = make_batches([row(1, 1), row(2, 2, 16 * 1024 * 1024)], is_all=True)
    assert [changes(batch) for batch in made.batches] == [[(1, True)]]
    assert made.position == 2
    assert [position for position, _ in made.left_out] == [2]
    assert "more than a record may have" in made.left_out[0][1]
