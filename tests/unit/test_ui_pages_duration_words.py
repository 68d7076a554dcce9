"""Times as people write them in forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from ui.pages.duration_words import read_s, write_s


@given(st.integers(0, 700_000_000).map(lambda ms: ms / 1_000))
def test_what_is_written_is_read_as_the_same(seconds: float) -> None:
    assert read_s(write_s(seconds), name="x") == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90 s", 90), ("1.5h", 5_400), (" 10 MIN ", 600), ("7 d", 604_800), ("0", 0)],
)
def test_people_write_units(text: str, seconds: float) -> None:
    assert read_s(text, name="x") == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (60, "1 min"), (5_400, "90 min"), (86_400, "1 d"), (0.25, "0.25 s")]
)
def test_the_largest_whole_unit_is_written(seconds: float, text: str) -> None:
    assert write_s(seconds) == text


@pytest.mark.parametrize("text", ["", "soon", "-5 s", "5 weeks", "1e9", "٣ s"])
def test_anything_else_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="in “Within” is no time"):
        read_s(text, name="Within")
