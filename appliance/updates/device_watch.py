"""What the pipeline knows of devices, handed to the engine: what they say that they run, who is there, and how those are that test an update.

Firmware and presence come from the live view after their commit, so nothing is told that a crash could undo. A status that says the same in the
same connection is told once. At the start everything that the store has kept is told, and the catalog knows what of it is news.
Health is watched only of devices under test: their readings are counted by looking, so a watch costs nothing while nobody tests.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from appliance.core.clock import Clock
from appliance.core.limits_executions import HEALTH_CUT_COUNT_MAX, HEALTH_LOOK_MS, HEALTH_READING_COUNT_MIN
from appliance.core.limits_updates import DAY_MS
from appliance.management.execution import HealthSeen
from appliance.management.firmware_report import FirmwareReport
from appliance.management.presence import Presence
from appliance.pipeline.live import LiveView, Subscription
from appliance.updates.engine import Engine

_News = tuple[str, str, str, str, bool | None, int | None, str]
_CUT: Final = frozenset({Presence.LOST})


class HealthWatch:
    """How devices are that test an update (a HealthSource). `seen` may be called from the catalog's thread."""

    def __init__(self, live: LiveView, *, clock: Clock) -> None:
        self._live = live
        self._clock = clock
        self._readings: dict[str, deque[int]] = {}
        self._cuts: dict[str, deque[int]] = {}

    def seen(self, device_id: str, since_ms: int) -> HealthSeen:
        """Since then, UTC ms."""
        presence = self._live.presence_of(device_id)
        last_ms = self._live.last_reading_ms(device_id)
        now_ms = self._clock.now_ms()
        return HealthSeen(
            has_readings=last_ms is not None and last_ms >= now_ms - DAY_MS,
            has_session=presence is not None and presence.presence is not Presence.NEVER_SEEN,
            fresh_reading_count=_since(self._readings.get(device_id), since_ms),
            cut_count=_since(self._cuts.get(device_id), since_ms),
            is_online=presence is not None and presence.presence is Presence.ONLINE,
        )

    def look(self, testing: set[str]) -> None:
        """Note what is new of those that test; all others are forgotten."""
        for kept in (self._readings, self._cuts):
            for device_id in kept.keys() - testing:
                del kept[device_id]
        for device_id in testing:
            self._note(
                self._readings, device_id, self._live.last_reading_ms(device_id), HEALTH_READING_COUNT_MIN
            )
            presence = self._live.presence_of(device_id)
            if presence is not None and presence.presence in _CUT:
                self._note(self._cuts, device_id, presence.since_ms, HEALTH_CUT_COUNT_MAX + 1)

    def _note(self, kept: dict[str, deque[int]], device_id: str, at_ms: int | None, count_max: int) -> None:
        if at_ms is None:
            return
        times = kept.setdefault(device_id, deque(maxlen=count_max))
        if not times or times[-1] != at_ms:
            times.append(at_ms)


class DeviceWatch:
    """Hands on what devices say; `run` until cancelled."""

    def __init__(self, engine: Engine, live: LiveView, health: HealthWatch) -> None:
        self._engine = engine
        self._live = live
        self._health = health
        self._news: dict[str, _News] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell everything there is, then what changes; the health of those that test every HEALTH_LOOK_MS."""
        with self._live.subscribe_presences() as subscription:
            for device_id in tuple(self._live.devices()):
                self.note(device_id)
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, subscription)
                nursery.start_soon(self._look)

    def note(self, device_id: str) -> None:
        """Hand on what is new of a device."""
        presence = self._live.presence_of(device_id)
        if presence is None:
            return
        self._engine.online(device_id, presence.presence is Presence.ONLINE)
        report = presence.firmware
        if report is None:
            return
        news = _news_of(report)
        if self._news.get(device_id) != news:
            self._news[device_id] = news
            self._engine.firmware_reported(report)

    def look(self) -> None:
        """Note how those are that test an update."""
        self._health.look(set(self._engine.batches.testing.values()))

    async def _follow(self, subscription: Subscription) -> None:
        while True:
            changes = await subscription.wait()
            for device_id in tuple(self._live.devices()) if changes.everything else changes.devices:
                self.note(device_id)

    async def _look(self) -> None:
        while True:
            self.look()
            await trio.sleep(HEALTH_LOOK_MS / 1_000)


def _news_of(report: FirmwareReport) -> _News:
    """What of a report makes it another one than before; not its number, which every status has."""
    return (
        report.boot_id,
        report.session,
        report.version,
        report.digest,
        report.is_confirmed,
        report.epoch,
        report.self_test,
    )


def _since(times: deque[int] | None, since_ms: int) -> int:
    return sum(at_ms >= since_ms for at_ms in tuple(times)) if times else 0
