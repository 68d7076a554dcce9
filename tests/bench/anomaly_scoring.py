"""The scoring rule of the Numenta Anomaly Benchmark: what detections on a corpus of labelled recordings are worth.

Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms", 2015 (arXiv 1510.03336). A recording is a series of values with windows
in which something is wrong. The first 15 % of it, at most 750 points, is probation and counts for nothing. In each window the earliest
detection earns by how early it is, a window without one costs, and so does each detection outside, by how far behind the last window it is.
One threshold holds for the whole corpus: the one that gives the best sum. Sums are scaled: who never fires has 0, who fires once at the
left end of each window and nowhere else has 100.

A detection is a score from the threshold on; or, with `quiet_points`, the raising of an alarm: a score from the threshold on after so many below.

Must not know: detectors, files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

PROBATION_RATIO: Final = 0.15
PROBATION_POINTS_MAX: Final = 750
REACH_WINDOWS: Final = 3.0
"""A detection so many window lengths behind the last window, or before the first, costs all of A_FP: σ is -1 to six digits there."""
THRESHOLDS_MAX: Final = 1_000
"""Thresholds tried: all scores that occur where there are fewer, else so many of them, evenly by rank."""

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a detection in a window is worth, what a missed window costs and what a false detection does."""

    name: str
    hit: float
    miss: float
    false: float


PROFILES: Final = (
    Profile(name="standard", hit=1.0, miss=1.0, false=0.11),
    Profile(name="low false positives", hit=1.0, miss=1.0, false=0.22),
    Profile(name="low false negatives", hit=1.0, miss=2.0, false=0.11),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The windows of one recording as (first index, last index), both in the window, in order and disjoint; and how long it is."""

    points: int
    windows: tuple[tuple[int, int], ...]

    @property
    def probation(self) -> int:
        """How many points at the beginning don't count."""
        return min(int(PROBATION_RATIO * self.points), PROBATION_POINTS_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a threshold scores in a profile (100 is perfect, 0 is silence), and what it found."""

    profile: Profile
    threshold: float
    score: float
    hits: int
    missed: int
    false: int


def worth(relative: NDArray[np.float64]) -> NDArray[np.float64]:
    """σ(y): nearly 1 at the left end of a window (y = -1), 0 at its right end, -1 well behind. y in window lengths."""
    return np.asarray(2.0 / (1.0 + np.exp(5.0 * np.minimum(relative, 100.0))) - 1.0)


def highest_before(scores: Scores, quiet_points: int) -> Scores:
    """Of each point the highest of so many scores before it: from there on down to its score it raises an alarm."""
    if not quiet_points:
        return np.full(len(scores), -np.inf)
    before = np.concatenate([np.full(quiet_points, -np.inf), scores])[:-1]
    return np.asarray(np.lib.stride_tricks.sliding_window_view(before, quiet_points).max(axis=1))


class Scorer:
    """Scores detectors on one corpus."""

    def __init__(self, labels: Sequence[Labels]) -> None:
        self._labels = labels
        self._windows = sum(len(one.windows) for one in labels)
        self._worth = np.concatenate([_worth_of_each_point(one)[one.probation :] for one in labels])
        before = np.cumsum([0, *(len(one.windows) for one in labels)])
        inside = [_window_of_each_point(one)[one.probation :] for one in labels]
        self._inside = np.concatenate(
            [np.where(one >= 0, one + before[n], -1) for n, one in enumerate(inside)]
        )

    def best(
        self, scores: Sequence[Scores], quiet_points: int = 0, profiles: Sequence[Profile] = PROFILES
    ) -> list[Outcome]:
        """For each profile the threshold that gives the most.

        Args:
            scores: One array for each recording. Higher is more unusual, any scale; -inf never fires.
        """
        return [
            max(
                self._outcomes(scores, quiet_points, profile, self._thresholds(scores)),
                key=lambda one: one.score,
            )
            for profile in profiles
        ]

    def at(
        self, scores: Sequence[Scores], threshold: float, profile: Profile, quiet_points: int = 0
    ) -> Outcome:
        """What one threshold gives."""
        return self._outcomes(scores, quiet_points, profile, np.array([threshold]))[0]

    def _thresholds(self, scores: Sequence[Scores]) -> Scores:
        """Those worth trying, the highest first; infinite is silence."""
        counted = np.concatenate(
            [one[label.probation :] for one, label in zip(scores, self._labels, strict=True)]
        )
        ranked = np.unique(counted[counted > -np.inf])[::-1]
        if len(ranked) > THRESHOLDS_MAX:
            # Evenly by rank among all points, not among values, and finer at the top.
            every = np.sort(counted)[::-1]
            ranks = np.unique(np.geomspace(1, len(every), THRESHOLDS_MAX).astype(np.int64)) - 1
            ranked = np.unique(every[ranks])[::-1]
        return np.concatenate([[np.inf], ranked[np.isfinite(ranked)]])

    def _outcomes(
        self, scores: Sequence[Scores], quiet_points: int, profile: Profile, thresholds: Scores
    ) -> list[Outcome]:
        parts = list(zip(scores, self._labels, strict=True))
        score = np.concatenate([one[label.probation :] for one, label in parts])
        before = np.concatenate(
            [highest_before(one, quiet_points)[label.probation :] for one, label in parts]
        )
        raises = score > before
        outside = np.flatnonzero(raises & (self._inside < 0))
        false_worth = _active(self._worth[outside], score[outside], before[outside], thresholds)
        false = _active(np.ones(len(outside)), score[outside], before[outside], thresholds)
        hit_worth, hits = np.zeros(len(thresholds)), np.zeros(len(thresholds))
        for window in range(self._windows):
            points = np.flatnonzero(raises & (self._inside == window))
            if len(points):
                detected = (score[points, np.newaxis] >= thresholds) & (
                    before[points, np.newaxis] < thresholds
                )
                is_hit = detected.any(axis=0)
                hit_worth += np.where(is_hit, self._worth[points[detected.argmax(axis=0)]], 0.0)
                hits += is_hit
        sums = profile.hit * hit_worth + profile.false * false_worth - profile.miss * (self._windows - hits)
        silent = -profile.miss * self._windows
        perfect = profile.hit * float(worth(np.array([-1.0]))[0]) * self._windows
        scaled = 100.0 * (sums - silent) / (perfect - silent) if self._windows else np.minimum(sums, 0.0)
        return [
            Outcome(
                profile=profile,
                threshold=float(threshold),
                score=float(scaled[n]),
                hits=int(hits[n]),
                missed=self._windows - int(hits[n]),
                false=int(false[n]),
            )
            for n, threshold in enumerate(thresholds)
        ]


def _active(weights: Scores, score: Scores, before: Scores, thresholds: Scores) -> Scores:
    """For each threshold the sum of the weights of points that raise there: before < threshold ≤ score."""

    def from_threshold_on(keys: Scores) -> Scores:
        order = np.argsort(keys)
        sums = np.concatenate([[0.0], np.cumsum(weights[order])])
        return np.asarray(sums[-1] - sums[np.searchsorted(keys[order], thresholds, side="left")])

    return from_threshold_on(score) - from_threshold_on(before)


def _window_of_each_point(labels: Labels) -> NDArray[np.int64]:
    inside = np.full(labels.points, -1, dtype=np.int64)
    for number, (first, last) in enumerate(labels.windows):
        inside[first : last + 1] = number
    return inside


def _worth_of_each_point(labels: Labels) -> Scores:
    """σ of each point: by its place in its window, or by how far the last window is behind."""
    value = np.full(labels.points, -1.0)
    for first, last in labels.windows:
        relative = (np.arange(first, labels.points) - last) / max(last - first, 1)
        value[first:] = np.where(relative > REACH_WINDOWS, -1.0, worth(relative))
    return value
