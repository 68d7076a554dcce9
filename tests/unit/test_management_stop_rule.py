"""The stop rule: at least max(2, 5 %) of at least three, and any failure in the first wave."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.management.stop_rule import StopRule, reason_to_stop
from appliance.management.wave_counts import Counts

RULE = StopRule()


def stops(
    started: int, failed: int, *, accepted: int = 0, first: bool = False, rule: StopRule = RULE
) -> bool:
    counts = Counts(started=started, failed=failed)
    return bool(reason_to_stop(rule, counts, accepted=accepted, is_first_wave=first))


@pytest.mark.parametrize(
    ("started", "failed", "expected"),
    [
        (2, 2, False),  # fewer than three: the gate holds it, not the rule
        (3, 1, False),
        (3, 2, True),  # at least, not more than
        (40, 2, True),
        (41, 2, False),
        (41, 3, True),  # 5 % of 41 is 2.05, rounded up
        (1000, 49, False),
        (1000, 50, True),
    ],
)
def test_the_threshold(started: int, failed: int, expected: bool) -> None:
    assert stops(started, failed) is expected


def test_in_the_first_wave_one_is_enough() -> None:
    assert stops(1, 1, first=True)
    assert not stops(1, 0, first=True)
    assert reason_to_stop(RULE, Counts(started=1, failed=1), accepted=0, is_first_wave=True) == (
        "1 device failed in the first wave."
    )


def test_what_somebody_accepted_counts_no_more() -> None:
    assert not stops(10, 2, accepted=2)
    assert not stops(1, 1, accepted=1, first=True)
    assert stops(10, 4, accepted=2)


@given(st.integers(0, 500), st.integers(1, 100), st.integers(1, 20), st.integers(1, 20))
def test_more_failures_never_start_it_again(
    started: int, percent: int, count_min: int, executed_min: int
) -> None:
    rule = StopRule(percent=percent, count_min=count_min, executed_min=executed_min)
    verdicts = [stops(started, failed, rule=rule) for failed in range(started + 1)]
    assert all(b or not a for a, b in pairwise(verdicts))
    for failed, verdict in enumerate(verdicts):
        reached = failed >= max(count_min, started * percent / 100) and started >= executed_min
        assert verdict is (reached and failed > 0)
