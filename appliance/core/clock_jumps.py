"""Jumps of the wall clock, measured as wall minus monotonic time. No input or output.

Time that passes is no jump, whatever the machine did meanwhile; neither is a clock that is slewed, until that has gathered to one.
"""

from __future__ import annotations

from appliance.core.clock import Clock


class ClockJumps:
    """See the module's docstring.

    Args:
        clock: Wall and monotonic time.
        jump_ms_min: Less is none yet.
    """

    def __init__(self, clock: Clock, *, jump_ms_min: int) -> None:
        self._clock = clock
        self._jump_ms_min = jump_ms_min
        self._offset_ms = clock.now_ms() - clock.mono_ms()
        self.total = 0

    def measure(self) -> int:
        """How far the wall clock jumped since the last call, ms, negative for backward; 0 for no jump."""
        return self.between(self._clock.now_ms(), self._clock.mono_ms())

    def between(self, now_ms: int, mono_ms: int) -> int:
        """As measure, for times that the caller has read."""
        jump_ms = now_ms - mono_ms - self._offset_ms
        if abs(jump_ms) < self._jump_ms_min:
            return 0
        self._offset_ms += jump_ms
        self.total += 1
        return jump_ms
