"""Who can be reached, and how they are."""

from __future__ import annotations

from appliance.core.clock import ManualClock
from appliance.management.execution import HealthSeen
from appliance.updates.surroundings import NoAlarms, NoHealth, Surroundings
from tests.execution_kit import an_execution


def made(clock: ManualClock | None = None, **changes: object) -> Surroundings:
    return Surroundings(clock or ManualClock(), random=lambda: 0.0, **changes)  # type: ignore[arg-type]


def test_who_listens_or_is_online_or_has_just_asked_can_be_reached() -> None:
    clock = ManualClock()
    found = made(clock)
    assert not found.is_reachable("d")
    assert found.note_listening("d", True)
    assert not found.note_online("d", True), "it could be reached already"
    assert not found.note_listening("d", False)
    assert found.is_reachable("d")
    assert not found.is_listening("d")
    assert not found.note_online("d", False)
    assert not found.is_reachable("d")
    assert found.note_asked("d")
    assert not found.note_asked("d")
    clock.advance(5 * 60_000)
    assert not found.is_reachable("d")


def test_how_many_are_remembered_is_bounded() -> None:
    found = made()
    for number in range(20_001):
        found.note_asked(str(number))
    assert not found.is_reachable("0")
    assert found.is_reachable("20000")


def test_an_alarm_is_part_of_the_health() -> None:
    class Alarms:
        def has_new(self, device_id: str, since_ms: int) -> bool:
            return since_ms == an_execution().state_since_ms

    seen = made(alarms=Alarms()).health("d", an_execution())
    assert seen == HealthSeen(has_new_alarm=True)


def test_nothing_is_known_where_nobody_watches() -> None:
    assert made().health("d", an_execution()) == HealthSeen()
    assert NoHealth().seen("d", 0) == HealthSeen()
    assert not NoAlarms().has_new("d", 0)


def test_listeners_are_counted() -> None:
    found = made()
    found.note_listening("a", True)
    found.note_listening("b", True)
    found.note_listening("b", False)
    assert found.listening_count == 1
