"""Firmware that devices report in their twin, as clients of AWS IoT do: handed to the engine like a status.

A twin that says the same again is handed on once a minute: it is news only that it is still said.
"""

from __future__ import annotations

from typing import Final

from appliance.core.clock import Clock
from appliance.core.limits_executions import ASKED_COUNT_MAX
from appliance.core.limits_updates import MINUTE_MS
from appliance.management.firmware_report import parse_twin
from appliance.updates.engine import Engine
from storage.catalog.twins import TwinChanged

_MEMBERS: Final = ("fw", "boot_id", "hw")


class TwinFirmware:
    """See the module's docstring. `note` is what the twins' desk tells of changes."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._said_mono_ms: dict[str, int] = {}

    def note(self, changed: TwinChanged) -> None:
        """A twin has changed; only the unnamed one's report counts."""
        before, after = changed.before, changed.after
        if after.name or after.reported_at_ms is None:
            return
        report = parse_twin(after.device_id, after.twin.reported, after.reported_at_ms)
        if report is None:
            return
        old, new = before.twin.reported, after.twin.reported
        is_same = all(old.get(name) == new.get(name) for name in _MEMBERS)
        now_mono_ms, said_mono_ms = self._clock.mono_ms(), self._said_mono_ms.get(after.device_id)
        if is_same and said_mono_ms is not None and now_mono_ms - said_mono_ms < MINUTE_MS:
            return
        self._said_mono_ms.pop(after.device_id, None)
        self._said_mono_ms[after.device_id] = now_mono_ms
        if len(self._said_mono_ms) > ASKED_COUNT_MAX:
            del self._said_mono_ms[next(iter(self._said_mono_ms))]
        self._engine.firmware_reported(report)
