"""How much there was a minute, averaged over one, five and fifteen minutes, as mosquitto computes its `load/…` topics.

Each average moves towards the newest interval's rate, the further the longer the interval was: an exponentially weighted
moving average, like Unix' load. Pure: totals and time come in as arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import exp
from typing import Final

WINDOWS_S: Final[dict[str, int]] = {"1min": 60, "5min": 300, "15min": 900}
MINUTE_S: Final = 60.0


class LoadAverages:
    """Moving averages of totals that only grow; all begin at 0."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._averages: dict[tuple[str, str], float] = {}

    def update(self, totals: Mapping[str, int], elapsed_s: float) -> None:
        """Take the totals of now.

        Args:
            totals: By name; a name that comes for the first time has grown by nothing.
            elapsed_s: Since the call before, seconds; 0 for the first.
        """
        for name, total in totals.items():
            grown = total - self._totals.get(name, total)
            self._totals[name] = total
            per_minute = grown * MINUTE_S / elapsed_s if elapsed_s > 0 else 0.0
            for window, window_s in WINDOWS_S.items():
                before = self._averages.get((name, window), 0.0)
                weight = exp(-elapsed_s / window_s)
                self._averages[name, window] = per_minute + weight * (before - per_minute)

    def items(self) -> Iterator[tuple[str, str, float]]:
        """(name, window, how much a minute)."""
        for (name, window), average in self._averages.items():
            yield name, window, average
