"""What is read ahead, and what is left to the reader in order, follows from the message alone."""

from __future__ import annotations

from appliance.pipeline.duplicates import Pass
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.rules import Rules
from storage.telemetry.batch import Cursor, StoreBatch
from storage.telemetry.checks import check_counts
from tests.log_kit import Record
from tests.pipeline_kit import Bench, block_of

NOW = 1_700_000_000_000
NAMED = b'{"ts":1700000000001,"seq":1,"boot_id":"b","v":{"n":1}}'
UNNAMED = b'{"ts":1700000000002,"seq":1,"v":{"n":2}}'
PLAIN = b'{"ts":1700000000003,"n":3}'
MIXED = b'[{"ts":1700000000004,"seq":2,"boot_id":"b","v":{"n":4}},{"ts":1700000000005,"v":{"n":5}},{"ts":1700000000006,"seq":3,"v":{"n":6}}]'
BROKEN = b"{"
STATUS = Record(b'{"state":"online","boot_id":"c"}', b"dm/dev-1/status")


def read(
    bench: Bench, which: Pass, *, erased: frozenset[str] = frozenset()
) -> tuple[StoreBatch, list[float]]:
    block = block_of([Record(each) for each in (NAMED, UNNAMED, PLAIN, MIXED, BROKEN, NAMED)] + [STATUS])
    rules = Rules(MappingSets.always([]).newest_router(), erased=erased)
    batch, _ = bench.builder.build([block], [block.columns()], Cursor(), lambda _: True, which, rules)
    check_counts(batch)
    bench.names.update((series.id, series) for series in batch.new_series)
    return batch, sorted(float(row.value) for row in bench.rows(batch))


def test_both_readings_together_take_each_record_once() -> None:
    bench, other = Bench(), Bench()
    first, rows = read(bench, Pass.AHEAD)
    assert rows == [1.0, 3.0]
    assert (first.counts.readings, first.counts.apart, first.counts.dead_letters) == (2, 2, 1)
    assert (first.counts.duplicates, first.counts.statuses) == (1, 1)
    assert bench.seen.current_boot_id("dev-1") == "", "records that are still to come may name another"
    second, more = read(bench, Pass.SECOND)
    assert more == [2.0, 4.0, 5.0, 6.0]
    assert (second.counts.readings, second.counts.apart, second.counts.dead_letters) == (2, 5, 0)
    assert bench.seen.current_boot_id("dev-1") == "c"
    whole, all_rows = read(other, Pass.IN_ORDER)
    assert all_rows == sorted(rows + more)
    assert whole.counts.readings == first.counts.readings + second.counts.readings


def test_a_message_that_is_left_leaves_no_trace() -> None:
    bench = Bench()
    read(bench, Pass.AHEAD)
    (window,) = bench.seen.all()
    assert (window.boot_id, window.intervals()) == ("b", [(1, 1)])


def test_an_erased_device_has_no_rows_no_presence_and_no_windows() -> None:
    bench = Bench()
    batch, rows = read(bench, Pass.IN_ORDER, erased=frozenset({"dev-1"}))
    assert rows == []
    assert (batch.counts.others, batch.counts.records) == (7, 7)
    assert bench.seen.all() == []
    assert bench.presence.all() == []
    assert NOW
