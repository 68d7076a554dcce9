"""Executions: the table, and what must hold of it whatever rows it has."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from appliance.management.executions import (
    ENDED,
    EVENTS_OF,
    FAILURES,
    FORWARD,
    NEEDS_A_HAND,
    SOURCE_OF,
    TRANSITIONS,
    Event,
    Source,
    State,
    as_mermaid,
    target,
)

UPDATES = Path(__file__).parents[2] / "docs" / "UPDATES.md"
BEFORE_THE_SLOT = (
    State.QUEUED,
    State.NOTIFIED,
    State.DOWNLOADING,
    State.DOWNLOADED,
    State.VERIFIED,
    State.WAIT_WINDOW,
)
IN_THE_MIDDLE = (State.INSTALLING, State.REBOOTING, State.TESTING)


def test_each_event_has_one_source() -> None:
    assert set(SOURCE_OF) == set(Event)
    assert sum(map(len, EVENTS_OF.values())) == len(Event)
    assert set(EVENTS_OF) == set(Source)


def test_each_event_moves_something() -> None:
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_every_state_can_be_reached_from_queued() -> None:
    reached, new = {State.QUEUED}, {State.QUEUED}
    while new:
        new = {b for (a, _), b in TRANSITIONS.items() if a in new} - reached
        reached |= new
    assert reached == set(State)


def test_from_everywhere_there_is_a_way_to_an_end() -> None:
    ends = set(ENDED)
    while more := {a for (a, _), b in TRANSITIONS.items() if b in ends} - ends:
        ends |= more
    assert ends == set(State)


@pytest.mark.parametrize("state", sorted(set(State) - ENDED - NEEDS_A_HAND - {State.FAILED}))
def test_nothing_is_for_ever_without_a_clock_or_a_person(state: State) -> None:
    """Each state on the way is left by itself: no update can be proceeding for ever."""
    timers = {event for (a, event) in TRANSITIONS if a is state and SOURCE_OF[event] is Source.TIMER}
    assert timers or state is State.ROLLBACK_PENDING, (
        "an away device keeps ROLLBACK_PENDING, which sets needs_manual_intervention"
    )


@pytest.mark.parametrize("state", sorted(NEEDS_A_HAND))
def test_a_person_can_end_what_needs_a_hand(state: State) -> None:
    ends = {
        TRANSITIONS[a, event]
        for (a, event) in TRANSITIONS
        if a is state and SOURCE_OF[event] is Source.OPERATOR
    }
    assert ends & ENDED


@pytest.mark.parametrize("state", IN_THE_MIDDLE)
def test_nobody_interrupts_a_device_in_the_middle(state: State) -> None:
    for event in (Event.PAUSE, Event.CANCEL, Event.SUPERSEDE, Event.DEADLINE):
        assert target(state, event) is None


@pytest.mark.parametrize("state", BEFORE_THE_SLOT)
def test_a_deadline_ends_who_is_as_before(state: State) -> None:
    assert target(state, Event.DEADLINE) is State.TIMED_OUT


def test_what_is_final_stays() -> None:
    left = {a for a, _ in TRANSITIONS}
    assert [event for state, event in TRANSITIONS if state is State.ROLLED_BACK] == [Event.ESCALATED]
    assert {
        State.REJECTED,
        State.CANCELED,
        State.SUPERSEDED,
        State.REMOVED,
        State.NOOP,
    }.isdisjoint(left)


def test_the_straight_way_is_in_the_table() -> None:
    for a, b in pairwise(FORWARD):
        assert any(x is a and y is b for (x, _), y in TRANSITIONS.items()), (a, b)


def test_failures_are_no_successes() -> None:
    assert FAILURES.isdisjoint({State.SUCCEEDED, State.NOOP, State.QUEUED, State.CANCELED, State.PAUSED})


def test_the_drawing_has_every_arrow() -> None:
    assert as_mermaid().count("-->") == len(TRANSITIONS) + 1


def test_the_drawing_in_the_documentation_is_the_table() -> None:
    drawing = re.search(r"```mermaid\n(stateDiagram.*?)```", UPDATES.read_text(), re.DOTALL)
    assert drawing
    assert drawing[1] == as_mermaid()


@pytest.mark.parametrize("state", list(State))
def test_every_state_is_described(state: State) -> None:
    states = UPDATES.read_text().partition("## The states")[2].partition("## The moves")[0]
    assert any(line.startswith("|") and f"`{state}`" in line.split("|")[1] for line in states.splitlines())
