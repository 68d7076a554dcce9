"""What the Overview says of rules that don't keep up."""

from __future__ import annotations

import pytest

from appliance.pipeline.watch_statistics import WatchFeedStatistics, WatchState
from tests.watch_numbers import UP_TO_DATE, watch_numbers
from ui.pages.watch_attention import watch_attention


@pytest.mark.parametrize(
    "numbers",
    [
        None,
        UP_TO_DATE,
        watch_numbers(state=WatchState.STARTING),
        watch_numbers(state=WatchState.REBUILDING, behind_records=1),
    ],
)
def test_nothing_while_all_is_well(numbers: WatchFeedStatistics | None) -> None:
    assert watch_attention(numbers, is_whole_site=True) == []


def test_how_far_a_rebuild_is() -> None:
    numbers = watch_numbers(state=WatchState.REBUILDING, behind_records=580_000, rebuild_records=1_000_000)
    (line,) = watch_attention(numbers, is_whole_site=True)
    assert "rebuilding, 42%" in line.text


def test_a_failure_names_a_rule_only_to_who_may_see_the_whole_site() -> None:
    numbers = watch_numbers(state=WatchState.FAILED, incident="Rules and anomalies stopped: secret rule")
    (whole,), (part,) = (watch_attention(numbers, is_whole_site=each) for each in (True, False))
    assert "secret rule" in whole.text
    assert "secret rule" not in part.text
    assert part.tone == "bad"


def test_that_it_waits_for_the_catalog() -> None:
    (line,) = watch_attention(watch_numbers(state=WatchState.WAITING), is_whole_site=True)
    assert "nothing is lost" in line.text
