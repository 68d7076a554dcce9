"""Every state, event and severity has its words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.management.alarms import AlarmEvent, AlarmState
from appliance.management.rule import SEVERITIES
from ui.pages.alarm_words import (
    ALARM,
    ASIDE,
    EVENT,
    MAINTENANCE,
    NOTIFICATION,
    RULE,
    SEVERITY,
    SEVERITY_SAYS,
    event_text,
    steps_text,
)
from ui.pages.templating import TEMPLATES_DIR

SPRITE = Path(TEMPLATES_DIR, "sprite.html").read_text(encoding="utf-8")


def test_every_state_event_and_severity_has_words() -> None:
    assert set(ALARM) == set(AlarmState)
    assert set(SEVERITY) == set(SEVERITY_SAYS) == set(SEVERITIES)
    assert set(AlarmEvent) <= set(EVENT)


def test_every_state_of_a_notification_in_the_catalog_has_words() -> None:
    schema = Path("storage/catalog/migrations/0006_rules_and_alarms.sql").read_text(encoding="utf-8")
    (found,) = re.findall(r"state +TEXT NOT NULL CHECK \(state IN \(('waiting'[^)]*)\)", schema)
    assert set(re.findall(r"'(\w+)'", found)) == set(NOTIFICATION)


@pytest.mark.parametrize("table", [ALARM, SEVERITY, ASIDE, NOTIFICATION, MAINTENANCE, RULE])
def test_states_differ_by_word_and_have_an_icon(table: dict[str, object]) -> None:
    looks = list(table.values())
    assert len({look.word for look in looks}) == len(looks)  # type: ignore[attr-defined]
    assert all(f'id="i-{look.icon}"' in SPRITE for look in looks)  # type: ignore[attr-defined]


def test_states_of_an_alarm_and_severities_have_icons_of_their_own() -> None:
    for table in (ALARM, SEVERITY, ASIDE, NOTIFICATION):
        assert len({look.icon for look in table.values()}) == len(table)


def test_an_event_that_is_new_is_shown_as_it_is_called() -> None:
    assert event_text("handed_over") == "handed over"
    assert event_text(AlarmEvent.RAISE) == "It began"


@pytest.mark.parametrize("state", AlarmState)
def test_every_state_has_a_next_step(state: AlarmState) -> None:
    said = steps_text(state, "P1", text="Switch it off.")
    assert said.endswith(".")
    assert ("Switch it off." in said) == state.startswith("active")


def test_without_a_text_of_the_rule_there_is_still_a_step() -> None:
    assert steps_text(AlarmState.ACTIVE_ACKNOWLEDGED, "P2", text="").startswith("Somebody is at it.")
    assert "within the hour" in steps_text(AlarmState.ACTIVE_UNACKNOWLEDGED, "P2", text="")
