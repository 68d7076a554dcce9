"""After a mistake in a rule: when it is gone on, from what, and what is said."""

from __future__ import annotations

from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError
from appliance.pipeline.watch_failures import WatchFailures


def test_from_the_checkpoint_then_behind_it_then_empty_and_later_and_later() -> None:
    clock = ManualClock()
    failures = WatchFailures(clock)
    assert (failures.incident, failures.may_retry()) == ("", True)
    shown = []
    for pause_ms in (0, 0, 0, 60_000, 600_000, 600_000):
        failures.note(ZeroDivisionError("no"))
        shown.append((failures.passes_over, failures.forgets))
        clock.advance(max(0, pause_ms - 1))
        assert failures.may_retry() is (pause_ms == 0)
        clock.advance(1)
        assert failures.may_retry()
    assert shown[:3] == [(False, False), (True, False), (True, True)]
    assert set(shown[3:]) == {(True, True)}
    failures.over()
    assert (failures.in_a_row, failures.total, failures.incident) == (0, 6, "")
    assert not failures.passes_over


def test_what_was_lost_is_said_and_counted_once() -> None:
    failures = WatchFailures(ManualClock())
    failures.note(StorageError("The state is odd.", hint=""))
    assert failures.incident == "Rules and anomalies stopped: The state is odd."
    failures.note(ValueError("no"))
    failures.passed_over(10, 1_300, is_learned=True)
    assert failures.incident == (
        "Rules and anomalies stopped: ValueError: no. They went on with what was learned until the last checkpoint; "
        "1,290 records were not seen."
    )
    failures.note(ValueError("no"))
    failures.passed_over(10, 1_310, is_learned=False)
    assert failures.incident.endswith("They went on with nothing learned; 10 records were not seen.")
    assert failures.unseen == 1_300
