"""How devices are, for the gates of rollouts: whether their readings are fresh, and whether they keep their connection.

Looked up in what the live view has of each: single look-ups, from any thread.
"""

from __future__ import annotations

from typing import Final, Protocol

from appliance.management.freshness import Freshness, freshness, stale_after_ms
from appliance.management.gates import Health
from appliance.management.presence import DevicePresence, Presence

STEADY_MS_MIN: Final = 300_000
"""So long a device has to have its connection already: one that loses it every few minutes is not steady. Longer would count every change of an
access point against the firmware."""
_FRESH: Final = frozenset({Freshness.FRESH, Freshness.LATE})


class DeviceHealth(Protocol):
    """How devices are."""

    def of(self, device_id: str, now_ms: int, *, steady_ms: int = STEADY_MS_MIN) -> Health:
        """One device, now.

        Args:
            steady_ms: How long it must have had its connection.
        """


class UnknownHealth:
    """Nothing is known of anybody, so nobody is worse than before."""

    def of(self, device_id: str, now_ms: int, *, steady_ms: int = STEADY_MS_MIN) -> Health:
        return Health(is_fresh=False, is_steady=False)


class LivePresences(Protocol):
    """What the live view has of a device (appliance.pipeline.live.LiveView)."""

    def presence_of(self, device_id: str, /) -> DevicePresence | None: ...
    def last_reading_ms(self, device_id: str, /) -> int | None: ...


class LiveHealth:
    """See the module's docstring.

    Args:
        stale_after_ms: Of a device that doesn't say how often it reports.
    """

    def __init__(self, live: LivePresences, *, stale_after_ms: int) -> None:
        self._live = live
        self._stale_after_ms = stale_after_ms

    def of(self, device_id: str, now_ms: int, *, steady_ms: int = STEADY_MS_MIN) -> Health:
        presence = self._live.presence_of(device_id)
        if presence is None:
            return Health(is_fresh=False, is_steady=False)
        age_ms_max = stale_after_ms(presence.expect_ms, self._stale_after_ms)
        found = freshness(self._live.last_reading_ms(device_id), now_ms, age_ms_max)
        is_there = presence.presence is Presence.SLEEPING or (
            presence.presence is Presence.ONLINE
            and presence.since_ms is not None
            and now_ms - presence.since_ms >= steady_ms
        )
        return Health(is_fresh=found in _FRESH, is_steady=is_there)
