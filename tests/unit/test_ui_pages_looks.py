"""Every state has a look."""

from __future__ import annotations

from ui.pages.looks import presence_look


def test_an_unknown_state_is_shown_as_unknown() -> None:
    assert presence_look("something new").word == "unknown"
