"""Names of segments and their order."""

from __future__ import annotations

import pytest

from storage.log.names import SegmentName, live_segments, parse_segment_name, segments_in_order


def test_a_name_says_epoch_and_first_sequence_and_sorts_as_text() -> None:
    name = SegmentName(10, 12345, "seg")
    assert str(name) == "0000000a-00000000000000012345.seg"
    assert parse_segment_name(str(name)) == name
    assert str(SegmentName(2, 9, "open")) < str(SegmentName(2, 10, "open")) < str(SegmentName(10, 1, "open"))


@pytest.mark.parametrize(
    "name",
    [
        "head",
        "manifest",
        "spare",
        "1-1.open",
        "0000000a-00000000000000012345.bad",
        "0000000a-00000000000000012345.seg\n",
    ],
)
def test_other_files_are_no_segments(name: str) -> None:
    assert parse_segment_name(name) is None


def test_a_sealed_segment_wins_over_the_same_one_unsealed() -> None:
    both = [str(SegmentName(1, 1, "open")), str(SegmentName(1, 1, "seg")), "lock"]
    assert segments_in_order(both) == segments_in_order(reversed(both)) == [SegmentName(1, 1, "seg")]


def test_a_later_epoch_replaces_what_it_begins_before() -> None:
    branch = [
        SegmentName(1, 1, "seg"),
        SegmentName(1, 50, "seg"),
        SegmentName(1, 90, "open"),
        SegmentName(2, 60, "open"),
    ]
    assert live_segments(branch) == [branch[0], branch[1], branch[3]]
    assert live_segments([]) == []
