"""Which of several regions is the live one: the one to which what is new goes first. Pure.

Regions stand in an order of preference. The live one is left when it fails and nothing has worked there for AWAY_AFTER_MS, or when it doesn't
answer for twice as long, for the first one that works. A preferred one is live again only after it worked for STEADY_MS without a failure and has caught up, so that a region
that comes and goes moves nobody to and fro.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

AWAY_AFTER_MS: Final = 20_000
"""Without success, counted from the beginning of the first attempt that failed or hangs; so another region has the work within a minute."""
DOUBTFUL_MS: Final = 10_000
"""One piece on a slow line takes 8 s (lanes.py)."""
STEADY_MS: Final = 300_000


@dataclass(slots=True)
class RegionState:
    """What is known of one region.

    Attributes:
        tried_ms: When the oldest attempt began after which nothing has worked; None while all is well, or nothing was tried.
        well_ms: Since when everything has worked; None before the first success and while something fails.
        reason: Of the last failure; "" while it works.
        is_unfit: The engine itself is at fault, and people have to mend it.
        lags: It lacks something that is older than what it waits for.
    """

    name: str
    tried_ms: int | None = None
    well_ms: int | None = None
    reason: str = ""
    is_unfit: bool = False
    lags: bool = True


class Regions:
    """See the module.

    Args:
        names: In order of preference; at least one.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._states = {name: RegionState(name) for name in names}
        self._live = names[0]
        self.moves = 0
        """How often another region became the live one."""

    @property
    def live(self) -> str:
        return self._live

    def __getitem__(self, name: str) -> RegionState:
        return self._states[name]

    @property
    def states(self) -> list[RegionState]:
        """In order of preference."""
        return list(self._states.values())

    def tries(self, name: str, now_ms: int) -> None:
        """Something is asked of a region."""
        state = self._states[name]
        if state.tried_ms is None:
            state.tried_ms = now_ms

    def worked(self, name: str, now_ms: int) -> None:
        state = self._states[name]
        state.tried_ms, state.reason, state.is_unfit = None, "", False
        if state.well_ms is None:
            state.well_ms = now_ms

    def spared(self, name: str, tried_ms: int) -> None:
        """What was to be asked since then was not: it says nothing of the region."""
        state = self._states[name]
        if state.tried_ms == tried_ms and not state.reason:
            state.tried_ms = None

    def failed(self, name: str, reason: str, *, is_unfit: bool = False) -> None:
        state = self._states[name]
        state.well_ms, state.reason, state.is_unfit = None, reason, is_unfit

    def silent_ms(self, name: str, now_ms: int) -> int:
        """For how long nothing that was asked of it has worked."""
        tried_ms = self._states[name].tried_ms
        return 0 if tried_ms is None else now_ms - tried_ms

    def is_doubtful(self, name: str, now_ms: int) -> bool:
        """Whether what is new should go elsewhere, too."""
        return bool(self._states[name].reason) or self.silent_ms(name, now_ms) >= DOUBTFUL_MS

    def is_away(self, name: str, now_ms: int) -> bool:
        after_ms = AWAY_AFTER_MS if self._states[name].reason else 2 * AWAY_AFTER_MS
        return self.silent_ms(name, now_ms) >= after_ms

    def next_at_ms(self, now_ms: int) -> int | None:
        """When silence alone changes what is thought of the live region; None where it doesn't."""
        tried_ms = self._states[self._live].tried_ms
        if tried_ms is None:
            return None
        times = [tried_ms + after_ms for after_ms in (DOUBTFUL_MS, AWAY_AFTER_MS, 2 * AWAY_AFTER_MS)]
        return min((at_ms for at_ms in times if at_ms > now_ms), default=None)

    def choose(self, now_ms: int) -> bool:
        """Look whether another region is to be the live one; whether it is."""
        names = list(self._states)
        before = self._live
        if self.is_away(before, now_ms):
            others = [name for name in names if name != before and self._is_well(name)]
            self._live = others[0] if others else before
        else:
            for name in names[: names.index(before)]:
                if self._is_steady(name, now_ms):
                    self._live = name
                    break
        self.moves += self._live != before
        return self._live != before

    def _is_well(self, name: str) -> bool:
        state = self._states[name]
        return not state.reason and (state.well_ms is not None or state.tried_ms is None)

    def _is_steady(self, name: str, now_ms: int) -> bool:
        state = self._states[name]
        is_well = state.well_ms is not None and now_ms - state.well_ms >= STEADY_MS
        return is_well and not state.lags and not self.is_doubtful(name, now_ms)
