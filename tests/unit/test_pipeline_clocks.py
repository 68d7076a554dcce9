"""What a batch says of clocks."""

from __future__ import annotations

from appliance.core.limits import CLOCK_SLOT_MS
from storage.log.columns import FLAG_KEPT_COPY
from tests.log_kit import Record
from tests.pipeline_kit import Bench

NOW = CLOCK_SLOT_MS * 2_833_333


def sent(device: str, payload: bytes, at_ms: int = NOW, flags: int = 0) -> Record:
    return Record(payload, f"dm/{device}/telemetry".encode(), at_ms, flags=flags)


def clocks(*records: Record) -> set[tuple[str, int, int]]:
    """(device, slots after NOW's, delay) of what a batch says."""
    _, live = Bench().build(records)
    assert not any(each.is_status for each in live.clocks)
    return {(each.device, each.slot - NOW // CLOCK_SLOT_MS, each.delay_ms) for each in live.clocks}


def test_the_lowest_delay_of_each_device_and_slot() -> None:
    found = clocks(
        sent("a", b'{"ts":%d,"v":{"t":1}}' % (NOW - 900)),
        sent("a", b'{"ts":%d,"v":{"t":1}}' % (NOW - 70)),
        sent("a", b'{"ts":%d,"v":{"other":1}}' % (NOW - 80)),
        sent("b", b'{"ts":%d,"t":1}' % (NOW + 60_000)),
        sent("a", b'{"ts":%d,"v":{"t":1}}' % NOW, NOW + CLOCK_SLOT_MS),
    )
    assert found == {("a", 0, 70), ("a", 1, CLOCK_SLOT_MS), ("b", 0, -60_000)}


def test_what_says_no_time_says_nothing() -> None:
    assert clocks(sent("a", b'{"t":1}'), sent("a", b"[]"), sent("a", b'{"v":{"t":1},"q":"good"}')) == set()


def test_a_time_that_can_not_be_believed_says_it_all_the_same() -> None:
    assert clocks(sent("a", b'{"ts":5,"v":{"t":1}}')) == {("a", 0, NOW - 5)}
    assert clocks(sent("a", b'[{"ts":5,"v":{"t":1}}]')) == {("a", 0, NOW - 5)}
    ahead = NOW + 2 * 86_400_000
    assert clocks(sent("a", b'{"ts":%d,"t":1}' % ahead)) == {("a", 0, NOW - ahead)}


def test_kept_copies_say_nothing() -> None:
    assert (
        clocks(
            sent("a", b'{"ts":%d,"v":{"t":1}}' % (NOW - 900), flags=1 | FLAG_KEPT_COPY),
            sent("a", b'{"ts":5,"v":{"t":1}}', flags=1 | FLAG_KEPT_COPY),
        )
        == set()
    )
