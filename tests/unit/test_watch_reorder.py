"""Bounds and borders of the order; that any cut gives the same is in tests/properties."""

from __future__ import annotations

import pytest

from appliance.core.limits_watch import WATCH_INSTANT_MS
from appliance.watch.reorder import Reorder
from tests.properties.test_watch_reorder import NOW, arrived


def test_a_slot_never_goes_over_an_instant() -> None:
    reorder = Reorder(1_000)
    edge = NOW + WATCH_INSTANT_MS - 1_000
    reorder.add(arrived([(1, edge, edge, 1.0), (1, edge + 1, edge + 1, 2.0)]))
    slots = list(reorder.release(None))
    assert [(slot.instant - NOW, len(slot.parts[0])) for slot in slots] == [(10_000, 1), (20_000, 1)]


def test_a_start_of_the_broker_stands_between_what_came_before_and_after() -> None:
    reorder = Reorder(1_000)
    readings = [(1, NOW + at, NOW + at, 1.0) for at in (0, 10, 20)]
    reorder.add(arrived(readings, starts=[NOW + 10, NOW + 15]))
    slots = [
        (slot.is_start, slot.first_ms - NOW, len(slot.columns()) if slot.parts else 0)
        for slot in reorder._slots
    ]
    assert slots == [(False, 0, 1), (True, 10, 0), (False, 10, 1), (True, 15, 0), (False, 20, 1)]


def test_too_many_are_released_early_and_counted() -> None:
    reorder = Reorder(60_000, held_count_max=2)
    for at in range(3):
        reorder.add(arrived([(1, NOW + at, NOW + at, 1.0)]))
    assert [len(slot.parts[0]) for slot in reorder.release(NOW)] == [1]
    assert (reorder.early_total, reorder.held_count) == (1, 2)


def test_times_before_1970_and_many_series_are_sorted_all_the_same() -> None:
    reorder = Reorder(1_000)
    reorder.add(arrived([(2_000_000, -5, NOW, 1.0), (2_000_000, -7, NOW, 2.0), (3, 9, NOW, 3.0)]))
    (slot,) = reorder.release(None)
    assert slot.parts[0].observed.tolist() == [9, -7, -5]


def test_what_is_equal_in_series_time_and_value_counts_once_also_when_it_is_no_number() -> None:
    reorder = Reorder(1_000)
    nan = float("nan")
    reorder.add(arrived([(1, NOW, NOW, nan), (1, NOW, NOW, nan), (1, NOW, NOW, 2.0), (1, NOW, NOW, 1.0)]))
    (slot,) = reorder.release(None)
    assert slot.parts[0].values.tolist()[:2] == [1.0, 2.0]
    assert len(slot.parts[0]) == 3
    assert reorder.duplicates_total == 1


@pytest.mark.parametrize("what", ["newest", "series"])
def test_a_state_that_is_none_is_refused(what: str) -> None:
    reorder = Reorder(1_000)
    reorder.add(arrived([(1, NOW, NOW, 1.0)]))
    saved = reorder.save()
    if what == "newest":
        saved.newest = saved.newest[:-8]
    else:
        saved.newest = saved.settled = saved.newest[:8]
    with pytest.raises(ValueError, match="times"):
        Reorder(1_000).load(saved)


def test_what_arrived_is_as_before_when_there_is_nothing() -> None:
    reorder = Reorder(1_000)
    reorder.add(arrived([]))
    assert reorder.first_held is None
    assert list(reorder.release(None)) == []


def test_a_clock_that_was_ahead_makes_nothing_late_once_it_is_right() -> None:
    reorder = Reorder(1_000)
    hour = 3_600_000
    reorder.add(arrived([(1, NOW + hour, NOW, 1.0)]))
    list(reorder.release(None))
    reorder.add(arrived([(1, NOW + 60_000, NOW + 60_000, 2.0)]))
    (slot,) = reorder.release(None)
    assert slot.parts[0].values.tolist() == [2.0]
    assert reorder.late_total == 0
