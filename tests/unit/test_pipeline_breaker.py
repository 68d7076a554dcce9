"""The breaker's table and its delays."""

from __future__ import annotations

from appliance.pipeline.breaker import DELAY_MS_MAX, DELAY_MS_MIN, Breaker, BreakerState


def state(breaker: Breaker) -> str:
    return breaker.state


def test_it_opens_tries_once_and_closes() -> None:
    breaker = Breaker()
    assert breaker.wait_ms(0) == 0
    breaker.succeeded()
    assert state(breaker) == "closed"
    breaker.failed(1_000)
    assert state(breaker) == "open"
    assert breaker.wait_ms(1_000) == DELAY_MS_MIN
    assert breaker.wait_ms(1_000 + DELAY_MS_MIN) == 0
    assert state(breaker) == "half_open"
    breaker.failed(2_000)
    assert breaker.wait_ms(2_000) == 2 * DELAY_MS_MIN
    assert breaker.failures_in_a_row == 2
    assert breaker.wait_ms(2_000 + 2 * DELAY_MS_MIN) == 0
    breaker.succeeded()
    assert (breaker.state, breaker.failures_in_a_row, breaker.opened_total) == (BreakerState.CLOSED, 0, 2)


def test_the_delay_is_bounded() -> None:
    breaker, now = Breaker(), 0
    for _ in range(40):
        breaker.failed(now)
        now += breaker.wait_ms(now)
        assert breaker.wait_ms(now) == 0
    breaker.failed(now)
    assert breaker.wait_ms(now) == DELAY_MS_MAX
