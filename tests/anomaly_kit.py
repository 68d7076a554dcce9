"""Series to show to the detectors: made by code, each with what a person would say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from appliance.anomalies.detectors import AnomalyDetectors
from appliance.core.arrays import F32, F64, I64, U8, U32
from appliance.management.watched import Finding, Released

START_MS = 1_785_715_200_000
"""A Monday, 00:00 UTC."""
STEP_MS = 10_000
HIGH, NORMAL, LOW = 0.99, 0.999, 0.9999
"""From which scores on rules of each sensitivity find something."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the detectors made of one series."""

    score: F32
    kind: U8
    texts: dict[int, str]

    def findings(self, threshold: float = NORMAL, begin: int = 0, end: int | None = None) -> set[Finding]:
        """Which findings reach a threshold between two readings."""
        part = slice(begin, end)
        return {Finding(int(kind)) for kind in np.unique(self.kind[part][self.score[part] >= threshold])}

    def first(self, threshold: float = NORMAL, begin: int = 0) -> int | None:
        """The first reading from `begin` on whose score reaches a threshold."""
        at = np.flatnonzero(self.score[begin:] >= threshold)
        return begin + int(at[0]) if len(at) else None


def times(count: int, step_ms: int = STEP_MS, start_ms: int = START_MS) -> I64:
    """Times in equal steps."""
    return start_ms + np.arange(count, dtype=np.int64) * step_ms


def readings(
    values: F64, at_ms: I64, *, series: int | U32 = 0, received_at_ms: I64 | None = None, quality: int = 0
) -> Released:
    """Released readings of one series, or of as many as `series` names."""
    ids = np.full(len(values), series, np.uint32) if isinstance(series, int) else series
    return Released(
        series=ids,
        observed_at_ms=at_ms,
        received_at_ms=at_ms if received_at_ms is None else received_at_ms,
        values=np.asarray(values, np.float64),
        quality=np.full(len(values), quality, np.uint8),
    )


def watch(values: F64 | Sequence[float], step_ms: int = STEP_MS) -> Seen:
    """Show one series, a reading each step, and explain what reaches HIGH."""
    return watch_all({"one": (np.asarray(values, np.float64), step_ms)})["one"]


def watch_all(shown: Mapping[str, tuple[F64, int]]) -> dict[str, Seen]:
    """Show many series at once, which costs hardly more than one: (values, ms from one to the next) by name."""
    lengths = [len(values) for values, _ in shown.values()]
    scores = AnomalyDetectors().see(
        readings(
            np.concatenate([values for values, _ in shown.values()]),
            np.concatenate([times(len(values), step_ms) for values, step_ms in shown.values()]),
            series=np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths),
        )
    )
    seen, begin = {}, 0
    for name, length in zip(shown, lengths, strict=True):
        part = slice(begin, begin + length)
        reached = np.flatnonzero(scores.score[part] >= HIGH).tolist()
        texts = {at: str(scores.explain(begin + at)["text"]) for at in reached}
        seen[name] = Seen(score=scores.score[part], kind=scores.kind[part], texts=texts)
        begin += length
    return seen


def noise(count: int, seed: int, level: float = 20.0, spread: float = 1.0) -> F64:
    """Independent normal noise."""
    return level + spread * np.random.default_rng(seed).standard_normal(count)
