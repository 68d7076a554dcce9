"""How old a device's newest reading may be before a page must say so.

`stale` beyond an age, `late` from a third of it on, `fresh` before; `never` without a reading. The age is the configuration's, or
follows from how often the device says that it reports. A reading from the future (the box's clock was set back) is fresh: ages are
never negative. What may be a copy that another broker kept is never fresh for having arrived: its own time counts, and without one
nobody knows how old it is, so it is stale.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

LATE_RATIO: Final = 3
"""A device that reports three times within the age is late after one missed report, stale after three."""


EXPECTED_COUNT: Final = 4.5
"""A device that says how often it reports is late when a report is half an interval overdue, stale after four and a half."""


class Freshness(StrEnum):
    FRESH = "fresh"
    LATE = "late"
    STALE = "stale"
    NEVER = "never"


def freshness(last_reading_at_ms: int | None, now_ms: int, stale_after_ms: int) -> Freshness:
    """The freshness of something last heard at a time.

    Args:
        last_reading_at_ms: When its newest reading arrived (ours, UTC ms), or None for never.
        now_ms: Now, UTC ms.
        stale_after_ms: From `stale_after_ms`: fresh up to a third of it, stale beyond it.
    """
    if last_reading_at_ms is None:
        return Freshness.NEVER
    age_ms = now_ms - last_reading_at_ms
    if age_ms * LATE_RATIO <= stale_after_ms:
        return Freshness.FRESH
    return Freshness.LATE if age_ms <= stale_after_ms else Freshness.STALE


def value_freshness(counts_at_ms: int | None, now_ms: int, stale_after_ms: int) -> Freshness:
    """The freshness of a value that is there.

    Args:
        counts_at_ms: From `counts_at_ms`. now_ms, stale_after_ms: As in `freshness`.
    """
    return Freshness.STALE if counts_at_ms is None else freshness(counts_at_ms, now_ms, stale_after_ms)


def counts_at_ms(observed_at_ms: int, received_at_ms: int, *, is_kept_copy: bool) -> int | None:
    """From when on a value ages, UTC ms; None when that can't be known.

    Args:
        is_kept_copy: It may be a copy that another broker kept: said at `observed_at_ms` if that is before its arrival, else at
            some time before.
    """
    if not is_kept_copy:
        return received_at_ms
    return observed_at_ms if observed_at_ms < received_at_ms else None


def stale_after_ms(expect_ms: int | None, default_ms: int) -> int:
    """From which age on a device's values are stale.

    Args:
        expect_ms: How often it says that it reports, or None. default_ms: devices.stale_after_s × 1,000.
    """
    return default_ms if expect_ms is None else round(expect_ms * EXPECTED_COUNT)
