"""What `homeport device show` says of a device that a running appliance knows."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.cli.device import _live_lines

FOUND: dict[str, Any] = {
    "freshness": "late",
    "last_reading_at_ms": 1_700_000_030_000,
    "watermark_at_ms": 1_700_000_000_000,
    "clock": "wrong",
    "clock_offset_ms": -90_000,
}


def test_freshness_watermark_and_clock() -> None:
    assert _live_lines(FOUND) == [
        "Readings  late, the last came 2023-11-14 22:13:50 UTC",
        "Up to     2023-11-14 22:13:20 UTC by its clock",
        "Clock     wrong, 90 s behind",
    ]


@pytest.mark.parametrize(
    ("clock", "offset_ms", "line"),
    [
        ("unknown", None, "Clock     unknown"),
        ("right", 400, "Clock     right"),
        ("wrong", 3_600_000, "Clock     wrong, 3600 s ahead"),
    ],
)
def test_a_clock_in_words(clock: str, offset_ms: int | None, line: str) -> None:
    assert _live_lines({**FOUND, "clock": clock, "clock_offset_ms": offset_ms})[-1] == line


def test_a_stopped_appliance_knows_none_of_it() -> None:
    assert _live_lines({"device_id": "a"}) == []
