"""UTC times in words of ISO 8601."""

from __future__ import annotations

import pytest

from ui.utc import iso_utc


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_772_000_000_001, "2026-02-25T06:13:20.001Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (2**63 - 1, ""),
        (-(2**63), ""),
    ],
)
def test_any_integer_that_a_catalog_holds(at_ms: int, text: str) -> None:
    assert iso_utc(at_ms) == text
