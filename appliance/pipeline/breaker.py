"""Stands before the store: after a failure nothing is tried for a while, then once, and then it is as before.

| State | Means | Batches |
|---|---|---|
| closed | the store works | are committed |
| open | it failed a moment ago | wait in the log |
| half_open | the delay is over | one is tried |

The delay doubles with each failure in a row, up to DELAY_MS_MAX. Pure: time comes in as an argument.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

DELAY_MS_MIN: Final = 250
DELAY_MS_MAX: Final = 15_000


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerEvent(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    DELAY_OVER = "delay_over"


_S, _E = BreakerState, BreakerEvent
TRANSITIONS: Final[dict[tuple[BreakerState, BreakerEvent], BreakerState]] = {
    (_S.CLOSED, _E.SUCCESS): _S.CLOSED,
    (_S.CLOSED, _E.FAILURE): _S.OPEN,
    (_S.OPEN, _E.DELAY_OVER): _S.HALF_OPEN,
    (_S.HALF_OPEN, _E.SUCCESS): _S.CLOSED,
    (_S.HALF_OPEN, _E.FAILURE): _S.OPEN,
}


class Breaker:
    """The breaker before one store."""

    def __init__(self) -> None:
        self._state = BreakerState.CLOSED
        self._failures = 0
        self._retry_at_mono_ms = 0
        self.opened_total = 0

    @property
    def state(self) -> BreakerState:
        return self._state

    @property
    def failures_in_a_row(self) -> int:
        return self._failures

    def wait_ms(self, now_mono_ms: int) -> int:
        """How long nothing may be tried yet; 0 when it may. When the delay is over, the next try is the one try."""
        if self._state is not BreakerState.OPEN:
            return 0
        remaining_ms = self._retry_at_mono_ms - now_mono_ms
        if remaining_ms > 0:
            return remaining_ms
        self._step(BreakerEvent.DELAY_OVER)
        return 0

    def succeeded(self) -> None:
        self._failures = 0
        self._step(BreakerEvent.SUCCESS)

    def failed(self, now_mono_ms: int) -> None:
        self._failures += 1
        delay_ms = min(DELAY_MS_MAX, DELAY_MS_MIN * 2 ** min(self._failures - 1, 16))
        self._retry_at_mono_ms = now_mono_ms + delay_ms
        self._step(BreakerEvent.FAILURE)

    def _step(self, event: BreakerEvent) -> None:
        after = TRANSITIONS.get((self._state, event))
        assert after is not None, (
            f"{event} in state {self._state}: a batch was tried while the breaker was open"
        )
        if after is BreakerState.OPEN:
            self.opened_total += 1
        self._state = after
