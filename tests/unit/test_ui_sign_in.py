"""The limiter of sign-in attempts: per address, per IPv6 network, in total, bounded."""

from __future__ import annotations

import pytest

from appliance.core.clock import ManualClock
from appliance.core.limits import (
    SIGN_IN_ADDRESS_COUNT_MAX,
    SIGN_IN_BURST_COUNT_MAX,
    SIGN_IN_REFILL_MS,
    SIGN_IN_TOTAL_BURST_COUNT_MAX,
)
from ui.problem import Retryable
from ui.sign_in import SignInLimiter


def _taken(limiter: SignInLimiter, address: str) -> int:
    taken = 0
    try:
        while True:
            limiter.take(address)
            taken += 1
    except Retryable:
        return taken


def test_a_burst_then_one_at_a_time() -> None:
    clock = ManualClock()
    limiter = SignInLimiter(clock=clock)
    assert _taken(limiter, "192.0.2.1") == SIGN_IN_BURST_COUNT_MAX
    clock.advance(SIGN_IN_REFILL_MS)
    assert _taken(limiter, "192.0.2.1") == 1
    with pytest.raises(Retryable) as refused:
        limiter.take("192.0.2.1")
    assert 1 <= refused.value.retry_after_s <= SIGN_IN_REFILL_MS // 1000 + 1
    assert limiter.statistics().refused_total == 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "nonsense", True),
    ],
)
def test_who_counts_as_one(one: str, other: str, same: bool) -> None:
    limiter = SignInLimiter(clock=ManualClock())
    _taken(limiter, one)
    assert (_taken(limiter, other) == 0) is same


def test_many_addresses_share_a_total() -> None:
    limiter = SignInLimiter(clock=ManualClock())
    assert sum(_taken(limiter, f"192.0.2.{n}") for n in range(100)) == SIGN_IN_TOTAL_BURST_COUNT_MAX


def test_the_table_is_bounded() -> None:
    clock = ManualClock()
    limiter = SignInLimiter(clock=clock)
    for number in range(SIGN_IN_ADDRESS_COUNT_MAX + 100):
        clock.advance(1_000)
        limiter.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert limiter.statistics().addresses == SIGN_IN_ADDRESS_COUNT_MAX
