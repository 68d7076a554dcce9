"""What needs attention, and how the store does."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ui.pages.device_list import DeviceCounts
from ui.pages.looks import STORE
from ui.pages.overview_facts import attention, store_state, store_text


@dataclass(kw_only=True)
class Pipeline:
    lag_s: float = 0
    lag_p95_s: float | None = 0.1
    behind_records: int = 0
    rows_total: int = 0
    dead_letters_total: int = 0
    breaker: str = "closed"


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
        ({"free_bytes": 4}, "nearly full: 4 % free"),
        ({"clock_word": "unsynchronized"}, "clock is not synchronized"),
        ({"pipeline": Pipeline(dead_letters_total=1)}, "1 message could not be turned into readings"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, object], text: str) -> None:
    [line] = attention(**{**ALL_WELL, **change})  # type: ignore[arg-type]
    assert text in line.text


@pytest.mark.parametrize(
    ("pipeline", "word"),
    [
        (Pipeline(), "closed"),
        (Pipeline(lag_p95_s=None), "closed"),
        (Pipeline(lag_p95_s=5.1), "behind"),
        (Pipeline(breaker="open"), "open"),
        (Pipeline(breaker="half_open"), "half_open"),
    ],
)
def test_the_store_has_a_state_and_each_has_a_look(pipeline: Pipeline, word: str) -> None:
    assert store_state(pipeline) == word
    assert STORE[word].word
    assert store_text(word, 3)
