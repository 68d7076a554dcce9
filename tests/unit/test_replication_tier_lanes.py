"""How old what is not shipped is, when the next piece is due, and how large it may be."""

from __future__ import annotations

from appliance.core.limits_replication import TIER_PIECE_BYTES_MAX
from replication.effects import Place
from replication.tier.lanes import ARRIVAL_COUNT_MAX, PIECE_BYTES_MIN, Lane, Source
from replication.tier.steps import EMPTY
from tests.shipping_kit import STREAM, hash_at, head_at


def source(*grown: tuple[int, int]) -> Source:
    found = Source(STREAM, head_at(1), is_own=True)
    for next_seq, now_ms in grown:
        found.grew(head_at(next_seq), now_ms)
    return found


def place(next_seq: int, epoch: int = 1) -> Place:
    return Place(epoch=epoch, next_seq=next_seq, hash=hash_at(next_seq))


def test_the_age_of_a_record_is_that_of_the_growth_that_brought_it() -> None:
    grown = source((10, 0), (12, 100), (20, 1_000), (30, 5_000))
    assert grown.since_ms(1) == 0
    assert grown.since_ms(11) == 0  # within a quarter of a second: the earlier time
    assert grown.since_ms(12) == 1_000
    assert grown.since_ms(29) == 5_000
    assert grown.since_ms(30) is None


def test_a_long_backlog_makes_ages_coarser_and_never_younger() -> None:
    grown = source(*((seq, seq * 1_000) for seq in range(2, 2_000)))
    assert len(grown._seqs) <= ARRIVAL_COUNT_MAX
    for seq in range(2, 1_999, 7):
        since_ms = grown.since_ms(seq)
        assert since_ms is not None
        assert since_ms <= (seq + 1) * 1_000


def test_a_log_that_begins_anew_has_new_ages() -> None:
    grown = source((100, 0), (50, 9_000))
    assert grown.since_ms(20) == 9_000


def test_a_piece_is_due_when_its_oldest_record_waited_long_enough() -> None:
    lane = Lane("eu", source((10, 0), (20, 1_000)))
    assert lane.due_ms(5_000, 0, safe_pace_ms=60_000) is None  # where the region is isn't known
    lane.end = EMPTY
    assert lane.due_ms(5_000, 0, safe_pace_ms=60_000) == 5_000
    lane.end = place(10)
    assert lane.due_ms(5_000, 0, safe_pace_ms=60_000) == 6_000
    lane.source.safe_seq = 20
    assert lane.due_ms(5_000, 0, safe_pace_ms=60_000) == 61_000
    lane.is_cut = True
    assert lane.due_ms(5_000, 7, safe_pace_ms=60_000) == 7
    lane.end = place(20)
    assert lane.due_ms(5_000, 0, safe_pace_ms=60_000) is None
    assert lane.lacks == 0


def test_a_later_epoch_is_more_though_it_has_fewer_records() -> None:
    lane = Lane("eu", source((10, 0)), end=place(50))
    assert [lane.has_more] == [False]
    lane.source.grew(head_at(20, epoch=2), 1_000)
    assert [lane.has_more] == [True]
    assert lane.due_ms(5_000, 7, safe_pace_ms=60_000) == 7
    lane.nothing_at = (2, 20)
    assert [lane.has_more] == [False]


def test_anothers_stream_is_late_when_nobody_brought_it() -> None:
    lane = Lane("eu", source((10, 0), (20, 1_000)))
    assert lane.late_ms(30_000) == 30_000
    lane.told = (1, 10)
    assert lane.late_ms(30_000) == 31_000
    lane.said = (1, 20)
    assert lane.late_ms(30_000) is None


def test_pieces_are_as_large_as_the_line_carries_in_some_seconds() -> None:
    lane = Lane("eu", source())
    for _ in range(20):
        lane.measure(500, is_cut=True)
    assert lane.piece_bytes == TIER_PIECE_BYTES_MAX
    lane.measure(500, is_cut=False)
    lane.measure(9_000, is_cut=True)
    assert lane.piece_bytes == TIER_PIECE_BYTES_MAX // 2
    for _ in range(20):
        lane.measure(9_000, is_cut=True)
    assert lane.piece_bytes == PIECE_BYTES_MIN
