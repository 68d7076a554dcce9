"""The heap of deadlines, against a plain dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.updates.deadlines import Deadlines


def test_the_earliest_comes_first_and_once() -> None:
    deadlines = Deadlines()
    for key, at_ms in (("a", 30), ("b", 10), ("c", 20)):
        deadlines.set(key, at_ms)
    assert deadlines.next_ms() == 10
    assert deadlines.due(20, 10) == ["b", "c"]
    assert deadlines.due(20, 10) == []
    assert len(deadlines) == 1


def test_another_time_replaces_the_one_before() -> None:
    deadlines = Deadlines()
    deadlines.set("a", 10)
    deadlines.set("a", 30)
    assert deadlines.due(20, 10) == []
    deadlines.set("a", None)
    assert deadlines.next_ms() is None


def test_no_more_than_asked_for() -> None:
    deadlines = Deadlines()
    for number in range(5):
        deadlines.set(str(number), number)
    assert deadlines.due(9, 2) == ["0", "1"]
    assert deadlines.due(9, 9) == ["2", "3", "4"]


def test_all_move_with_the_clock() -> None:
    deadlines = Deadlines()
    deadlines.set("a", 10)
    deadlines.shift(-4)
    assert deadlines.next_ms() == 6


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.none() | st.integers(0, 50))), st.integers(0, 50))
def test_like_a_dictionary(steps: list[tuple[str, int | None]], now_ms: int) -> None:
    deadlines, model = Deadlines(), dict[str, int]()
    for key, at_ms in steps * 20:
        deadlines.set(key, at_ms)
        if at_ms is None:
            model.pop(key, None)
        else:
            model[key] = at_ms
    assert deadlines.next_ms() == min(model.values(), default=None)
    assert sorted(deadlines.due(now_ms, 99)) == sorted(key for key, at_ms in model.items() if at_ms <= now_ms)
