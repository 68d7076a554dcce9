"""What needs attention, and how the store does."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from appliance.pipeline.backlog import BacklogStatistics
from appliance.pipeline.lag import LagStatistics, LagWindow
from appliance.pipeline.watch_statistics import WatchFeedStatistics
from ui.pages.device_list import DeviceCounts
from ui.pages.overview_facts import attention


@dataclass(kw_only=True)
class Pipeline:
    lag_s: float = 0
    lag_p95_s: float | None = 0.1
    ingestion_lag: LagStatistics = field(default_factory=lambda: LagWindow().statistics(0))
    pipeline_lag: LagStatistics = field(default_factory=lambda: LagWindow().statistics(0))
    behind_records: int = 0
    rows_total: int = 0
    dead_letters_total: int = 0
    dead_letters: int = 0
    breaker: str = "closed"
    state: str = "running"
    behind_since_ms: int | None = None
    complete_seq: int = 8
    doing: str = ""
    backlog: BacklogStatistics = field(default_factory=BacklogStatistics)
    watch: WatchFeedStatistics | None = None


COUNTS = DeviceCounts(
    by_presence={"online": 1, "sleeping": 0, "offline": 0, "lost": 0, "never_seen": 0},
    by_registry={"active": 1, "waiting": 0, "rejected": 0, "decommissioned": 0},
)


ALL_WELL = {
    "counts": COUNTS,
    "store_word": "closed",
    "pipeline": Pipeline(),
    "broker_connected": True,
    "clock_word": "synchronized",
    "free_bytes": 50,
    "total_bytes": 100,
}


def test_a_box_that_is_well_needs_no_attention() -> None:
    assert attention(**ALL_WELL) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"broker_connected": False}, "The broker is away"),
        (
            {"store_word": "open", "pipeline": Pipeline(behind_records=7)},
            "Readings are safe, not yet searchable, 7 behind",
        ),
        (
            {"store_word": "behind", "pipeline": Pipeline(behind_records=7, doing="New readings go first.")},
            "7 behind. Devices notice nothing. New readings go first.",
        ),
        ({"free_bytes": 4}, "nearly full: 4 % free"),
        ({"clock_word": "unsynchronized"}, "clock is not synchronized"),
        (
            {"pipeline": Pipeline(dead_letters_total=4, dead_letters=1)},
            "1 message could not be turned into readings",
        ),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, object], text: str) -> None:
    [line] = attention(**{**ALL_WELL, **change})  # type: ignore[arg-type]
    assert text in line.text
