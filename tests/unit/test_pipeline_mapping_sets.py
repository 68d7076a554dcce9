"""The history of mappings between the pipeline's thread and a change."""

from __future__ import annotations

import threading

import pytest

from appliance.core.errors import LogDamaged
from appliance.management.mapping import TopicMapping
from appliance.management.mapping_history import MappingSet
from appliance.pipeline.mapping_sets import MappingSets


def newer(from_seq: int) -> MappingSet:
    return MappingSet(number=2, epoch=1, from_seq=from_seq, mappings=(TopicMapping(pattern="x/{device}"),))


def test_a_change_holds_reading_up_at_the_head_until_it_is_written_down() -> None:
    sets = MappingSets.always([])
    with sets.reading(1, 5) as (before, until):
        assert until is None
    assert sets.hold(lambda: (1, 10)) == (1, 10)
    with sets.reading(1, 5) as (router, until):
        assert (router, until) == (before, 10)
    sets.release([newer(10)])
    with sets.reading(1, 5) as (router, until):
        assert (router, until) == (before, 10)
    with sets.reading(1, 10) as (router, until):
        assert until is None
        assert router.route(b"x/a").device == "a"
    assert (sets.newest.number, sets.count) == (2, 2)
    assert sets.newest_router() is router


def test_a_change_that_came_to_nothing_lets_go() -> None:
    sets = MappingSets.always([])
    sets.hold(lambda: (1, 10))
    sets.release([])
    with sets.reading(1, 10) as (_, until):
        assert until is None


def test_nothing_is_held_up_when_the_head_can_t_be_read() -> None:
    sets = MappingSets.always([])

    def damaged() -> tuple[int, int]:
        raise LogDamaged("head", first_seq=1, next_seq=1, hint="")

    with pytest.raises(LogDamaged):
        sets.hold(damaged)
    with sets.reading(1, 10) as (_, until):
        assert until is None


def test_a_change_waits_for_blocks_that_are_being_read() -> None:
    sets = MappingSets.always([])
    held = threading.Event()

    def change() -> None:
        sets.hold(lambda: (1, 10))
        held.set()

    with sets.reading(1, 1):
        thread = threading.Thread(target=change)
        thread.start()
        assert not held.wait(0.05)
    assert held.wait(5)
    thread.join()
