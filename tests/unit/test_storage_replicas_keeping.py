"""Which segments of copies go, and by which rule."""

from __future__ import annotations

from storage.replicas.keeping import (
    DAY_MS,
    CopyBounds,
    CopyRule,
    CopySize,
    Removal,
    SealedPart,
    choose_removals,
)
from storage.replicas.streams import StreamId

A = StreamId("a" * 32, "telemetry")
B = StreamId("b" * 32, "telemetry")
CATALOG = StreamId("a" * 32, "catalog")


def copy(stream: StreamId, *days: int, needed_seq: int = 1000, is_kept: bool = False) -> CopySize:
    """A copy with a segment of 10 bytes and 10 records that ends on each of these days, and a newest one of day 100."""
    parts = tuple(
        SealedPart(next_seq=10 * number + 11, bytes=10, last_at_ms=day * DAY_MS)
        for number, day in enumerate(days)
    )
    size = 10 * len(days) + 10
    return CopySize(
        stream=stream,
        parts=parts,
        bytes=size,
        last_at_ms=100 * DAY_MS,
        needed_seq=needed_seq,
        is_kept=is_kept,
    )


def removals(
    *copies: CopySize, excess_bytes: int = 0, share_percent: int = 0, days: int = 0
) -> list[Removal]:
    bounds = CopyBounds(share_percent=share_percent, days=days)
    return choose_removals(copies, total_bytes=100, excess_bytes=excess_bytes, bounds=bounds)


def test_without_bounds_everything_stays() -> None:
    assert removals(copy(A, 1, 2), copy(B, 1)) == []


def test_what_is_older_than_the_newest_record_by_so_many_days_goes() -> None:
    assert removals(copy(A, 10, 69, 70, 71), days=30) == [Removal(A, 21, CopyRule.DAYS)]


def test_no_clock_here_counts() -> None:
    future = copy(A, 2000, 3000)
    assert removals(future, days=30) == []


def test_the_oldest_goes_until_the_share_is_kept() -> None:
    assert removals(copy(A, 50, 60), copy(B, 40, 90), share_percent=40) == [
        Removal(B, 11, CopyRule.SHARE),
        Removal(A, 11, CopyRule.SHARE),
    ]


def test_a_disk_that_fills_up_takes_copies_first() -> None:
    assert removals(copy(A, 50, 60), excess_bytes=15) == [Removal(A, 21, CopyRule.DISK_LOW)]


def test_a_catalog_a_fork_and_what_is_still_to_be_read_stay() -> None:
    assert removals(
        copy(CATALOG, 1, 2), copy(A, 1, 2, is_kept=True), copy(B, 1, 2, needed_seq=15), share_percent=1
    ) == [Removal(B, 11, CopyRule.SHARE)]


def test_before_the_disk_is_full_what_is_still_to_be_read_goes_last() -> None:
    copies = copy(CATALOG, 1, 2), copy(A, 1, 2, 3, needed_seq=15), copy(B, 80, 90)
    assert removals(*copies, excess_bytes=30) == [
        Removal(A, 11, CopyRule.DISK_LOW),
        Removal(B, 21, CopyRule.DISK_LOW),
    ]
    assert removals(*copies, excess_bytes=35)[0] == Removal(A, 21, CopyRule.DISK_LOW)
    assert removals(*copies, excess_bytes=999)[0] == Removal(A, 31, CopyRule.DISK_LOW)


def test_both_rules_are_told() -> None:
    assert removals(copy(A, 1, 80, 90), days=30, excess_bytes=20) == [
        Removal(A, 11, CopyRule.DAYS),
        Removal(A, 21, CopyRule.DISK_LOW),
    ]
