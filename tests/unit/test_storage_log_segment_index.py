"""The sparse index of a segment."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.log.frame import FrameHeader
from storage.log.segment_index import SegmentIndex


@settings(deadline=None)
@given(
    times=st.lists(st.integers(0, 50), min_size=1, max_size=60),
    sizes=st.integers(1, 300_000),
    wanted=st.integers(0, 60),
)
def test_the_index_points_at_or_before_what_is_wanted(times: list[int], sizes: int, wanted: int) -> None:
    index = SegmentIndex()
    frames = []
    offset, seq = 4096, 1
    for time_ms in times:
        header = FrameHeader(0, 1, sizes, sizes, 3, seq, time_ms, time_ms, bytes(32))
        frames.append((header, offset))
        index.add(header, offset)
        index.add(header, offset)
        offset += header.frame_bytes
        seq += 3
    entry = index.for_seq(wanted)
    assert (entry is None) == (wanted < 1)
    if entry is not None:
        assert entry.first_seq <= wanted
        assert entry.offset in {at for _, at in frames}
    start = index.for_time(wanted)
    assert start is not None
    target = next((at for header, at in frames if header.last_time_ms >= wanted), None)
    assert target is None or start.offset <= target
    gaps = [
        after.offset - before.offset for before, after in zip(index.entries, index.entries[1:], strict=False)
    ]
    assert all(gap >= 256 * 1024 for gap in gaps)


def test_an_empty_index_knows_nothing() -> None:
    assert SegmentIndex().for_seq(1) is None
    assert SegmentIndex().for_time(1) is None
