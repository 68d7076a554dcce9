"""A rollout's states in words, and its bar."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.management.executions import State
from appliance.management.rollouts import RolloutEvent, RolloutState
from ui.pages.rollout_words import (
    EVENTS,
    KIND_OF,
    KINDS,
    ROLLOUT,
    WIDTH_MIN_PERCENT,
    bar_of,
    rollout_look,
    states_of,
)


def test_every_state_has_a_look_and_every_execution_a_kind() -> None:
    assert set(ROLLOUT) == set(RolloutState)
    assert set(EVENTS) == set(RolloutEvent)
    assert set(KIND_OF) == set(State)
    assert sum(len(kind.states) for kind in KINDS) == len(State)


def test_a_bar_says_in_words_what_it_draws() -> None:
    bar = bar_of({"succeeded": 3, "noop": 1, "failed": 1, "queued": 5}, lambda kind: f"/x?kind={kind}")
    assert bar.total == 10
    assert bar.text == "4 on the new version, 1 failed, 5 waiting"
    assert [(each.key, each.x, each.width) for each in bar.segments] == [
        ("done", "0.000%", "40.000%"),
        ("failed", "40.000%", "10.000%"),
        ("waiting", "50.000%", "50.000%"),
    ]
    assert bar.segments[1].url == "/x?kind=failed"


def test_a_bar_of_nothing_and_states_nobody_knows() -> None:
    assert bar_of({}).text == "no device"
    assert bar_of({"on_hold": 2}).text == "2 on the way"
    assert rollout_look("on_hold").word == "on hold"
    assert states_of("returned") == (State.ROLLED_BACK,)
    assert states_of("nothing") == ()


@given(st.dictionaries(st.sampled_from([str(state) for state in State]), st.integers(0, 100_000)))
def test_a_bar_is_whole_and_nothing_in_it_is_too_narrow_to_be_seen(counts: dict[str, int]) -> None:
    bar = bar_of(counts)
    assert bar.total == sum(counts.values()) == sum(each.count for each in bar.segments)
    widths = [float(each.width[:-1]) for each in bar.segments]
    assert all(width >= WIDTH_MIN_PERCENT - 0.001 for width in widths)
    if widths:
        assert abs(sum(widths) - 100) < 0.02
