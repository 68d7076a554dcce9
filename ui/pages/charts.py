"""What a chart needs: which ranges there are, how wide a bucket is, where a line must break, and its history as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from appliance.core.limits import CHART_POINT_COUNT
from ui.pages.format import Value
from ui.services import SeriesData

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
GAP_RATIO: Final = 2.5
"""A pause this many times the usual one is a gap: one reading may be late without breaking the line."""


@dataclass(frozen=True, slots=True)
class Range:
    """A span of time that can be drawn, ending now."""

    key: str
    label: str
    span_ms: int

    @property
    def interval_ms(self) -> int:
        """Width of a bucket: the whole seconds that give at most CHART_POINT_COUNT buckets."""
        return max(1_000, -(-self.span_ms // (CHART_POINT_COUNT * 1_000)) * 1_000)


RANGES: Final[dict[str, Range]] = {
    r.key: r
    for r in (
        Range("15m", "15 min", 15 * MINUTE_MS),
        Range("1h", "1 h", HOUR_MS),
        Range("6h", "6 h", 6 * HOUR_MS),
        Range("24h", "24 h", 24 * HOUR_MS),
        Range("7d", "7 days", 7 * 24 * HOUR_MS),
    )
}
RANGE_DEFAULT: Final = "24h"


@dataclass(frozen=True, slots=True)
class Buckets:
    """Buckets of one metric in order of time; None where the line breaks. All lists are equally long."""

    at_ms: list[int]
    mean: list[float | None]
    low: list[float | None]
    high: list[float | None]
    gap_ms: int


def gap_ms_of(at_ms: Sequence[int], interval_ms: int) -> int:
    """The pause beyond which two neighbours are not joined: GAP_RATIO × the median pause, at least two buckets."""
    pauses = sorted(b - a for a, b in pairwise(at_ms))
    usual_ms = pauses[len(pauses) // 2] if pauses else interval_ms
    return max(round(usual_ms * GAP_RATIO), 2 * interval_ms)


def with_gaps(
    at_ms: Sequence[int],
    mean: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
    interval_ms: int,
) -> Buckets:
    """Put an empty bucket into each gap, so that a chart leaves it white instead of drawing a line through it.

    Args:
        at_ms: Beginnings of non-empty buckets, ascending.
    """
    gap_ms = gap_ms_of(at_ms, interval_ms)
    out = Buckets([], [], [], [], gap_ms)
    previous: int | None = None
    for at, a_mean, a_low, a_high in zip(at_ms, mean, low, high, strict=True):
        if previous is not None and at - previous > gap_ms:
            out.at_ms.append(previous + interval_ms)
            for values in (out.mean, out.low, out.high):
                values.append(None)
        out.at_ms.append(at)
        out.mean.append(a_mean)
        out.low.append(a_low)
        out.high.append(a_high)
        previous = at
    return out


def history_of(
    series: Sequence[tuple[str, SeriesData]],
    *,
    interval_ms: int | None,
    range_ms: int,
    end_ms: int | None,
    note: str = "",
) -> dict[str, Any]:
    """A chart's lines with their labels: what js/chart.js calls History.

    Args:
        interval_ms: Width of a bucket, None where every reading is a point.
        end_ms: Where the chart ends, None for now, whenever that is. note: What stands below the chart beside its numbers.
    """
    lines = []
    gap_ms = 0
    for label, data in series:
        unknown: list[float | None] = [None] * len(data.at_ms)
        buckets = with_gaps(
            data.at_ms, numbers_of(data.value), data.min or unknown, data.max or unknown, interval_ms or 1
        )
        gap_ms = max(gap_ms, buckets.gap_ms)
        lines.append(
            {
                "label": label,
                "at_ms": buckets.at_ms,
                "mean": buckets.mean,
                "min": buckets.low,
                "max": buckets.high,
            }
        )
    return {
        "interval_ms": interval_ms,
        "range_ms": range_ms,
        "end_ms": end_ms,
        "gap_ms": gap_ms,
        "note": note,
        "series": lines,
    }


def numbers_of(values: Sequence[Value]) -> list[float | None]:
    """Means of booleans are numbers as well; text has none."""
    return [None if v is None or isinstance(v, str) else float(v) for v in values]
