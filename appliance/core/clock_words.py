"""What people are told of this box's clock: what is wrong, what it means, what to do. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Final

from appliance.core.believed_time import ClockDoubt

CLOCK_HINT: Final = "Set the clock, or let the box reach a time server."
_MS_PER_DAY: Final = 86_400_000


def clock_doubt_text(doubt: ClockDoubt, now_ms: int, off_by_ms: int) -> str:
    """What is wrong with the clock, "" when nothing is.

    Args:
        now_ms: What it says, UTC ms. off_by_ms: How far that is ahead of what is believed.
    """
    says = day_text(now_ms)
    if doubt is ClockDoubt.BEFORE:
        return (
            f"This box's clock says {says}, which can't be. Readings without a time of their own stand under that date; "
            "none is lost, and devices' own times are taken."
        )
    if doubt is ClockDoubt.BACK:
        return f"This box's clock says {says}, {_days(-off_by_ms)} before what it said last. Readings without a time of their own stand there."
    if doubt is ClockDoubt.AHEAD:
        return f"This box's clock says {says}, {_days(off_by_ms)} after what can be believed. Nothing is let go for its age that is not old without them."
    return ""


def day_text(at_ms: int) -> str:
    """A date, UTC; times no calendar holds come back as their number."""
    try:
        return f"{dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms since 1970"


def _days(ms: int) -> str:
    return f"{ms // _MS_PER_DAY} days"
