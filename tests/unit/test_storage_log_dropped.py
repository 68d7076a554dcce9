"""storage/log/dropped.py: what was removed, by which rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import LogDamaged
from appliance.core.limits import DROPPED_RANGE_COUNT_MAX
from storage.log import OsDisk
from storage.log.dropped import (
    SEVERAL,
    Dropped,
    DroppedRange,
    decode_dropped,
    encode_dropped,
    read_dropped,
    write_dropped,
)


def a_range(number: int, rule: str = "keep", unread: int = 0) -> DroppedRange:
    """Ten records a number."""
    return DroppedRange(
        rule=rule,
        epoch=1,
        first_seq=1 + 10 * number,
        next_seq=11 + 10 * number,
        segment_count=1,
        bytes=100,
        unread_records=unread,
        first_at_ms=number,
        last_at_ms=number,
    )


def test_ranges_of_one_rule_are_joined() -> None:
    dropped = Dropped().plus(a_range(0), "aa").plus(a_range(1), "bb").plus(a_range(2, "quota", 4), "cc")
    assert [(each.rule, each.first_seq, each.next_seq, each.segment_count) for each in dropped.ranges] == [
        ("keep", 1, 21, 2),
        ("quota", 21, 31, 1),
    ]
    assert (dropped.ranges[0].first_at_ms, dropped.ranges[0].last_at_ms) == (0, 1)
    assert (dropped.next_seq, dropped.records, dropped.bytes, dropped.unread_records) == (31, 30, 300, 4)
    assert dropped.last_hash == "cc"
    assert Dropped().next_seq == 1


def test_no_more_ranges_are_listed_than_there_may_be_and_none_is_forgotten() -> None:
    dropped = Dropped()
    for number in range(DROPPED_RANGE_COUNT_MAX + 10):
        dropped = dropped.plus(a_range(number, "keep" if number % 2 else "disk_low"), "")
    assert len(dropped.ranges) == DROPPED_RANGE_COUNT_MAX
    assert dropped.ranges[0].rule == SEVERAL
    assert (dropped.ranges[0].first_seq, dropped.records) == (1, 10 * (DROPPED_RANGE_COUNT_MAX + 10))


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_dropped(OsDisk(), tmp_path) == Dropped()
    dropped = Dropped().plus(a_range(0), "aa").plus(a_range(1, "quota", 3), "bb")
    write_dropped(OsDisk(), tmp_path, dropped)
    assert read_dropped(OsDisk(), tmp_path) == dropped
    assert [path.name for path in tmp_path.iterdir()] == ["dropped"]


def test_any_flipped_byte_is_found(tmp_path: Path) -> None:
    data = encode_dropped(Dropped().plus(a_range(0), "aa"))
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1
        assert decode_dropped(bytes(flipped)) is None
    (tmp_path / "dropped").write_bytes(data[:-5])
    with pytest.raises(LogDamaged, match="damaged"):
        read_dropped(OsDisk(), tmp_path)
