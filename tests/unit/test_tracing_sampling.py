"""The share that is sampled, and how many may ask for more."""

from __future__ import annotations

import random

from appliance.core.clock import ManualClock
from appliance.tracing.sampling import NEVER, Gaps, PerSecond


def test_the_gaps_make_the_share() -> None:
    gaps = Gaps(0.01, random.Random(1).random)
    sampled = at = 0
    while at < 1_000_000:
        at += gaps.next() + 1
        sampled += 1
    assert 9_700 < sampled < 10_300, "one in a hundred, within three standard deviations"


def test_none_and_all() -> None:
    assert Gaps(0, lambda: 0.5).next() == NEVER
    assert Gaps(1, lambda: 0.5).next() == 0
    assert Gaps(1e-12, lambda: 0.999_999_999_999).next() <= NEVER


def test_devices_that_take_turns_are_sampled_alike() -> None:
    gaps, at, seen = Gaps(0.1, random.Random(2).random), 0, [0] * 10
    while at < 100_000:
        at += gaps.next()
        seen[at % 10] += 1
        at += 1
    assert min(seen) > 800, "a fixed step would always come to the same device"


def test_so_many_in_a_second() -> None:
    clock = ManualClock()
    limit = PerSecond(3, clock.mono_ms)
    assert [limit.take() for _ in range(5)] == [True, True, True, False, False]
    assert limit.refused_total == 2
    clock.advance(1_000)
    assert [limit.take() for _ in range(4)] == [True, True, True, False]
    assert not PerSecond(0, clock.mono_ms).take()
