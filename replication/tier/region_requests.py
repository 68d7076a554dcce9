"""What a region was asked since the start, over all its connections, and how much that is a day: stores in clouds are paid by requests. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from replication.tier.engines.requests import DAY_S, KINDS, EngineStatistics, Kind

MEASURED_MS_MIN: Final = 600_000
"""Of a shorter time nothing is said about a day: what a start asks for would be taken for what goes on."""


class RegionRequests:
    """See the module.

    Args:
        now_ms: Monotonic, as all times here.
    """

    def __init__(self, now_ms: int) -> None:
        self._begun_ms = now_ms
        self._before: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._engine: Callable[[], EngineStatistics] | None = None

    def connected(self, statistics: Callable[[], EngineStatistics]) -> None:
        """An engine was connected that counts from 0 on."""
        self.ended()
        self._engine = statistics

    def ended(self) -> None:
        """The engine's connection ended: what it counted stays counted."""
        self._before, self._engine = self.so_far(), None

    def so_far(self) -> dict[Kind, int]:
        """Requests by kind, those that failed and were tried again among them; not those of connections that were never made."""
        now = self._engine().requests if self._engine is not None else {}
        return {kind: count + now.get(kind, 0) for kind, count in self._before.items()}

    def per_day(self, now_ms: int) -> dict[Kind, int] | None:
        """What a day asks that goes on as the time since the start, by kind; None before MEASURED_MS_MIN."""
        elapsed_ms = now_ms - self._begun_ms
        if elapsed_ms < MEASURED_MS_MIN:
            return None
        return {kind: round(count * DAY_S * 1_000 / elapsed_ms) for kind, count in self.so_far().items()}
