"""Series that have dropped out: no reading for many times the gap that is usual between their arrivals. Pure.

By arrival, so that a device whose clock is wrong, or that sends an hour's readings at once, is judged by when it is heard. Told in three steps
(SILENCE_TIMES usual gaps, at least SILENCE_S_MIN), each once, each at its deadline, whoever notices when; the next reading ends it. A time in which the
broker was away is nobody's silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from appliance.anomalies.columns import SILENCE_SHIFT, Columns, Row
from appliance.anomalies.tuning import SILENCE_AGE, SILENCE_S_MIN, SILENCE_TIMES
from appliance.core.arrays import F32, I64, U8, U32

_FLAGS_MASK: Final = np.uint8((1 << SILENCE_SHIFT) - 1)
_GAP_CLIP: Final = 3.0
_UP: Final = 0.2
_DOWN: Final = 0.02


@dataclass(frozen=True, slots=True)
class Silence:
    """Series whose silence has gone a step further.

    Attributes:
        series, step: Which, and which step, 0 to 2. at_ms: When the step was reached. gap_s: What is usual.
    """

    series: U32
    step: U8
    at_ms: I64
    gap_s: F32


def learn_gap(gap_s: F32, passed_s: F32) -> F32:
    """The usual gap after one more: quick to grow, at most threefold at once, slow to shrink."""
    passed_s = np.maximum(passed_s, np.float32(0.0))
    bounded = np.minimum(passed_s, _GAP_CLIP * np.maximum(gap_s, np.float32(1.0)))
    part = np.where(passed_s > gap_s, np.float32(_UP), np.float32(_DOWN))
    return np.where(
        gap_s == 0, np.maximum(passed_s, np.float32(1.0)), gap_s + part * (bounded - gap_s)
    ).astype(np.float32)


def heard(flags: U8) -> U8:
    """The flags of series that were heard."""
    return flags & _FLAGS_MASK


def look(columns: Columns, now_ms: int, started_ms: int) -> Silence:
    """Which silences have reached a step that was not told yet; marks them as told.

    Args:
        started_ms: When the broker last started: nobody was heard before, through no fault of theirs.
    """
    count = len(columns)
    gap = columns.rows[Row.GAP_S, :count]
    since = np.maximum(columns.heard_s[:count].astype(np.int64), started_ms // 1_000)
    # The shortest deadline that any series has: most looks end here.
    silent_s = now_ms / 1_000 - since
    candidates = np.flatnonzero(
        (silent_s >= np.maximum(SILENCE_TIMES[0] * gap, SILENCE_S_MIN))
        & (columns.age[:count] >= SILENCE_AGE)
        & (gap > 0)
    )
    told = columns.flags[candidates] >> SILENCE_SHIFT
    deadlines = np.stack([deadlines_s(gap[candidates], step) for step in range(len(SILENCE_TIMES))])
    reached = (silent_s[candidates] >= deadlines).sum(axis=0).astype(np.uint8)
    is_news = reached > told
    series, step = candidates[is_news], (reached[is_news] - 1).astype(np.uint8)
    columns.flags[series] = heard(columns.flags[series]) | (reached[is_news] << SILENCE_SHIFT)
    at_ms = since[series] * 1_000 + (deadlines_s(gap[series], step).astype(np.float64) * 1_000).astype(
        np.int64
    )
    return Silence(series=series.astype(np.uint32), step=step, at_ms=at_ms, gap_s=gap[series].copy())


def deadlines_s(gap_s: F32, step: U8 | int) -> F32:
    """How long silences last when they reach a step; the steps of short gaps keep their order."""
    times = np.array(SILENCE_TIMES, np.float32)[step]
    deadlines: F32 = np.maximum(times * gap_s, times * np.float32(SILENCE_S_MIN / SILENCE_TIMES[0]))
    return deadlines
