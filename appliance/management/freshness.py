"""How old a device's newest reading may be before a page must say so.

`stale` beyond the configured age, `late` from a third of it on, `fresh` before; `never` without a reading. A
reading from the future (the box's clock was set back) is fresh: ages are never negative.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

LATE_RATIO: Final = 3
"""A device that reports three times within the age is late after one missed report, stale after three."""


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
        stale_after_ms: devices.stale_after_s × 1,000: fresh up to a third of it, stale beyond it.
    """
    if last_reading_at_ms is None:
        return Freshness.NEVER
    age_ms = now_ms - last_reading_at_ms
    if age_ms * LATE_RATIO <= stale_after_ms:
        return Freshness.FRESH
    return Freshness.LATE if age_ms <= stale_after_ms else Freshness.STALE
