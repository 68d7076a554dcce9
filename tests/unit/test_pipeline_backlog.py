"""How far a backlog has come, and how long it will take."""

from __future__ import annotations

from appliance.pipeline.backlog import WINDOW_MS, BacklogPace, BacklogStatistics
from storage.telemetry.batch import Cursor
from storage.telemetry.behind import Behind


def behind(next_seq: int, *, ranges: list[tuple[int, int]]) -> Behind:
    return Behind(Cursor(1, next_seq), began_seq=101, is_rebuild=True, ranges=ranges)


def test_without_a_backlog_there_is_nothing_to_say() -> None:
    assert BacklogPace().of(None, 500, 0) == BacklogStatistics()


def test_the_rest_takes_as_long_as_the_rate_of_the_last_minute_says() -> None:
    pace = BacklogPace()
    first = pace.of(behind(101, ranges=[(101, 501)]), 1_001, 0)
    assert (first.records, first.total, first.done, first.left_s) == (400, 900, 0, None)
    later = pace.of(behind(301, ranges=[(101, 501)]), 1_001, 2_000)
    assert (later.records, later.total, later.done, later.left_s) == (200, 900, 200, 7.0)
    assert later.is_rebuild
    # Slower for more than a minute: what was before is forgotten.
    pace.of(behind(302, ranges=[(101, 501)]), 1_001, 2_000 + WINDOW_MS)
    slow = pace.of(behind(303, ranges=[(101, 501)]), 1_001, 3_000 + WINDOW_MS)
    assert slow.left_s is not None
    assert slow.left_s > 400


def test_records_that_were_read_ahead_are_no_longer_missing() -> None:
    assert BacklogPace().of(behind(600, ranges=[]), 1_001, 0).records == 0
