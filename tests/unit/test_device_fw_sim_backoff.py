"""Reconnecting: exponential backoff with full jitter, 1 s to 5 min."""

from __future__ import annotations

import random

from device_fw_sim.backoff import Backoff


def test_bound_doubles_from_one_second_to_five_minutes() -> None:
    backoff = Backoff(random.Random(1))
    bounds = []
    for _ in range(12):
        bounds.append(backoff.bound_ms)
        backoff.next_delay_ms()
    assert bounds == [
        1_000,
        2_000,
        4_000,
        8_000,
        16_000,
        32_000,
        64_000,
        128_000,
        256_000,
        300_000,
        300_000,
        300_000,
    ]


def test_delays_use_the_whole_range() -> None:
    """Full jitter: as likely near 0 as near the bound."""
    delays = []
    for seed in range(500):
        backoff = Backoff(random.Random(seed))
        backoff.attempt = 4
        delays.append(backoff.next_delay_ms())
    assert 0 <= min(delays) < 1_000
    assert 15_000 < max(delays) <= 16_000
    assert 7_000 < sum(delays) / len(delays) < 9_000


def test_reset_begins_anew() -> None:
    backoff = Backoff(random.Random(1))
    for _ in range(1_000):
        backoff.next_delay_ms()
    assert backoff.bound_ms == 300_000
    backoff.reset()
    assert backoff.bound_ms == 1_000
