"""What of a transition is kept."""

from __future__ import annotations

import math

from appliance.alarms.found import TEXT_LENGTH_MAX, bounded, clear, finite
from tests.alarm_kit import found


def test_numbers_that_can_be_kept() -> None:
    assert [finite(value) for value in (1.5, None, math.nan, math.inf, -math.inf)] == [
        1.5,
        None,
        None,
        None,
        None,
    ]


def test_an_explanation_is_as_it_is_or_its_sentence() -> None:
    small = {"text": "too hot", "limit": 80}
    assert bounded(small) is small
    assert bounded({"text": "x" * 3_000, "more": "y" * 3_000}) == {"text": "x" * TEXT_LENGTH_MAX}
    assert bounded({"text": 5, "more": "y" * 5_000}) == {"text": "5"}
    assert bounded({"more": "y" * 5_000}) == {"text": ""}


def test_nothing_is_over_that_was_not_there() -> None:
    assert clear(None, found(is_raised=False), 1) == []
