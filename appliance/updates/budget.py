"""How fast firmware goes out: token buckets that let wait and refuse nobody.

Three of them, one after the other: the rollout's own, the uplink's for devices that are reached over it, and that of all delivery, which
keeps the broker's turn for telemetry. Each is served in the order of arrival, and a device stands in one place at a time, so that all
that wait get the same. A turn gives what flows in BUDGET_TURN_MS at most, and with many that wait no more than their part of what flows in
BUDGET_SHARE_MS: with a thousand devices turns get smaller, not slower. What a turn gives beyond what is in the bucket is a debt, which the
next one waits for.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from appliance.core.clock import Clock
from appliance.core.errors import Unavailable
from appliance.core.limits_delivery import (
    BUDGET_BURST_MS,
    BUDGET_ROLLOUT_COUNT_MAX,
    BUDGET_SHARE_MS,
    BUDGET_TURN_MS,
    BUDGET_WAIT_MS,
)
from appliance.updates.line import Line

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who wants bytes, and what bounds them.

    Attributes:
        rollout_bytes_s: Of the rollout; 0 is no bound.
        address: The device's, "" where it has none (a Unix socket).
    """

    device_id: str
    rollout_id: str
    rollout_bytes_s: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatistics:
    """Numbers since the start; `waiting` is of now.

    Attributes:
        granted_bytes, uplink_bytes: In all, and of them over an uplink that is bounded.
        waited_ms: Time that requests waited for their turn, together.
        given_up: Requests whose turn did not come within BUDGET_WAIT_MS.
        served, in_line: Devices that have a place in all lines, over MQTT, and such that wait for one.
    """

    waiting: int
    served: int
    in_line: int
    granted_bytes: int
    uplink_bytes: int
    waited_ms: int
    given_up: int


class Pace:
    """One bucket and its queue. Used from one event loop.

    Args:
        rate_bytes_s: 0 is no bound. It may be changed while it is used.
    """

    def __init__(self, rate_bytes_s: int, clock: Clock) -> None:
        self.line = Line(clock, rate_bytes_s)
        self._rate_bytes_s = rate_bytes_s
        self._clock = clock
        self._turn = trio.StrictFIFOLock()
        self._queued = 0
        self._most_queued = self._most_queued_before = 0
        self._most_since_mono_ms = clock.mono_ms()
        self._level_bytes = rate_bytes_s * BUDGET_BURST_MS / _MS
        self._filled_at_mono_ms = clock.mono_ms()

    @property
    def rate_bytes_s(self) -> int:
        return self._rate_bytes_s

    @rate_bytes_s.setter
    def rate_bytes_s(self, rate_bytes_s: int) -> None:
        self._rate_bytes_s = self.line.rate_bytes_s = rate_bytes_s

    async def take(self, want_bytes: int, least_bytes: int) -> int:
        """Wait for a turn, and take what it gives: `least_bytes` to `want_bytes`."""
        if not self.rate_bytes_s:
            return want_bytes
        self._queued += 1
        self._most_queued = max(self._most_queued, self._queued)
        try:
            async with self._turn:
                while True:
                    if not (wait_ms := self._wait_ms()):
                        break
                    await trio.sleep(wait_ms / _MS)
                granted_bytes = max(least_bytes, min(want_bytes, self._turn_bytes()))
                self._level_bytes -= granted_bytes
                return granted_bytes
        finally:
            self._queued -= 1

    def _turn_bytes(self) -> int:
        """What a turn gives, by the most that have waited of late: while a queue gets shorter turns stay as they were, or the last would wait for long."""
        now_ms = self._clock.mono_ms()
        if now_ms - self._most_since_mono_ms >= BUDGET_SHARE_MS:
            self._most_queued_before, self._most_queued = self._most_queued, self._queued
            self._most_since_mono_ms = now_ms
        most_queued = max(self._most_queued, self._most_queued_before)
        return self.rate_bytes_s * min(BUDGET_TURN_MS, BUDGET_SHARE_MS // most_queued) // _MS

    def give_back(self, unused_bytes: int) -> None:
        """Of what was taken, what is not sent."""
        self._level_bytes += unused_bytes

    def _wait_ms(self) -> float:
        """Until the bucket holds something; 0 for now, and where the bound was lifted meanwhile."""
        now_ms = self._clock.mono_ms()
        rate_bytes_ms = self.rate_bytes_s / _MS
        self._level_bytes = min(
            rate_bytes_ms * BUDGET_BURST_MS,
            self._level_bytes + (now_ms - self._filled_at_mono_ms) * rate_bytes_ms,
        )
        self._filled_at_mono_ms = now_ms
        if self._level_bytes > 0 or not rate_bytes_ms:
            return 0.0
        return max(1.0, -self._level_bytes / rate_bytes_ms)


class Budgets:
    """See the module's docstring.

    Args:
        total_bytes_s, uplink_bytes_s: 0 is no bound.
        local_networks: Whoever is in one of them, or has no address, is not reached over the uplink.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        total_bytes_s: int = 0,
        uplink_bytes_s: int = 0,
        local_networks: Sequence[Network] = (),
    ) -> None:
        self._clock = clock
        self._total = Pace(total_bytes_s, clock)
        self._uplink = Pace(uplink_bytes_s, clock)
        self._local = tuple(local_networks)
        self._rollouts: OrderedDict[str, Pace] = OrderedDict()
        self._places: dict[str, tuple[trio.Lock, int]] = {}
        self._waiting = self._granted_bytes = self._uplink_bytes = self._given_up = 0
        self._waited_ms = 0

    @asynccontextmanager
    async def place(self, claim: Claim) -> AsyncIterator[None]:
        """Wait in the lines of what bounds the device, and hold its places. Raises Unavailable: as Line.place."""
        async with AsyncExitStack() as held:
            for line in self._lines_of(claim):
                await held.enter_async_context(line.place(claim.device_id))
            yield

    def leave(self, device_id: str) -> None:
        """The device has what it wanted: others may have its places."""
        for line in self._lines():
            line.leave(device_id)

    def away(self, device_id: str) -> None:
        """The device has no connection any more: others may have its places until it comes again."""
        for line in self._lines():
            line.away(device_id)

    def _lines_of(self, claim: Claim) -> list[Line]:
        """Those of its budgets, and that of all delivery also where it is not bounded."""
        lines = [pace.line for pace in self._paces_of(claim)]
        return lines if self._total.rate_bytes_s else [*lines, self._total.line]

    async def take(self, claim: Claim, want_bytes: int, least_bytes: int) -> int:
        """Wait until the device may be sent something.

        Returns:
            How much: `least_bytes` to `want_bytes`.
        Raises:
            Unavailable: `budget_turn`: its turn did not come in BUDGET_WAIT_MS; it keeps no place.
        """
        if not self._paces_of(claim):
            # Nothing bounds it: no queue, no deadline.
            self._granted_bytes += want_bytes
            return want_bytes
        began_ms = self._clock.mono_ms()
        self._waiting += 1
        try:
            with trio.move_on_after(BUDGET_WAIT_MS / _MS):
                async with self._place(claim.device_id):
                    granted_bytes = await self._take(claim, want_bytes, least_bytes)
                    self._granted_bytes += granted_bytes
                    return granted_bytes
        finally:
            self._waiting -= 1
            self._waited_ms += self._clock.mono_ms() - began_ms
        self._given_up += 1
        raise Unavailable(
            "The bandwidth that updates may use is taken by others.",
            hint="Ask again; what is missing is sent then.",
            code="budget_turn",
        )

    async def _take(self, claim: Claim, want_bytes: int, least_bytes: int) -> int:
        granted_bytes, taken = want_bytes, list[tuple[Pace, int]]()
        try:
            for pace in self._paces_of(claim):
                granted_bytes = await pace.take(granted_bytes, least_bytes)
                taken.append((pace, granted_bytes))
        except trio.Cancelled:
            granted_bytes = 0
            raise
        finally:
            for pace, taken_bytes in taken:
                pace.give_back(taken_bytes - granted_bytes)
        if self._uplink in (pace for pace, _ in taken):
            self._uplink_bytes += granted_bytes
        return granted_bytes

    def _paces_of(self, claim: Claim) -> list[Pace]:
        """The buckets that bound it, its own first."""
        paces = [self._of_rollout(claim)]
        if self._uplink.rate_bytes_s and self.is_remote(claim.address):
            paces.append(self._uplink)
        paces.append(self._total)
        return [pace for pace in paces if pace.rate_bytes_s]

    def is_remote(self, address: str) -> bool:
        """Whether a device is reached over the uplink: it has an address, and none of the local networks'."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return not any(ip in network for network in self._local)

    def statistics(self) -> BudgetStatistics:
        return BudgetStatistics(
            waiting=self._waiting,
            served=self._total.line.served_count,
            in_line=sum(line.waiting_count for line in self._lines()),
            granted_bytes=self._granted_bytes,
            uplink_bytes=self._uplink_bytes,
            waited_ms=self._waited_ms,
            given_up=self._given_up,
        )

    def _lines(self) -> list[Line]:
        return [self._total.line, self._uplink.line, *(pace.line for pace in self._rollouts.values())]

    def _of_rollout(self, claim: Claim) -> Pace:
        pace = self._rollouts.get(claim.rollout_id)
        if pace is None:
            pace = self._rollouts[claim.rollout_id] = Pace(claim.rollout_bytes_s, self._clock)
            if len(self._rollouts) > BUDGET_ROLLOUT_COUNT_MAX:
                self._rollouts.popitem(last=False)
        self._rollouts.move_to_end(claim.rollout_id)
        pace.rate_bytes_s = claim.rollout_bytes_s
        return pace

    @asynccontextmanager
    async def _place(self, device_id: str) -> AsyncIterator[None]:
        """One request of a device at a time, the others behind it."""
        lock, users = self._places.get(device_id, (trio.Lock(), 0))
        self._places[device_id] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._places.pop(device_id)
            if users > 1:
                self._places[device_id] = (lock, users - 1)
