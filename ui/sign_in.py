"""How often somebody may try to sign in or to claim the box: token buckets per address and over all of them.

A bucket per IPv4 address or IPv6 /64 network (one household has a whole one). The table of addresses is bounded: the
one unused for longest is forgotten, and the total holds however many addresses an attacker has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.core.clock import Clock
from appliance.core.limits import (
    SIGN_IN_ADDRESS_COUNT_MAX,
    SIGN_IN_BURST_COUNT_MAX,
    SIGN_IN_REFILL_MS,
    SIGN_IN_TOTAL_BURST_COUNT_MAX,
    SIGN_IN_TOTAL_REFILL_MS,
)
from appliance.core.token_bucket import Bucket, BucketTable, Quota, network_of
from ui.problem import Retryable

PER_ADDRESS: Final = Quota(
    "sign-in-address", SIGN_IN_BURST_COUNT_MAX, SIGN_IN_BURST_COUNT_MAX * SIGN_IN_REFILL_MS // 1000
)
TOTAL: Final = Quota(
    "sign-in-all",
    SIGN_IN_TOTAL_BURST_COUNT_MAX,
    SIGN_IN_TOTAL_BURST_COUNT_MAX * SIGN_IN_TOTAL_REFILL_MS // 1000,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInStatistics:
    attempts_total: int
    refused_total: int
    addresses: int


class SignInLimiter:
    """See the module's docstring. Used from one event loop."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._total = Bucket(TOTAL, clock.mono_ms())
        self._addresses = BucketTable(PER_ADDRESS, count_max=SIGN_IN_ADDRESS_COUNT_MAX)
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
        bucket = self._addresses.bucket(network_of(address), now_ms)
        wait_ms = max(bucket.wait_ms(now_ms), self._total.wait_ms(now_ms))
        if wait_ms > 0:
            self._refused += 1
            seconds = int(wait_ms / 1000) + 1
            raise Retryable(
                "There were too many attempts.",
                hint=f"Wait {seconds} s and try again.",
                code="too_many_attempts",
                retry_after_s=seconds,
            )
        bucket.take()
        self._total.take()

    def statistics(self) -> SignInStatistics:
        return SignInStatistics(
            attempts_total=self._attempts, refused_total=self._refused, addresses=len(self._addresses)
        )
