"""Health for the gates: fresh readings by each device's own rhythm, and a connection that stays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from appliance.management.gates import Health
from appliance.management.presence import DevicePresence, Presence
from appliance.updates.device_health import STEADY_MS_MIN, LiveHealth, UnknownHealth

NOW = 1_700_000_000_000


@dataclass
class Live:
    presences: dict[str, DevicePresence] = field(default_factory=dict)
    readings: dict[str, int] = field(default_factory=dict)

    def presence_of(self, device_id: str, /) -> DevicePresence | None:
        return self.presences.get(device_id)

    def last_reading_ms(self, device_id: str, /) -> int | None:
        return self.readings.get(device_id)


@pytest.mark.parametrize(
    ("presence", "reading_age_ms", "expected"),
    [
        ({"presence": Presence.ONLINE, "since_ms": NOW - STEADY_MS_MIN}, 1_000, (True, True)),
        ({"presence": Presence.ONLINE, "since_ms": NOW - STEADY_MS_MIN + 1}, 1_000, (True, False)),
        ({"presence": Presence.SLEEPING, "since_ms": NOW}, 60_001, (False, True)),
        ({"presence": Presence.SLEEPING, "since_ms": NOW, "expect_ms": 60_000}, 60_001, (True, True)),
        ({"presence": Presence.LOST, "since_ms": NOW - 9 * STEADY_MS_MIN}, None, (False, False)),
    ],
)
def test_a_device(presence: dict[str, Any], reading_age_ms: int | None, expected: tuple[bool, bool]) -> None:
    live = Live({"d": DevicePresence(device="d", **presence)})
    if reading_age_ms is not None:
        live.readings["d"] = NOW - reading_age_ms
    found = LiveHealth(live, stale_after_ms=60_000).of("d", NOW)
    assert (found.is_fresh, found.is_steady) == expected


def test_a_device_that_was_watched_for_a_shorter_time() -> None:
    """It lost its connection to its update's reboot: that is not held against it."""
    live = Live({"d": DevicePresence(device="d", presence=Presence.ONLINE, since_ms=NOW - 12_000)})
    health = LiveHealth(live, stale_after_ms=60_000)
    assert health.of("d", NOW, steady_ms=12_000).is_steady
    assert not health.of("d", NOW, steady_ms=12_001).is_steady


def test_nobody_knows_it() -> None:
    nothing = Health(is_fresh=False, is_steady=False)
    assert LiveHealth(Live(), stale_after_ms=60_000).of("d", NOW) == nothing
    assert UnknownHealth().of("d", NOW) == nothing
