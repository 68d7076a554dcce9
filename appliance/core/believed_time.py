"""How late it is as far as can be believed: what is gone by where a wrong clock could not be made up for. No input or output.

Theory of operation. The believed time is the clock's, as long as that is near where it was last, plus what has passed since. Otherwise:

    before   The clock says a time in which this program did not exist: a box without a battery, in 1970. Believed is what was before.
    back     It is CLOCK_LEAP_MS or more behind: one of the two is wrong. It is believed once it has stood for CLOCK_BACK_HELD_MS.
    ahead    It is as far ahead: the box was off, or the clock is wrong. What is believed follows at twice the speed of time, so
             a clock that leapt by a week is believed after a week, one that leapt to 2099 practically never. Whatever is let go after
             a leap has therefore really been kept for at least half of its time, and a clock put right meanwhile has cost nothing.

A clock that the kernel knows to be synchronized is believed at once. Before a believable time was ever seen there is no believed time, and
nothing is late. It is kept over restarts by whoever has a disk (appliance/run/clock_file.py).

Must not know what is gone by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from appliance.core.clock import Clock
from appliance.core.clock_jumps import ClockJumps
from appliance.core.clock_state import clock_state
from appliance.core.limits import (
    CLOCK_BACK_HELD_MS,
    CLOCK_LEAP_MS,
    CLOCK_STEP_MS,
    CLOCK_WRONG_BEFORE_MS,
)


class ClockDoubt(StrEnum):
    """Why the clock isn't believed; see the module."""

    NONE = ""
    BEFORE = "before"
    BACK = "back"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The clock was set: `by_ms` forward (negative: back), at this monotonic time; `from_ms` is what it had said, UTC ms."""

    by_ms: int
    from_ms: int
    at_mono_ms: int


def is_known_wrong(at_ms: int) -> bool:
    """Whether a time (UTC ms) that this box's clock gave can't have been right."""
    return at_ms < CLOCK_WRONG_BEFORE_MS


class BelievedTime:
    """See the module.

    Args:
        last_ms: What was believed last, UTC ms; None for never.
        is_synchronized: Asks the kernel, given what the clock says, UTC ms.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        last_ms: int | None = None,
        is_synchronized: Callable[[int], bool] = lambda now_ms: clock_state(now_ms=now_ms) == "synchronized",
    ) -> None:
        self._clock = clock
        self._believed_ms = last_ms
        self._is_synchronized = is_synchronized
        self._looked_mono_ms = clock.mono_ms()
        self._jumps = ClockJumps(clock, jump_ms_min=CLOCK_STEP_MS)
        self._back_since_mono_ms: int | None = None
        self.doubt = ClockDoubt.NONE
        """As of the last look."""
        self.off_by_ms = 0
        """How far the clock is ahead of what is believed (negative: behind), as of the last look."""
        self.last_step: ClockStep | None = None
        """Since the process started."""
        self.stepped_ms = 0
        """By how much the clock was set in all since then: so much later (negative: earlier) the start is by the clock of now."""

    @property
    def steps_total(self) -> int:
        return self._jumps.total

    @property
    def believed_ms(self) -> int | None:
        """As of the last look; None while the clock has never said a believable time."""
        return self._believed_ms

    def look(self) -> int:
        """What may be gone by now, UTC ms: never later than what is believed, nor than what the clock says."""
        now_ms, mono_ms = self._clock.now_ms(), self._clock.mono_ms()
        passed_ms, self._looked_mono_ms = mono_ms - self._looked_mono_ms, mono_ms
        if by_ms := self._jumps.between(now_ms, mono_ms):
            self.last_step = ClockStep(by_ms, now_ms - by_ms, mono_ms)
            self.stepped_ms += by_ms
        expected_ms = None if self._believed_ms is None else self._believed_ms + passed_ms
        self.doubt = self._doubt(now_ms, mono_ms, expected_ms)
        if self.doubt is ClockDoubt.NONE:
            self._believed_ms = now_ms
        elif expected_ms is not None:
            extra_ms = passed_ms if self.doubt is ClockDoubt.AHEAD else 0
            self._believed_ms = expected_ms + extra_ms
        self.off_by_ms = 0 if self._believed_ms is None else now_ms - self._believed_ms
        return now_ms if self._believed_ms is None else min(now_ms, self._believed_ms)

    def is_ahead(self) -> bool:
        """Whether the clock is ahead of what can be believed now."""
        self.look()
        return self.doubt is ClockDoubt.AHEAD

    def _doubt(self, now_ms: int, mono_ms: int, expected_ms: int | None) -> ClockDoubt:
        since_mono_ms, self._back_since_mono_ms = self._back_since_mono_ms, None
        if is_known_wrong(now_ms):
            return ClockDoubt.BEFORE
        if expected_ms is None or self._is_synchronized(now_ms):
            return ClockDoubt.NONE
        off_by_ms = now_ms - expected_ms
        if off_by_ms >= CLOCK_LEAP_MS:
            return ClockDoubt.AHEAD
        if off_by_ms <= -CLOCK_LEAP_MS:
            since_mono_ms = mono_ms if since_mono_ms is None else since_mono_ms
            if mono_ms - since_mono_ms < CLOCK_BACK_HELD_MS:
                self._back_since_mono_ms = since_mono_ms
                return ClockDoubt.BACK
        return ClockDoubt.NONE
