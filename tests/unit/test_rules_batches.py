"""Runs of series, and the slots that are about them."""

from __future__ import annotations

import numpy as np

from appliance.management.watched import released
from appliance.rules.batches import SeriesIndex, chosen, indices_of, ranges, runs_of, saying_something


def test_runs_are_where_a_series_begins() -> None:
    runs = runs_of(released([(3, 1, 0.0), (3, 2, 0.0), (5, 1, 0.0)]))
    assert runs.series.tolist() == [3, 5]
    assert runs.starts.tolist() == [0, 2]
    assert runs.lengths.tolist() == [2, 1]
    assert len(runs_of(released([])).series) == 0


def test_ranges_follow_one_another() -> None:
    assert ranges(np.array([5, 1]), np.array([2, 3])).tolist() == [5, 6, 1, 2, 3]
    assert ranges(np.array([5, 9, 1]), np.array([1, 0, 2])).tolist() == [5, 1, 2]
    assert ranges(np.array([5]), np.array([0])).tolist() == []


def test_each_slot_sees_the_readings_of_its_series() -> None:
    index = SeriesIndex()
    assert index.pairs(runs_of(released([(0, 1, 0.0)]))) is None
    index.build(np.array([5, 3, 5]), np.array([0, 1, 2]))
    assert len(index) == 3
    assert index.is_about(np.array([3, 4, 5, 900])).tolist() == [True, False, True, False]
    assert index.pairs(runs_of(released([(4, 1, 0.0)]))) is None
    pairs = index.pairs(runs_of(released([(3, 1, 0.0), (4, 1, 0.0), (5, 1, 0.0), (5, 2, 0.0)])))
    assert pairs is not None
    assert pairs.slots.tolist() == [1, 0, 2]
    assert pairs.lengths.tolist() == [1, 2, 2]
    assert pairs.starts.tolist() == [0, 1, 3]
    assert pairs.at.tolist() == [0, 2, 3, 2, 3]
    assert pairs.spread(np.array([7, 8, 9])).tolist() == [7, 8, 8, 9, 9]


def test_readings_that_say_nothing_are_left_out() -> None:
    good = released([(0, 1, 1.0), (1, 1, 2.0)], epoch=4, seq=9)
    assert saying_something(good) is good
    mixed = saying_something(released([(0, 1, np.nan), (0, 2, 3.0), (0, 3, np.inf)], epoch=4, seq=9))
    assert mixed.values.tolist() == [3.0]
    assert (mixed.epoch, mixed.seq) == (4, 9)
    assert len(saying_something(released([(0, 1, 1.0)], quality=2))) == 0
    assert chosen(good, np.array([False, True])).series.tolist() == [1]


def test_where_a_column_has_numbers() -> None:
    assert indices_of(np.array([4, 1, 4, 2]), {4, 2}).tolist() == [0, 2, 3]
