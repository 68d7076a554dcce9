"""Turns: one slot of each series at most, every reading once, slots of a series in order."""

from __future__ import annotations

import numpy as np

from appliance.anomalies.slots import Turn, slots_of, turns


def _turns(rows: list[tuple[int, int]], left_out: frozenset[int] = frozenset()) -> list[Turn]:
    index = np.array([at for at in range(len(rows)) if at not in left_out], np.int64)
    series = np.array([row[0] for row in rows], np.uint32)[index]
    times = np.array([row[1] for row in rows], np.int64)[index]
    return list(turns(series, times, index))


def test_no_readings_make_no_turn() -> None:
    assert _turns([]) == []


def test_a_turn_has_one_slot_of_each_series() -> None:
    made = _turns([(1, 0), (1, 9_999), (1, 10_000), (2, 5_000), (2, 25_000), (2, 26_000), (7, 1)])
    assert [turn.series.tolist() for turn in made] == [[1, 2, 7], [1, 2]]
    assert [turn.slot.tolist() for turn in made] == [[0, 0, 0], [1, 2]]
    assert [turn.readings().tolist() for turn in made] == [[0, 1, 3, 6], [2, 4, 5]]
    assert [turn.is_single for turn in made] == [False, False]


def test_a_reading_that_is_left_out_splits_its_slot() -> None:
    made = _turns([(1, 0), (1, 1), (1, 2)], frozenset({1}))
    assert [turn.readings().tolist() for turn in made] == [[0], [2]]
    assert all(turn.is_single for turn in made)


def test_times_beyond_what_a_slot_number_holds_are_in_the_first_or_last() -> None:
    assert slots_of(np.array([-5, 0, 2**62], np.int64)).tolist() == [0, 0, 2**32 - 1]
