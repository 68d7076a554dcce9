"""Payloads as text, positions in a URL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.pages.dead_letters import payload_text, position_of


@given(st.binary(max_size=3_000))
def test_any_payload_has_a_text_that_hides_nothing_and_fits(payload: bytes) -> None:
    text, is_cut = payload_text(payload)
    assert len(text) <= 200 * 6 + 1
    assert all(c.isprintable() or c in "\n\t" for c in text)
    assert is_cut or len(payload) <= 800


def test_a_payload_that_is_cut_inside_a_character_is_still_text() -> None:
    text, is_cut = payload_text("ä".encode() * 5_000)
    assert is_cut
    assert text == "ä" * 200 + "…"


@pytest.mark.parametrize(
    ("text", "position"),
    [("3:14", (3, 14)), ("", None), ("3", None), ("a:b", None), ("1:²", None), ("1:2:3", None)],
)
def test_a_position_is_read_from_the_url(text: str, position: tuple[int, int] | None) -> None:
    assert position_of(text) == position
