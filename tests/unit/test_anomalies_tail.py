"""Tails: evidence grows with distance, and a series' own habits are learned."""

from __future__ import annotations

import numpy as np

from appliance.anomalies.tail import decades, learn

F = np.float32


def test_within_the_body_there_is_no_evidence() -> None:
    assert decades(np.array([0, 1, 3], F), F(0.02), F(0.25), 3.0).tolist() == [0, 0, 0]


def test_beyond_it_falls_as_a_power() -> None:
    """One in 50 goes beyond 3; with exponent 4 ten times as far is a ten-thousandth of that."""
    evidence = decades(np.array([3.0001, 30], F), F(0.02), F(0.25), 3.0)
    assert np.allclose(evidence, [1.699, 5.699], atol=0.001)


def test_a_series_that_often_goes_far_makes_it_usual() -> None:
    share, weight = np.array([0.02], F), np.array([0.25], F)
    for slot in range(5_000):
        far = 9.0 if slot % 10 == 0 else 0.5
        share, weight = learn(np.array([far], F), share, weight, np.array([slot], F), 3.0, 0.02)
    assert 0.08 < share[0] < 0.11
    assert 0.6 < weight[0] <= 0.7, "an excess counts at most so much"
    assert decades(np.array([9], F), share, weight, 3.0)[0] < 2


def test_a_series_that_never_does_makes_it_rarer() -> None:
    share, weight = np.array([0.02], F), np.array([0.25], F)
    for slot in range(50_000):
        share, weight = learn(np.array([0.1], F), share, weight, np.array([slot], F), 3.0, 0.02)
    assert np.isclose(share[0], 1e-4)
    assert weight[0] == F(0.25)
