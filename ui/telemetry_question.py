"""What is asked of readings, as a query string says it: times, round intervals, names with wildcards. Pure.

An interval is a round one, so that it is served from the rollups: a day at 1 min is 1,440 rows of them, where the readings
themselves may be a million. Must not know where readings lie, nor who may see them.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Final, Literal, get_args

from appliance.core.errors import UsageError
from appliance.core.limits import QUERY_POINT_COUNT_MAX, QUERY_RANGE_MS_MAX
from ui.times import parse_time_ms

Aggregation = Literal["raw", "mean", "min", "max", "count", "band", "first", "last", "sum"]
AGGREGATIONS: Final[tuple[Aggregation, ...]] = get_args(Aggregation)
TopAggregation = Literal["mean", "min", "max", "count", "sum", "first", "last"]

Source = Literal["days", "hours", "minutes", "readings", "archive"]
"""What answers a question: rollups of whole days, hours or minutes, readings one by one, Parquet of the archive."""

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
ROUND_INTERVALS_MS: Final = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(n * SECOND_MS for n in (1, 2, 5, 10, 15, 30)),
    *(n * MINUTE_MS for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR_MS for n in (1, 2, 3, 6, 12)),
    *(n * DAY_MS for n in (1, 2, 7, 14, 28)),
)
"""What clocks and calendars are divided into, the narrowest first; from a minute on each is a multiple of a rollup's."""
_RELATIVE: Final = re.compile(r"-([0-9]{1,9})(ms|s|m|min|h|d|w)")
_UNIT_MS: Final = {
    "ms": 1,
    "s": SECOND_MS,
    "m": MINUTE_MS,
    "min": MINUTE_MS,
    "h": HOUR_MS,
    "d": DAY_MS,
    "w": 7 * DAY_MS,
}
_WILDCARDS: Final = frozenset("*?")


def parse_when(text: str, now_ms: int, *, name: str) -> int:
    """A point in time, absolute or counted back from now, as UTC ms since 1970.

    Args:
        text: `now`, `-15m`, `-24h`, `-7d` (ms, s, m or min, h, d, w), or as `parse_time_ms` takes it.
        name: Of the query's key, for the message.
    Raises:
        UsageError: `time_invalid`.
    """
    text = text.strip()
    if text == "now":
        return now_ms
    relative = _RELATIVE.fullmatch(text)
    if relative is None:
        return parse_time_ms(text, name=name)
    return max(0, now_ms - int(relative[1]) * _UNIT_MS[relative[2]])


def is_relative(text: str) -> bool:
    """Whether a time moves on with the clock."""
    return text.strip() == "now" or _RELATIVE.fullmatch(text.strip()) is not None


def check_range(from_ms: int, to_ms: int) -> None:
    """Refuse a range that is empty or longer than what is kept.

    Raises:
        UsageError: `range_invalid`.
    """
    if not 0 < to_ms - from_ms <= QUERY_RANGE_MS_MAX:
        raise UsageError(
            f"The range must end after it begins, and within {QUERY_RANGE_MS_MAX // DAY_MS} days.",
            hint="Give from before to; ask for a longer range in pieces.",
            code="range_invalid",
        )


def round_interval_ms(range_ms: int, count_max: int) -> int:
    """The narrowest round interval of which a range has at most `count_max`; whole multiples of 28 days beyond that."""
    for interval_ms in ROUND_INTERVALS_MS:
        if range_ms <= interval_ms * count_max:
            return interval_ms
    widest_ms = ROUND_INTERVALS_MS[-1]
    return widest_ms * -(-range_ms // (widest_ms * count_max))


def check_interval(range_ms: int, interval_ms: int) -> None:
    """Refuse more intervals than an answer holds.

    Raises:
        UsageError: `interval_invalid`.
    """
    if range_ms // interval_ms > QUERY_POINT_COUNT_MAX:
        raise UsageError(
            f"The range has more than {QUERY_POINT_COUNT_MAX} intervals of {interval_ms} ms.",
            hint="Choose a larger interval_ms or a shorter range.",
            code="interval_invalid",
        )


def refuse_interval_of_raw() -> UsageError:
    """What to raise where raw points are asked for with an interval."""
    return UsageError(
        "Raw points have no interval.",
        hint="Leave interval_ms and width out, or choose an aggregation such as mean.",
        code="interval_invalid",
    )


def has_wildcard(name: str) -> bool:
    """Whether a name may stand for several: `*` is any characters, `?` is one."""
    return not _WILDCARDS.isdisjoint(name)


def matcher(name: str) -> re.Pattern[str]:
    """A pattern that a whole name must match; how long that takes grows with the name, not with how many `*` there are."""
    return re.compile(fnmatch.translate(name.replace("[", "[[]")))
