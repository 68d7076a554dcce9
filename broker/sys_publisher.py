"""Brings the topics below $SYS up to date from time to time: what differs goes to whoever is subscribed, nothing to the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from appliance.core.clock import Clock

from .load_average import LoadAverages
from .local_messages import LocalMessages
from .sys_topics import LOAD_OF_TOTAL, Statistics, topics, totals

if TYPE_CHECKING:
    from .data_plane import DataPlane


class SysPublisher:
    """See the module's docstring.

    Args:
        statistics: The broker's numbers of now.
        interval_s: Between two updates, seconds, at least 1.
        version: Of the program.
    """

    def __init__(
        self,
        local: LocalMessages,
        plane: DataPlane,
        statistics: Callable[[], Statistics],
        clock: Clock,
        *,
        interval_s: int,
        version: str,
    ) -> None:
        self._local = local
        self._plane = plane
        self._statistics = statistics
        self._clock = clock
        self._interval_s = interval_s
        self._version = version
        self._load = LoadAverages()
        self._started_mono_ms = self._updated_mono_ms = clock.mono_ms()
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        """Update now and at every interval. Runs until cancelled."""
        while True:
            self.update()
            await trio.sleep(self._interval_s)

    def update(self) -> None:
        """Publish what differs from what was said last."""
        mono_ms = self._clock.mono_ms()
        statistics = self._statistics()
        grown = {LOAD_OF_TOTAL[name]: n for name, n in totals(statistics).items() if name in LOAD_OF_TOTAL}
        self._load.update(grown, (mono_ms - self._updated_mono_ms) / 1000)
        self._updated_mono_ms = mono_ms
        now = topics(
            statistics,
            self._load,
            version=self._version,
            uptime_s=(mono_ms - self._started_mono_ms) // 1000,
            now_ms=self._clock.now_ms(),
        )
        for topic, text in now.items():
            if self._said.get(topic) != text:
                self._local.publish(topic.encode(), text.encode(), self._plane)
        self._said = now
        self._plane.wake()
