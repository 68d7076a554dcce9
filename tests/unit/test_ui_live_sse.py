"""Events as bytes: read back by a parser written from the standard."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.live import sse


def parse(data: bytes) -> list[tuple[str, str, str]]:
    """(id, event, data) of each event; HTML Living Standard §9.2.6."""
    events: list[tuple[str, str, str]] = []
    event_id, event_name, lines = "", "", list[str]()
    for line in data.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if lines:
                events.append((event_id, event_name, "\n".join(lines)))
            event_id, event_name, lines = "", "", []
        elif name == "data":
            lines.append(value)
        elif name == "id":
            event_id = value
        elif name == "event":
            event_name = value
    return events


@given(st.text(st.characters(codec="utf-8")), st.integers(0, 2**63))
def test_any_text_survives_and_never_becomes_a_field(text: str, seq: int) -> None:
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    assert parse(sse.event(text, seq=seq)) == [(str(seq), "", expected)]


def test_json_stays_on_one_line() -> None:
    [(event_id, name, data)] = parse(sse.json_event("sample", {"text": "a\nb"}, seq=3))
    assert (event_id, name) == ("3", "sample")
    assert json.loads(data) == {"text": "a\nb"}


def test_a_name_is_one_line() -> None:
    with pytest.raises(AssertionError):
        sse.event("x", name="a\ndata: b")
