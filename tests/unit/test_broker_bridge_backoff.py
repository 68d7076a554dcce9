"""broker/bridge/backoff.py"""

from __future__ import annotations

from appliance.core.limits import BRIDGE_RETRY_MS_MAX, BRIDGE_STABLE_MS
from broker.bridge.backoff import Backoff


def test_pauses_grow_to_five_minutes_and_are_a_random_part() -> None:
    longest = Backoff(lambda: 0.999_999)
    pauses = [longest.after_ms(0) for _ in range(12)]
    assert [round(pause, -3) for pause in pauses[:4]] == [1000, 2000, 4000, 8000]
    assert pauses[-1] < BRIDGE_RETRY_MS_MAX
    assert pauses[-1] > BRIDGE_RETRY_MS_MAX * 0.99
    half = Backoff(lambda: 0.5)
    assert [half.after_ms(0) for _ in range(3)] == [500, 1000, 2000]


def test_a_pause_is_never_nothing() -> None:
    shortest = Backoff(lambda: 0.0)
    assert shortest.after_ms(0) == 200


def test_a_connection_that_stood_is_forgiven() -> None:
    backoff = Backoff(lambda: 0.5)
    for _ in range(5):
        backoff.after_ms(0)
    assert backoff.after_ms(BRIDGE_STABLE_MS) == 500
    assert backoff.after_ms(BRIDGE_STABLE_MS - 1) == 1000
