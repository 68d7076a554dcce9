"""Times as verbs print them, durations as people write them."""

from __future__ import annotations

import pytest

from appliance.cli.times import after_ms, shown_at
from appliance.core.errors import UsageError


def test_utc_to_the_minute_and_nothing_for_never() -> None:
    assert shown_at(1_772_000_000_000) == "2026-02-25 06:13 UTC"
    assert shown_at(0) == "1970-01-01 00:00 UTC"
    assert shown_at(None) == ""


def test_a_duration_in_one_unit() -> None:
    assert [after_ms(1_000, text) for text in ("5s", " 90m ", "8h", "2d")] == [
        6_000, 5_401_000, 28_801_000, 172_801_000,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "8", "h", "1.5h", "-1h", "1h30m", "٣h", "1234567s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        after_ms(0, text)
    assert caught.value.code == "duration_invalid"
