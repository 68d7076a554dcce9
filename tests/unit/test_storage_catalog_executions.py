"""Executions as rows: every column there and back, pages, histories, the clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, NotFound, UsageError
from appliance.core.limits_executions import EXECUTION_NOTE_COUNT_MAX
from appliance.management.execution import Execution, Move, Note
from appliance.management.executions import Event, Source, State
from storage.catalog.catalog import Catalog
from tests.execution_kit import NOW_MS, an_execution


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=b"n" * 16)
    yield opened
    opened.close()


def full() -> Execution:
    """Every column unlike its default."""
    made = an_execution(State.PAUSED)
    odd: dict[str, Any] = {
        "str": "x",
        "int": 7,
        "bool": True,
        "int | None": 9,
    }
    changes = {
        field.name: odd[str(field.type)]
        for field in fields(Execution)
        if str(field.type) in odd and field.name not in ("execution_id", "rollout_id", "device_id")
    }
    return replace(made, **changes, health={"boots": 2, "ü": [1]})


def put(catalog: Catalog, *executions: Execution) -> None:
    with catalog.transaction():
        for execution in executions:
            catalog.insert_execution(execution)


def test_every_column_comes_back(catalog: Catalog) -> None:
    put(catalog, full())
    assert catalog.get_execution("e1") == full()


def test_what_changed_is_written_and_nothing_else(catalog: Catalog) -> None:
    before = an_execution()
    put(catalog, before)
    after = replace(full(), execution_id="e1")
    with catalog.transaction():
        assert catalog.save_execution(before, after)
        assert not catalog.save_execution(after, after)
        assert not catalog.save_execution(after, replace(after, updated_at_ms=1))
    assert catalog.get_execution("e1") == after


def test_none_of_that_id(catalog: Catalog) -> None:
    assert catalog.find_execution("e9") is None
    with pytest.raises(NotFound) as error:
        catalog.get_execution("e9")
    assert error.value.code == "execution_unknown"


def test_one_of_a_number_for_a_device_in_a_rollout(catalog: Catalog) -> None:
    put(catalog, an_execution())
    with pytest.raises(Conflict):
        put(catalog, an_execution(execution_id="e2"))


def test_alive_are_those_that_go_on_or_are_watched(catalog: Catalog) -> None:
    put(
        catalog,
        an_execution(),
        an_execution(execution_id="e2", number=2, ended_at_ms=5),
        an_execution(execution_id="e3", number=3, ended_at_ms=5, watch_until_at_ms=9, created_at_ms=1),
        an_execution(execution_id="e4", device_id="other"),
    )
    assert [each.execution_id for each in catalog.executions_alive_of("pump-1")] == ["e3", "e1"]
    assert [each.execution_id for each in catalog.executions_alive()] == ["e1", "e3", "e4"]
    assert catalog.newest_execution_change_ms() == an_execution().updated_at_ms


def test_which_began_last(catalog: Catalog) -> None:
    assert catalog.last_started_execution("pump-1") is None
    put(
        catalog,
        an_execution(started_at_ms=5),
        an_execution(execution_id="e2", number=2, started_at_ms=6, ended_at_ms=7),
    )
    last = catalog.last_started_execution("pump-1")
    assert last is not None
    assert last.execution_id == "e2"


def test_pages_of_a_rollout(catalog: Catalog) -> None:
    put(
        catalog,
        *(
            an_execution(State.FAILED if number == 2 else State.QUEUED, execution_id=f"e{number}", device_id=f"d{number}", wave=number % 2)
            for number in range(5)
        ),
    )  # fmt: skip
    first = catalog.executions_of_rollout("r1", limit=2)
    assert [each.execution_id for each in first.executions] == ["e0", "e1"]
    rest = catalog.executions_of_rollout("r1", cursor=first.next_cursor)
    assert [each.execution_id for each in rest.executions] == ["e2", "e3", "e4"]
    assert rest.next_cursor is None
    failed = catalog.executions_of_rollout("r1", wave=0, states=[State.FAILED])
    assert [each.execution_id for each in failed.executions] == ["e2"]
    assert catalog.count_executions() == {"failed": 1, "queued": 4}
    with pytest.raises(UsageError):
        catalog.executions_of_rollout("r1", limit=0)


def test_all_times_move_with_the_clock_but_those_of_what_has_ended(catalog: Catalog) -> None:
    execution = an_execution(State.DOWNLOADING, deadline_at_ms=10, end_by_at_ms=20, push_due_at_ms=None)
    put(catalog, execution, an_execution(execution_id="e2", number=2, ended_at_ms=1, deadline_at_ms=10))
    with catalog.transaction():
        assert catalog.shift_executions(-3) == 1
    moved = catalog.get_execution("e1")
    assert (moved.deadline_at_ms, moved.end_by_at_ms, moved.push_due_at_ms) == (7, 17, None)
    assert moved.state_since_ms == execution.state_since_ms - 3
    assert moved.created_at_ms == execution.created_at_ms - 3
    assert catalog.newest_execution_change_ms() == execution.updated_at_ms - 3
    assert catalog.get_execution("e2").deadline_at_ms == 10


def move(event: Event | Note, to: State = State.NOTIFIED) -> Move:
    return Move(
        at_ms=NOW_MS, source=Source.REPORT, event=event, from_state=State.QUEUED, to_state=to, attempt=1,
        actor="ada", detail={"ü": 1},
    )  # fmt: skip


def test_a_history_is_numbered(catalog: Catalog) -> None:
    put(catalog, an_execution())
    with catalog.transaction():
        assert catalog.add_execution_moves("e1", []) == 0
        assert catalog.add_execution_moves("e1", [move(Event.TAKEN), move(Note.OUT_OF_ORDER)]) == 2
        assert catalog.add_execution_moves("e1", [move(Event.STARTED, State.DOWNLOADING)]) == 1
    events = catalog.execution_events("e1")
    assert [(each.number, each.event, each.is_move) for each in events] == [
        (1, "taken", True),
        (2, "out_of_order", False),
        (3, "started", True),
    ]
    assert (events[0].actor, events[0].detail, events[0].source) == ("ada", {"ü": 1}, "report")
    assert [each.number for each in catalog.execution_events("e1", after=2)] == [3]


def test_notes_are_kept_up_to_a_number_and_moves_always(catalog: Catalog) -> None:
    put(catalog, an_execution())
    with catalog.transaction():
        notes = [move(Note.LATE_REPORT), move(Note.OUT_OF_ORDER)] * EXECUTION_NOTE_COUNT_MAX
        assert catalog.add_execution_moves("e1", notes) == EXECUTION_NOTE_COUNT_MAX
        assert catalog.add_execution_moves("e1", [move(Note.LATE_REPORT), move(Event.TAKEN)]) == 1


def test_the_same_note_twice_in_a_row_is_one(catalog: Catalog) -> None:
    put(catalog, an_execution())
    with catalog.transaction():
        notes = [
            move(Note.LATE_REPORT),
            move(Note.LATE_REPORT),
            move(Note.OUT_OF_ORDER),
            move(Note.LATE_REPORT),
        ]
        assert catalog.add_execution_moves("e1", notes) == 3
