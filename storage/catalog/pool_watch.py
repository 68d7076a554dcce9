"""Looks at the pools once a second: how much of each is in use, whether one is nearly used up, who keeps a connection.

A pool that is used up refuses what comes next, and by then it is late to say so. So there is an alarm when a pool's mean
use over each of POOL_ALARM_COUNT seconds in a row is at least POOL_ALARM_RATIO, and it is over when it was below for as
many: a page that is loaded and a burst that passes raise none. Who has had a connection for longer than it may is said in
the log once, by name and place, and once more when it comes back.

Everything else (readiness, the Overview, doctor, metrics) asks `alarms` and `utilization`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.limits import POOL_ALARM_COUNT, POOL_ALARM_RATIO, POOL_LOOK_INTERVAL_MS
from storage.catalog.lending import LenderStatistics
from storage.catalog.loans import Borrower

_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAlarm:
    """What is wrong with a pool now.

    Attributes:
        utilization_ratio: Mean of the last second, 0..1.
        is_nearly_used_up: Whether that was so for long enough.
        since_ms: For how long there has been something wrong.
        overdue: Who has had a connection for longer than it may.
    """

    pool: str
    utilization_ratio: float
    is_nearly_used_up: bool
    since_ms: int
    overdue: tuple[Borrower, ...]

    def sentence(self) -> str:
        """For people: what it is, and who."""
        parts = []
        if self.is_nearly_used_up:
            percent = round(100 * self.utilization_ratio)
            parts.append(f"{percent} % of the catalog's connections ({self.pool}) are in use")
        if self.overdue:
            one = self.overdue[0]
            parts.append(f"{one.who} has had one ({self.pool}) for {one.held_ms / 1000:.0f} s")
        return "; ".join(parts) + "."


@dataclass(slots=True)
class _Seen:
    """What the watch remembers of a pool."""

    busy_ms_total: int
    at_mono_ms: int
    utilization_ratio: float = 0.0
    high_count: int = 0
    low_count: int = 0
    is_high: bool = False
    since_mono_ms: int | None = None
    overdue: dict[int, Borrower] = field(default_factory=dict)


class PoolWatch:
    """See the module's docstring.

    Args:
        pools: Their statistics now.
    """

    def __init__(self, pools: Callable[[], Iterable[LenderStatistics]], *, clock: Clock) -> None:
        self._pools = pools
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._alarms_total = 0

    async def run(self) -> None:
        """Look once a second until cancelled."""
        while True:
            self.look()
            await trio.sleep(POOL_LOOK_INTERVAL_MS / 1000)

    def look(self) -> None:
        """Look at all pools."""
        now_ms = self._clock.mono_ms()
        for pool in self._pools():
            seen = self._seen.get(pool.name)
            if seen is None:
                self._seen[pool.name] = _Seen(pool.busy_ms_total, now_ms)
                continue
            elapsed_ms = now_ms - seen.at_mono_ms
            if elapsed_ms <= 0:
                continue
            busy_ms = pool.busy_ms_total - seen.busy_ms_total
            seen.utilization_ratio = min(1.0, busy_ms / (elapsed_ms * pool.size))
            seen.busy_ms_total, seen.at_mono_ms = pool.busy_ms_total, now_ms
            self._judge(pool, seen)
            self._name_overdue(pool, seen)
            if not (seen.is_high or seen.overdue):
                seen.since_mono_ms = None
            elif seen.since_mono_ms is None:
                seen.since_mono_ms = now_ms

    def _judge(self, pool: LenderStatistics, seen: _Seen) -> None:
        if seen.utilization_ratio >= POOL_ALARM_RATIO:
            seen.high_count, seen.low_count = seen.high_count + 1, 0
        else:
            seen.high_count, seen.low_count = 0, seen.low_count + 1
        if not seen.is_high and seen.high_count >= POOL_ALARM_COUNT:
            seen.is_high = True
            self._alarms_total += 1
            _log.warning(
                "a pool of the catalog is nearly used up",
                pool=pool.name,
                utilization=round(seen.utilization_ratio, 2),
                waiting=pool.waiting,
                borrowers=[each.who for each in pool.borrowers],
            )
        elif seen.is_high and seen.low_count >= POOL_ALARM_COUNT:
            seen.is_high = False
            _log.info("a pool of the catalog has room again", pool=pool.name)

    def _name_overdue(self, pool: LenderStatistics, seen: _Seen) -> None:
        now = {each.number: each for each in pool.overdue}
        for number, each in now.items():
            if number not in seen.overdue:
                _log.error(
                    "a connection of the catalog is kept for too long",
                    pool=pool.name,
                    who=each.who,
                    held_ms=each.held_ms,
                )
        for number, each in seen.overdue.items():
            if number not in now:
                _log.info("a connection that was kept for too long is back", pool=pool.name, who=each.who)
        seen.overdue = now

    def utilization(self, pool: str) -> float:
        """Mean use of a pool in the last second, 0..1; 0 before the first look."""
        seen = self._seen.get(pool)
        return seen.utilization_ratio if seen is not None else 0.0

    def highest_utilization(self) -> float:
        """Of all pools, as `utilization`."""
        return max((seen.utilization_ratio for seen in self._seen.values()), default=0.0)

    def alarms(self) -> tuple[PoolAlarm, ...]:
        """Pools with something wrong, as of the last look."""
        now_ms = self._clock.mono_ms()
        return tuple(
            PoolAlarm(
                pool=name,
                utilization_ratio=seen.utilization_ratio,
                is_nearly_used_up=seen.is_high,
                since_ms=now_ms - seen.since_mono_ms,
                overdue=tuple(seen.overdue.values()),
            )
            for name, seen in self._seen.items()
            if seen.since_mono_ms is not None
        )

    @property
    def alarms_total(self) -> int:
        """Times that a pool was nearly used up."""
        return self._alarms_total
