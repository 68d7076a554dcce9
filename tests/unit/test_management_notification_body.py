"""What notifications say: for programs and for people, whatever devices put into their names."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import msgspec
import pytest

from appliance.management.notification_body import AlarmWords, Body, event_of, of_json, subject, text, to_json

AT_MS = 1_772_000_000_000  # 2026-02-25 06:13 UTC
ALARM = AlarmWords(
    alarm_id="a1",
    episode=1,
    severity="P1",
    rule_id="r1",
    rule="Too hot",
    device_id="pump-1",
    device_name="Pump in the cellar",
    group_id="",
    series="celsius",
    state="active_unacknowledged",
    value=91.5,
    unit="°C",
    text="91.5 °C is above 90 °C.",
    what_to_do="Switch it off.",
    runbook="",
    raised_at_ms=AT_MS,
    cleared_at_ms=None,
    count=1,
    link="https://box/alarms/a1",
)


def body(**changes: Any) -> Body:
    made = {
        "key": "k",
        "event": "raised",
        "step": "raised",
        "at_ms": AT_MS,
        "site": "Plant",
        "alarm": ALARM,
        **changes,
    }
    return Body(link="https://box/alarms/a1", **made)


def alarm(**changes: Any) -> AlarmWords:
    return msgspec.structs.replace(ALARM, **changes)


def test_what_was_raised() -> None:
    made = body()
    assert of_json(to_json(made)) == made
    assert subject(made) == "Plant: [P1] Pump in the cellar celsius: Too hot"
    assert text(made, UTC) == (
        "[P1] Pump in the cellar celsius: Too hot\n91.5 °C is above 90 °C.\nSince 2026-02-25 06:13 UTC.\n\nSwitch it off.\n\n"
        "https://box/alarms/a1\n"
    )


def test_what_is_over() -> None:
    over = body(event="cleared", alarm=alarm(cleared_at_ms=AT_MS + 120_000, count=3))
    assert subject(over) == "Plant: [P1] Over: Pump in the cellar celsius: Too hot"
    assert "from 2026-02-25 06:13 UTC until 2026-02-25 06:15 UTC. It was raised 3 times." in text(over, UTC)
    assert "Switch it off" not in text(over, UTC)
    assert "watched no longer" in text(body(event="cleared"), UTC)


def test_that_nobody_was_on_call() -> None:
    assert "Nobody of “Nights” is on call now" in text(body(on_call="Nights", fallback=True), UTC)


def test_a_repetition_says_that_nobody_acknowledged() -> None:
    assert "Still not acknowledged: " in subject(body(event="repeated"))
    assert "Still not acknowledged: " in text(body(event="escalated"), UTC)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device_name": ""}, "pump-1 celsius"),
        ({"device_name": "", "device_id": "", "group_id": "north", "series": ""}, "north"),
        ({"device_name": "", "device_id": "", "series": ""}, "this box"),
    ],
)
def test_what_it_is_about(changes: dict[str, Any], words: str) -> None:
    assert subject(body(site="", alarm=alarm(**changes))) == f"[P1] {words}: Too hot"


def test_no_name_ends_the_line_or_is_endless() -> None:
    hostile = body(alarm=alarm(device_name="a\r\nBcc: x@y.z\x1b[2J", rule="x" * 500, text="", what_to_do=""))
    assert subject(hostile).isprintable()
    assert len(subject(hostile)) == 150
    assert "\r" not in text(hostile, UTC)
    assert "\x1b" not in text(hostile, UTC)
    todo = text(body(alarm=alarm(what_to_do="Go.\nLook.\x1b\ud800")), UTC)
    assert "Go.\nLook.  \n" in todo


def test_a_digest() -> None:
    made = body(
        event="digest",
        step="digest/1",
        alarm=None,
        alarms=(ALARM, alarm(text="", severity="P3")),
        more_count=5,
    )
    assert subject(made) == "Plant: 7 alarms that can wait"
    lines = text(made, UTC).splitlines()
    assert lines[2] == "2026-02-25 06:13 UTC  [P1] Pump in the cellar celsius: 91.5 °C is above 90 °C."
    assert lines[3].endswith("[P3] Pump in the cellar celsius: Too hot")
    assert lines[4] == "… and 5 more."
    one = body(event="digest", step="digest/1", alarm=None, alarms=(ALARM,))
    assert subject(one) == "Plant: 1 alarm that can wait"
    assert "more" not in text(one, UTC)


def test_a_try() -> None:
    made = msgspec.structs.replace(body(event="test", step="test/1", alarm=None), link="")
    assert "reach you" in subject(made)
    assert text(made, UTC) == "This is a try. Alarms will reach you like this.\n"


@pytest.mark.parametrize(
    ("step", "event"),
    [
        ("raised", "raised"),
        ("raised.2", "raised"),
        ("escalated/1", "escalated"),
        ("repeated/12.3", "repeated"),
        ("cleared", "cleared"),
        ("digest/l1/5", "digest"),
        ("test/9", "test"),
    ],
)
def test_the_event_of_a_step(step: str, event: str) -> None:
    assert event_of(step) == event
