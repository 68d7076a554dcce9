"""Who may ask how often: own buckets, kinds apart, the total and what of it is kept for those who ask for less."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.core.config import ApiConfig
from appliance.core.limits import RATE_LIMIT_SUBJECT_COUNT_MAX
from ui.rate_limit import Kind, RateLimits, Subject

ANNE, BEN = Subject("user", "anne"), Subject("user", "ben")
COLLECTOR = Subject("token", "collector")
STRANGER = Subject("address", "192.0.2.1")


def _limits(clock: ManualClock | None = None, **config: Any) -> RateLimits:
    return RateLimits(ApiConfig(**config), clock=clock or ManualClock())


def _taken(limits: RateLimits, subject: Subject, kind: Kind = "reads", *, at_most: int = 10_000) -> int:
    taken = 0
    while taken < at_most and not limits.take(subject, kind).retry_after_s:
        taken += 1
    return taken


def test_a_user_has_600_reads_and_100_writes_a_minute() -> None:
    clock = ManualClock()
    limits = _limits(clock)
    assert _taken(limits, ANNE) == 600
    assert _taken(limits, ANNE, "writes") == 100
    assert _taken(limits, ANNE, "bulk") == 10
    clock.advance(1_000)
    assert (_taken(limits, ANNE), _taken(limits, ANNE, "writes")) == (10, 1)
    clock.advance(60_000)
    assert _taken(limits, ANNE) == 600


def test_nobody_takes_from_anybody_else() -> None:
    limits = _limits(token_reads_per_min_max=50)
    assert _taken(limits, ANNE) == 600
    assert _taken(limits, BEN) == 600
    assert _taken(limits, COLLECTOR) == 50, "a machine has a bucket of its own"
    assert _taken(limits, Subject("token", "anne")) == 50
    assert _taken(limits, STRANGER) == 300


def test_who_is_refused_is_told_when_to_come_again_and_by_what() -> None:
    clock = ManualClock()
    limits = _limits(clock, writes_per_min_max=6)
    for left in range(5, -1, -1):
        standing = limits.take(ANNE, "writes")
        assert standing.own is not None
        assert (standing.own.quota.name, standing.own.remaining) == ("user-writes", left)
        assert standing.own.reset_s == (6 - left) * 10
    refused = limits.take(ANNE, "writes")
    assert refused.retry_after_s == 10
    assert refused.refused_by is refused.own
    clock.advance(refused.retry_after_s * 1_000)
    assert limits.take(ANNE, "writes").retry_after_s == 0


def test_what_was_refused_takes_nothing() -> None:
    clock = ManualClock()
    limits = _limits(clock)
    _taken(limits, ANNE)
    before = limits.take(BEN, "reads").total
    for _ in range(1_000):
        assert limits.take(ANNE, "reads").retry_after_s
    after = limits.take(BEN, "reads").total
    assert before is not None
    assert after is not None
    assert after.remaining == before.remaining - 1
    clock.advance(100)
    assert limits.take(ANNE, "reads").retry_after_s == 0


def test_strangers_do_not_use_up_what_users_need() -> None:
    limits = _limits()
    taken = sum(_taken(limits, Subject("address", f"192.0.2.{n}")) for n in range(50))
    assert taken == 1_200, "a fifth of the total, however many addresses they have"
    assert _taken(limits, ANNE) == 600
    refused = limits.take(Subject("address", "198.51.100.1"), "reads")
    assert refused.refused_by is refused.total


def test_when_all_is_used_up_who_asks_for_less_is_served_on() -> None:
    limits = _limits(total_reads_per_min_max=1_000)
    assert _taken(limits, ANNE) == 600
    assert _taken(limits, BEN) == 301, "then it has used half of its own, and the rest is for others"
    assert limits.take(ANNE, "reads").retry_after_s
    assert _taken(limits, Subject("user", "cleo"), at_most=90) == 90


def test_tables_are_bounded_and_strangers_have_no_user_forgotten() -> None:
    limits = _limits(total_reads_per_min_max=0)
    _taken(limits, ANNE)
    for n in range(RATE_LIMIT_SUBJECT_COUNT_MAX + 10):
        limits.take(Subject("address", f"a{n}"), "reads")
    assert limits.statistics().subjects == {"user": 1, "token": 0, "address": RATE_LIMIT_SUBJECT_COUNT_MAX}
    assert _taken(limits, ANNE) == 0


@pytest.mark.parametrize("kind", ["reads", "writes", "bulk"])
def test_zero_is_no_limit(kind: Kind) -> None:
    config: dict[str, Any] = {f"{kind}_per_min_max": 0, f"total_{kind}_per_min_max": 0}
    limits = _limits(**config)
    assert _taken(limits, ANNE, kind, at_most=2_000) == 2_000
    standing = limits.take(ANNE, kind)
    assert (standing.own, standing.total) == (None, None)


def test_it_is_counted_who_was_let_in_and_who_refused_whom() -> None:
    limits = _limits(reads_per_min_max=5, total_reads_per_min_max=8)
    _taken(limits, ANNE)
    _taken(limits, BEN)
    numbers = limits.statistics()
    assert numbers.allowed_total == {"user.reads": 8}
    assert numbers.refused_total == {"user.reads": 1}
    assert numbers.refused_by_total == {"user.reads": 1}
