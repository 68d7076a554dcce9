"""From a device's publish to an alarm, against the whole appliance: once, whatever is killed in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import HomeportError
from tests.integration.test_broker_verbs import Appliance, until
from tests.integration.test_twins_and_commands import Device, added, kill_node

RULE = "Too warm"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    running = Appliance(tmp_path, more="[alarms]\nexplain_wait_s = 0\n")
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()


def alarm(appliance: Appliance) -> dict[str, Any] | None:
    """The rule's one alarm, None while there is none, or nobody answers."""
    try:
        found = appliance.api().get("/api/v1/alarms?state=active_unacknowledged&state=cleared_unacknowledged")
    except HomeportError:
        return None
    mine = [each for each in found["alarms"] if each["rule_name"] == RULE]
    assert len(mine) <= 1
    return mine[0] if mine else None


def is_active(appliance: Appliance) -> bool | None:
    found = alarm(appliance)
    return found["is_active"] if found is not None else None


def test_a_reading_becomes_one_alarm_and_its_end_one_event(appliance: Appliance) -> None:
    device = Device(appliance.port, "pump", added(appliance, "pump"))
    made = appliance.answer("rule", "add", RULE, "--metric", "temp", "--above", "80", "--all")
    assert made["name"] == RULE

    def say(value: float) -> None:
        device.say("dm/pump/telemetry", {"ts": time.time_ns() // 1_000_000, "v": {"temp": value}})

    say(20.0)
    say(90.0)
    until(lambda: is_active(appliance) is True)
    found = alarm(appliance)
    assert found is not None
    assert (found["device_id"], found["series"], found["value"]) == ("pump", "temp", 90.0)
    kill_node(appliance)
    say(91.0)
    say(20.0)
    until(lambda: is_active(appliance) is False)
    kill_node(appliance)
    until(lambda: is_active(appliance) is False)
    until(lambda: (appliance.api().get("/api/v1/status")["rules"] or {}).get("state") == "up_to_date")
    events = appliance.api().get(f"/api/v1/alarms/{found['alarm_id']}")["events"]
    assert sorted(each["event"] for each in events if each["event"] in ("raise", "clear")) == [
        "clear",
        "raise",
    ]
    device.close()
