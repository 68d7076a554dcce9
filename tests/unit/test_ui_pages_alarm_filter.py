"""Which alarms an address means."""

from __future__ import annotations

import pytest
from starlette.datastructures import QueryParams

from appliance.management.alarms import AlarmState
from ui.pages.alarm_filter import STATES, Filter


@pytest.mark.parametrize(
    "query",
    ["", "state=shelved", "severity=P1&device=a%2Fb&group=g&tag=t&rule=r", "state=history&from=-2d&to=-1d"],
)
def test_an_address_is_written_as_it_is_read(query: str) -> None:
    chosen = Filter.of(QueryParams(query))
    assert chosen.query() == query
    assert Filter.of(QueryParams(chosen.query())) == chosen


def test_what_means_nothing_is_left_out() -> None:
    assert Filter.of(QueryParams("state=x&severity=P0&from=-1d&colour=red")) == Filter()


def test_it_says_by_what_it_narrows_and_how_to_undo_it() -> None:
    chosen = Filter(state="shelved", severity="P1", device="press-1")
    assert chosen.narrows
    assert chosen.words == "severity P1, device press-1"
    assert chosen.all_url == "/alarms?state=shelved"
    assert chosen.in_state("active").url() == "/alarms?state=active&severity=P1&device=press-1"
    assert not Filter(state="shelved").narrows


@pytest.mark.parametrize("state", [state for state in STATES if state != "history"])
def test_each_state_asks_for_alarms_that_are_not_normal(state: str) -> None:
    found = Filter(state=state, severity="P2").chosen(frozenset({"hall"}))
    assert found["scope"] == frozenset({"hall"})
    assert found["severities"] == ("P2",)
    assert AlarmState.NORMAL not in found.get("states", ())
    assert ("aside" in found) == (state in ("shelved", "suppressed"))
