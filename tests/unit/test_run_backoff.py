from __future__ import annotations

from appliance.run.backoff import Backoff


def test_delays_double_up_to_the_maximum_and_never_end() -> None:
    backoff = Backoff(first_ms=250, delay_ms_max=3000, stable_ms=60_000)
    assert [backoff.after_ms(0) for _ in range(6)] == [250, 500, 1000, 2000, 3000, 3000]


def test_a_stable_life_starts_over() -> None:
    backoff = Backoff(first_ms=250, delay_ms_max=3000, stable_ms=60_000)
    assert backoff.after_ms(10) == 250
    assert backoff.after_ms(59_999) == 500
    assert backoff.after_ms(60_000) == 250
    assert backoff.after_ms(0) == 500
