"""ui/pages/disk_attention.py: what the log's disk asks an operator to look at."""

from __future__ import annotations

from typing import Any

import pytest

from ui.pages.disk_attention import disk_attention


def broker(**log: Any) -> dict[str, Any]:
    house = {"disk_level_name": "ok", "dropped_unread_records": 0, **log.pop("house", {})}
    return {"log": {"damaged_ranges": 0, "write_failures_total": 0, "housekeeping": house, **log}}


@pytest.mark.parametrize("statistics", [None, {}, {"log": 7}, {"log": {"housekeeping": None}}, broker()])
def test_nothing_is_said_where_nothing_is_wrong_or_known(statistics: Any) -> None:
    assert disk_attention(statistics) == ()


@pytest.mark.parametrize(
    ("change", "tone", "text"),
    [
        ({"house": {"disk_level_name": "low"}}, "warn", "filling up"),
        ({"house": {"disk_level_name": "hold"}}, "bad", "readings are not acknowledged"),
        ({"house": {"disk_level_name": "read_only"}}, "bad", "nothing is written"),
        ({"house": {"dropped_unread_records": 12}}, "bad", "12 records were dropped"),
        ({"write_failures_total": 1}, "bad", "refused to write 1 time"),
        ({"damaged_ranges": 2}, "bad", "2 ranges of the log can't be read"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], tone: str, text: str) -> None:
    [line] = disk_attention(broker(**change))
    assert line.tone == tone
    assert text in line.text
