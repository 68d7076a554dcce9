"""Batches shrink when commits are slow and grow when behind."""

from __future__ import annotations

from appliance.core.limits import BATCH_MESSAGES_MIN
from appliance.pipeline.sizing import BatchSizer


def test_shrinks_and_grows_within_bounds() -> None:
    sizer = BatchSizer(messages_max=25_000, deadline_ms=3_000)
    assert sizer.messages == 25_000
    sizer.committed(commit_ms=800, messages=25_000)
    assert sizer.messages == 12_500
    sizer.committed(commit_ms=100, messages=3_000)
    assert sizer.messages == 12_500  # it wasn't full: no reason to grow
    sizer.committed(commit_ms=100, messages=12_500)
    assert sizer.messages == 15_626
    for _ in range(20):
        sizer.committed(commit_ms=10, messages=25_000)
    assert sizer.messages == 25_000
    for _ in range(20):
        sizer.failed()
    assert sizer.messages == BATCH_MESSAGES_MIN


def test_a_small_maximum_is_the_minimum_too() -> None:
    sizer = BatchSizer(messages_max=100, deadline_ms=3_000)
    sizer.failed()
    assert sizer.messages == 100
