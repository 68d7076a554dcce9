"""Rollouts: the table, and what must hold of it whatever rows it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from appliance.management.rollouts import (
    ENDED,
    LIVE,
    TRANSITIONS,
    RolloutEvent,
    RolloutState,
    as_mermaid,
    target,
)

DOCS: Final = Path(__file__).parents[2] / "docs" / "ROLLOUTS.md"


def test_each_event_moves_something() -> None:
    assert {event for _, event in TRANSITIONS} == set(RolloutEvent)


def test_every_state_can_be_reached_and_left_for_an_end() -> None:
    reached, new = {RolloutState.DRAFT}, {RolloutState.DRAFT}
    while new:
        new = {b for (a, _), b in TRANSITIONS.items() if a in new} - reached
        reached |= new
    assert reached == set(RolloutState)
    ends = set(ENDED)
    while more := {a for (a, _), b in TRANSITIONS.items() if b in ends} - ends:
        ends |= more
    assert ends == set(RolloutState)


@pytest.mark.parametrize(
    "state", sorted(set(RolloutState) - ENDED - {RolloutState.STOPPING, RolloutState.ROLLING_BACK})
)
def test_whatever_is_under_way_can_be_aborted(state: RolloutState) -> None:
    assert target(state, RolloutEvent.ABORT) in (RolloutState.STOPPING, RolloutState.STOPPED)


def test_nothing_starts_without_having_been_ready() -> None:
    assert [a for (a, event) in TRANSITIONS if event is RolloutEvent.START] == [RolloutState.READY]
    assert target(RolloutState.AWAITING_APPROVAL, RolloutEvent.START) is None


def test_live_ones_have_not_ended() -> None:
    assert LIVE.isdisjoint(ENDED)


def test_the_drawing_in_the_docs_is_this_table() -> None:
    drawing = re.search(r"```mermaid\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert drawing is not None
    assert drawing[1] == as_mermaid()


def test_the_drawing_has_every_arrow() -> None:
    assert as_mermaid().count("-->") == len(TRANSITIONS) + 1
