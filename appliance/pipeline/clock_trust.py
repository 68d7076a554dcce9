"""Whether the wall clock may be gone by where that can't be undone: letting readings go for good.

Guarantees: after the clock went ahead by more than JUMP_MS, within this process or since the archive was last written, it is not trusted for
HOLD_MS. A clock that is put right within that time has cost nothing; a box that was off for a week lets things go a day later.
Must not know what is let go.
"""

from __future__ import annotations

from typing import Final

from appliance.core.clock import Clock
from storage.telemetry.batch import DAY_MS

JUMP_MS: Final = 3 * DAY_MS
"""The archive is written once a day; a machine that sleeps over a weekend has not jumped."""
HOLD_MS: Final = DAY_MS


class ClockTrust:
    """See the module. `begin` it once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_ms = clock.now_ms() - clock.mono_ms()
        self._until_mono_ms: int | None = None

    def begin(self, written_ms: int | None) -> None:
        """Compare with when something was last written, UTC ms; None for never."""
        if written_ms is not None and self._clock.now_ms() - written_ms > JUMP_MS:
            self._until_mono_ms = self._clock.mono_ms() + HOLD_MS

    def may_let_go(self) -> bool:
        """Whether the clock is trusted now."""
        now_mono_ms = self._clock.mono_ms()
        ahead_ms = self._clock.now_ms() - now_mono_ms
        if ahead_ms - self._ahead_ms > JUMP_MS:
            self._until_mono_ms = now_mono_ms + HOLD_MS
        elif ahead_ms - self._ahead_ms < -JUMP_MS:
            self._until_mono_ms = None  # put right
        self._ahead_ms = ahead_ms
        if self._until_mono_ms is not None and now_mono_ms >= self._until_mono_ms:
            self._until_mono_ms = None
        return self._until_mono_ms is None

    def words(self) -> str:
        """Why not, "" where it is trusted."""
        if self._until_mono_ms is None:
            return ""
        return "The clock went ahead by days: nothing is let go for good until it has stood for a day."
