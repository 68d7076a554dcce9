"""Filters of the list of devices."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ui.pages.device_list import Filter, ids_by_presence

NOW_MS = 1_700_000_000_000


@dataclass(frozen=True, kw_only=True)
class Live:
    device_id: str = "a"
    presence: str = "online"
    presence_since_ms: int | None = NOW_MS - 5_000
    presence_reason: str = ""
    last_seen_at_ms: int | None = NOW_MS - 1_000
    last_reading_at_ms: int | None = NOW_MS - 1_000
    address: str = "192.0.2.1:5"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, Filter()),
        ({"state": "lost", "q": " pump ", "after": "x"}, Filter(state="lost", text="pump", after="x")),
        ({"state": "nonsense"}, Filter()),
        ({"state": "rejected"}, Filter(state="rejected")),
    ],
)
def test_a_filter_is_what_the_url_says(query: dict[str, str], expected: Filter) -> None:
    assert Filter.of_query(query) == expected


def test_a_filter_goes_back_into_the_url() -> None:
    chosen = Filter(state="lost", text="a&b", after="x")
    assert chosen.query() == "?state=lost&q=a%26b"
    assert chosen.query(after="y") == "?state=lost&q=a%26b&after=y"
    assert chosen.query(state="") == "?q=a%26b"


def test_presences_are_counted_and_unknown_ones_are_left_out() -> None:
    live = {
        "a": Live(),
        "b": Live(presence="never_seen"),
        "c": Live(presence="odd"),
        "d": Live(presence="lost"),
    }
    assert ids_by_presence(live) == {"online": ["a"], "sleeping": [], "offline": [], "lost": ["d"]}
