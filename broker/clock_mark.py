"""A record where the wall clock went ahead by more than time has passed: nobody was silent meanwhile, though the log's times say so.

It comes before whatever was received by the new time, so whoever reads the log, now or again, finds it in its place. A clock that is put
back needs none: the times say it.
"""

from __future__ import annotations

from collections import deque

import msgspec
import structlog

from appliance.core.clock import Clock
from appliance.core.clock_jumps import ClockJumps
from appliance.core.limits_watch import WATCH_CLOCK_AHEAD_MS
from storage.log.columns import Kind

from .open_block import PendingRecord

log = structlog.get_logger(__name__)


class ClockMark:
    """See the module's docstring."""

    def __init__(self, clock: Clock) -> None:
        self._jumps = ClockJumps(clock, jump_ms_min=WATCH_CLOCK_AHEAD_MS)

    def first(self, pending: deque[PendingRecord], now_ms: int, mono_ms: int) -> deque[PendingRecord]:
        """What waits for its place in a block, the mark first where there is to be one.

        Args:
            now_ms, mono_ms: By which the records that follow are received.
        """
        jump_ms = self._jumps.between(now_ms, mono_ms)
        if jump_ms > 0:
            log.warning("the clock went ahead", by_ms=jump_ms)
            payload = msgspec.msgpack.encode({"by_ms": jump_ms})
            pending.appendleft(PendingRecord(Kind.CLOCK_AHEAD, ("", ""), payload=payload))
        return pending
