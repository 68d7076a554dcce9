"""What a row of an alarm says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.management.alarms import AlarmState
from ui.pages.alarm_views import FLAPPING_COUNT, AlarmView, EventView, MaintenanceView, RuleView
from ui.pages.looks import UNKNOWN

ALARM = AlarmView(
    alarm_id="a/1",
    severity="P1",
    state=AlarmState.ACTIVE_UNACKNOWLEDGED,
    rule_id="r/1",
    rule_name="Hot",
    since_ms=1,
    raised_at_ms=1,
)


def test_addresses_escape_what_means_something_in_a_url() -> None:
    assert ALARM.url == "/alarms/a%2F1"
    assert ALARM.rule_url == "/alarms/rules/r%2F1"
    assert replace(ALARM, device_id="x/y").device_url == "/devices/x%2Fy"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"raised_count": FLAPPING_COUNT}, ["comes and goes"]),
        ({"shelved_until_ms": 5}, ["shelved"]),
        (
            {"because": "maintenance", "shelved_until_ms": 5, "raised_count": 9},
            ["shelved", "suppressed", "comes and goes"],
        ),
    ],
)
def test_what_stands_beside_a_state(changes: dict[str, object], words: list[str]) -> None:
    assert [look.word for look in replace(ALARM, **changes).asides] == words  # type: ignore[arg-type]


def test_what_is_shelved_or_suppressed_is_set_aside() -> None:
    assert not ALARM.is_set_aside
    assert replace(ALARM, shelved_until_ms=5).is_set_aside
    assert replace(ALARM, because="maintenance").is_set_aside


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"device_id": "press-1", "series": "t"}, "press-1 t"),
        ({"group_id": "hall-2"}, "group hall-2"),
        ({"series": "disk"}, "this site disk"),
    ],
)
def test_an_alarm_is_about_a_device_a_group_or_the_site(changes: dict[str, str], where: str) -> None:
    assert replace(ALARM, **changes).where == where  # type: ignore[arg-type]


def test_a_state_of_a_newer_release_is_shown_as_unknown() -> None:
    assert replace(ALARM, state="resting", severity="P0").look is UNKNOWN
    assert replace(ALARM, severity="P0").severity_look is UNKNOWN
    assert EventView(at_ms=1, event="raise", to="resting").look is UNKNOWN


def test_a_rule_is_on_or_off() -> None:
    rule = RuleView(rule_id="r", name="Hot", says="", scope="all devices", severity="P2", is_enabled=True)
    assert (rule.look.word, replace(rule, is_enabled=False).look.word) == ("on", "off")
    assert rule.severity_look.word == "P2"


def test_a_maintenance_has_a_state() -> None:
    view = MaintenanceView(
        maintenance_id="m",
        scope="all devices",
        reason="",
        from_ms=1,
        until_ms=2,
        created_by="anna",
        state="running",
    )
    assert view.look.word == "running"
