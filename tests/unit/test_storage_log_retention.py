"""storage/log/retention.py: which segments may go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from storage.log.names import SegmentName
from storage.log.retention import Bounds, Candidate, Rule, choose


def segments(count: int, size: int = 100) -> list[Candidate]:
    """Of ten records each."""
    return [
        Candidate(
            name=SegmentName(1, 1 + 10 * i, "seg"), first_seq=1 + 10 * i, next_seq=11 + 10 * i, bytes=size
        )
        for i in range(count)
    ]


def rules(
    count: int, log_bytes: int, needed_seq: int, excess: int, keep: int = 0, quota: int = 0
) -> list[Rule]:
    bounds = Bounds(keep_bytes=keep, quota_bytes=quota)
    chosen = choose(
        segments(count), log_bytes=log_bytes, needed_seq=needed_seq, excess_bytes=excess, bounds=bounds
    )
    assert [candidate for candidate, _ in chosen] == segments(count)[: len(chosen)]
    return [rule for _, rule in chosen]


def test_nothing_goes_without_a_reason() -> None:
    assert rules(5, 600, needed_seq=1000, excess=0) == []
    assert rules(5, 600, needed_seq=1000, excess=0, keep=600, quota=600) == []


def test_what_nobody_needs_goes_when_the_log_is_larger_than_it_is_to_be() -> None:
    assert rules(5, 600, needed_seq=1000, excess=0, keep=400) == [Rule.KEEP] * 2
    assert rules(5, 600, needed_seq=21, excess=0, keep=100) == [Rule.KEEP] * 2
    assert rules(5, 600, needed_seq=20, excess=0, keep=100) == [Rule.KEEP]
    assert rules(5, 600, needed_seq=0, excess=0, keep=100) == []


def test_what_nobody_needs_goes_when_the_disk_is_filling_up() -> None:
    assert rules(5, 600, needed_seq=1000, excess=101) == [Rule.DISK_LOW] * 2
    assert rules(5, 600, needed_seq=11, excess=10_000) == [Rule.DISK_LOW]


def test_the_quota_takes_what_is_needed_and_says_so() -> None:
    assert rules(5, 600, needed_seq=11, excess=0, quota=350) == [Rule.QUOTA] * 3
    assert rules(5, 600, needed_seq=11, excess=1, quota=350) == [Rule.DISK_LOW, Rule.QUOTA, Rule.QUOTA]
    assert rules(5, 600, needed_seq=0, excess=10_000, quota=600) == []


@given(st.integers(0, 8), st.integers(0, 100), st.integers(0, 900), st.integers(0, 900))
def test_nothing_that_is_needed_goes_without_a_quota(
    count: int, needed_seq: int, excess: int, keep: int
) -> None:
    chosen = choose(
        segments(count),
        log_bytes=count * 100 + 50,
        needed_seq=needed_seq,
        excess_bytes=excess,
        bounds=Bounds(keep_bytes=keep),
    )
    assert all(candidate.next_seq <= needed_seq for candidate, _ in chosen)
