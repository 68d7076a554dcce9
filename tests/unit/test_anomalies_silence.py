"""Usual gaps, and steps of a silence."""

from __future__ import annotations

import numpy as np

from appliance.anomalies.columns import Columns, Row
from appliance.anomalies.silence import deadlines_s, learn_gap, look

F = np.float32


def test_the_usual_gap_grows_quickly_and_shrinks_slowly() -> None:
    gap = learn_gap(np.zeros(1, F), np.array([10], F))
    assert gap.tolist() == [10]
    longer = learn_gap(gap, np.array([10_000], F))
    assert np.allclose(longer, 14), "at most threefold at once"
    shorter = learn_gap(gap, np.array([0], F))
    assert np.allclose(shorter, 9.8)
    assert learn_gap(gap, np.array([-500], F))[0] >= 9.8, "arrivals may go back"


def test_readings_that_come_in_bundles_are_judged_by_the_bundles() -> None:
    gap = np.zeros(1, F)
    for _ in range(200):
        gap = learn_gap(gap, np.array([3_600], F))
        for _ in range(5):
            gap = learn_gap(gap, np.array([0], F))
    assert gap[0] > 2_000


def test_no_deadline_is_shorter_than_half_a_minute() -> None:
    assert deadlines_s(np.array([1, 1, 1, 60], F), np.array([0, 1, 2, 1], np.uint8)).tolist() == [
        30,
        60,
        120,
        600,
    ]


def test_the_young_and_the_never_heard_are_not_silent() -> None:
    columns = Columns()
    columns.grow(3)
    columns.rows[Row.GAP_S, :3] = 10
    columns.age[:3] = [5, 20, 0]
    columns.heard_s[:3] = 1_000
    found = look(columns, 10_000_000, 0)
    assert found.series.tolist() == [1]
    assert found.step.tolist() == [2]
    assert found.at_ms.tolist() == [1_200_000]
    assert len(look(columns, 20_000_000, 0).series) == 0
