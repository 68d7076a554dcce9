"""How often somebody may try to sign in or to claim the box: token buckets per address and over all of them.

A bucket per IPv4 address or IPv6 /64 network (one household has a whole one). The table of addresses is bounded: the
one unused for longest is forgotten, and the total holds however many addresses an attacker has.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

from appliance.core.clock import Clock
from appliance.core.limits import (
    SIGN_IN_ADDRESS_COUNT_MAX,
    SIGN_IN_BURST_COUNT_MAX,
    SIGN_IN_REFILL_MS,
    SIGN_IN_TOTAL_BURST_COUNT_MAX,
    SIGN_IN_TOTAL_REFILL_MS,
)
from ui.problem import Retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInStatistics:
    attempts_total: int
    refused_total: int
    addresses: int


class _Bucket:
    __slots__ = ("filled_at_ms", "level")

    def __init__(self, level: float, now_ms: int) -> None:
        self.level = level
        self.filled_at_ms = now_ms

    def fill(self, now_ms: int, *, size: int, refill_ms: int) -> None:
        self.level = min(size, self.level + (now_ms - self.filled_at_ms) / refill_ms)
        self.filled_at_ms = now_ms


class SignInLimiter:
    """See the module's docstring. Used from one event loop."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._total = _Bucket(SIGN_IN_TOTAL_BURST_COUNT_MAX, clock.mono_ms())
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._attempts = self._refused = 0

    def take(self, address: str) -> None:
        """Count an attempt.

        Args:
            address: The peer's; any text (a Unix socket's peer has none).
        Raises:
            Retryable: `too_many_attempts`; says when to try again.
        """
        now_ms = self._clock.mono_ms()
        self._attempts += 1
        bucket = self._bucket(_network(address), now_ms)
        bucket.fill(now_ms, size=SIGN_IN_BURST_COUNT_MAX, refill_ms=SIGN_IN_REFILL_MS)
        self._total.fill(now_ms, size=SIGN_IN_TOTAL_BURST_COUNT_MAX, refill_ms=SIGN_IN_TOTAL_REFILL_MS)
        wait_ms = max(
            (1 - bucket.level) * SIGN_IN_REFILL_MS, (1 - self._total.level) * SIGN_IN_TOTAL_REFILL_MS
        )
        if wait_ms > 0:
            self._refused += 1
            seconds = int(wait_ms / 1000) + 1
            raise Retryable(
                "There were too many attempts.",
                hint=f"Wait {seconds} s and try again.",
                code="too_many_attempts",
                retry_after_s=seconds,
            )
        bucket.level -= 1
        self._total.level -= 1

    def _bucket(self, network: str, now_ms: int) -> _Bucket:
        bucket = self._buckets.get(network)
        if bucket is None:
            bucket = self._buckets[network] = _Bucket(SIGN_IN_BURST_COUNT_MAX, now_ms)
            if len(self._buckets) > SIGN_IN_ADDRESS_COUNT_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(network)
        return bucket

    def statistics(self) -> SignInStatistics:
        return SignInStatistics(
            attempts_total=self._attempts, refused_total=self._refused, addresses=len(self._buckets)
        )


def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((ip, 64), strict=False))
    return str(ip)
