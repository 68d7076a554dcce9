"""What the engine knows of devices besides the catalog: who can be reached, and what was seen of their health.

Kept in the event loop, read by the thread that has the catalog: single look-ups in dictionaries and sets, which need no lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from appliance.core.clock import Clock
from appliance.core.limits_executions import ASKED_COUNT_MAX, REACHED_BY_ASKING_MS
from appliance.management.execution import Execution, HealthSeen


class HealthSource(Protocol):
    """What was seen of devices while they test an update."""

    def seen(self, device_id: str, since_ms: int) -> HealthSeen:
        """Since then, UTC ms."""


class NoHealth:
    """Nothing was seen of anybody: nothing can be asked of a device then but its own word."""

    def seen(self, device_id: str, since_ms: int) -> HealthSeen:
        return HealthSeen()


class Alarms(Protocol):
    """Alarms of devices, as far as an update's health needs them."""

    def has_new(self, device_id: str, since_ms: int) -> bool:
        """Whether one of priority 1 or 2 began since then, UTC ms."""


class NoAlarms:
    """There are no alarm rules: no alarm is known, and none speaks against an update."""

    def has_new(self, device_id: str, since_ms: int) -> bool:
        return False


class Surroundings:
    """See the module's docstring.

    Args:
        random: From 0 to 1.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        health: HealthSource | None = None,
        alarms: Alarms | None = None,
        random: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._health = health or NoHealth()
        self._alarms = alarms or NoAlarms()
        self.random = random
        self._listening: set[str] = set()
        self._online: set[str] = set()
        self._asked: dict[str, int] = {}

    def is_reachable(self, device_id: str) -> bool:
        """Whether it could be told something now: it listens, it has a session, or it has just asked."""
        if device_id in self._listening or device_id in self._online:
            return True
        asked_mono_ms = self._asked.get(device_id)
        return asked_mono_ms is not None and self._clock.mono_ms() - asked_mono_ms < REACHED_BY_ASKING_MS

    def is_listening(self, device_id: str) -> bool:
        """Whether a push would arrive."""
        return device_id in self._listening

    def is_here(self, device_id: str) -> bool:
        """Whether it has to do with this very node: it listens at this one's broker, or has just asked it."""
        if device_id in self._listening:
            return True
        asked_mono_ms = self._asked.get(device_id)
        return asked_mono_ms is not None and self._clock.mono_ms() - asked_mono_ms < REACHED_BY_ASKING_MS

    def health(self, device_id: str, execution: Execution) -> HealthSeen:
        """What was seen of a device since its execution is in its state."""
        seen = self._health.seen(device_id, execution.state_since_ms)
        if not self._alarms.has_new(device_id, execution.state_since_ms):
            return seen
        return HealthSeen(
            has_readings=seen.has_readings,
            has_session=seen.has_session,
            fresh_reading_count=seen.fresh_reading_count,
            cut_count=seen.cut_count,
            is_online=seen.is_online,
            has_new_alarm=True,
        )

    def note_listening(self, device_id: str, is_listening: bool) -> bool:
        """It has subscribed to what is said to it, or is gone; whether it could not be reached before."""
        was_reachable = self.is_reachable(device_id)
        (self._listening.add if is_listening else self._listening.discard)(device_id)
        return is_listening and not was_reachable

    def note_online(self, device_id: str, is_online: bool) -> bool:
        """Its presence; whether it could not be reached before."""
        was_reachable = self.is_reachable(device_id)
        (self._online.add if is_online else self._online.discard)(device_id)
        return is_online and not was_reachable

    def note_asked(self, device_id: str) -> bool:
        """It has just asked something; whether it could not be reached before."""
        was_reachable = self.is_reachable(device_id)
        self._asked.pop(device_id, None)
        self._asked[device_id] = self._clock.mono_ms()
        if len(self._asked) > ASKED_COUNT_MAX:
            self._asked.pop(next(iter(self._asked)))
        return not was_reachable

    @property
    def listening_count(self) -> int:
        """How many listen."""
        return len(self._listening)
