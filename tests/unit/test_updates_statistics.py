"""What is counted of the engine."""

from __future__ import annotations

from appliance.management.execution import Move, Note
from appliance.management.executions import Event, Source, State
from appliance.updates.statistics import Tally


def move(event: Event | Note) -> Move:
    return Move(
        at_ms=1,
        source=Source.REPORT,
        event=event,
        from_state=State.QUEUED,
        to_state=State.NOTIFIED,
        attempt=1,
    )


def test_moves_and_notes_are_counted_apart() -> None:
    tally = Tally()
    for event in (Event.TAKEN, Event.TAKEN, Note.LATE_REPORT):
        tally.count_move(move(event))
    tally.count_firmware(is_new=False)
    assert (tally.moves, tally.notes, tally.firmware) == ({"taken": 2}, {"late_report": 1}, {"known": 1})
