"""The states of an alarm: a closed table, and nothing outside of it."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from appliance.management.alarms import (
    ACTIVE,
    TRANSITIONS,
    UNACKNOWLEDGED,
    AlarmEvent,
    AlarmState,
    as_mermaid,
    target,
)

DOCS = Path(__file__).parents[2] / "docs" / "ALARMS.md"


def test_what_the_readings_say_never_changes_what_people_said() -> None:
    for state in AlarmState:
        cleared = target(state, AlarmEvent.CLEAR)
        if cleared is not None:
            assert state in ACTIVE
            assert cleared not in ACTIVE
            assert (cleared in UNACKNOWLEDGED) == (state in UNACKNOWLEDGED)


def test_a_raised_alarm_wants_to_be_seen() -> None:
    raised = {target(state, AlarmEvent.RAISE) for state in AlarmState} - {None}
    assert raised == {AlarmState.ACTIVE_UNACKNOWLEDGED}
    assert all(target(state, AlarmEvent.RAISE) is None for state in ACTIVE)


def test_everything_else_moves_nothing() -> None:
    moves = [pair for pair in product(AlarmState, AlarmEvent) if target(*pair) is not None]
    assert moves == [pair for pair in product(AlarmState, AlarmEvent) if pair in TRANSITIONS]
    assert len(moves) == len(TRANSITIONS) == 9


def test_the_drawing_of_the_documentation_is_of_this_table() -> None:
    """Stale? `python -c "from appliance.management.alarms import as_mermaid; print(as_mermaid())"`."""
    drawing = re.search(r"```mermaid\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert drawing is not None
    assert drawing[1] == as_mermaid()


def test_each_move_is_an_arrow() -> None:
    drawn = as_mermaid()
    assert drawn.count("-->") == len(TRANSITIONS) + 1
    assert "active_acknowledged --> normal: clear" in drawn
