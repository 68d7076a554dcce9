"""Times of the week, in the site's time zone: hours in which nobody is woken, and hours in which somebody is on call. Pure.

A time that ends when it begins is the whole day; one that goes over midnight belongs to the day on which it begins. Where clocks
change, it keeps the hours on the wall (management/windows.py).

Must not know: which zone the site is in, what is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Final

import msgspec

from appliance.core.errors import UsageError
from appliance.management.windows import Window, closes_at_ms, opened_at_ms

_CHAIN_COUNT_MAX: Final = 32
"""Times that follow one another without a gap; when they are the whole week, they end there."""
_PREFIX: Final = "The maintenance window can't be used: "


class WeeklyTime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Some hours of some days.

    Attributes:
        days: On which it begins: mon, tue, …; none for every day.
        from_, to: "22:00", in the site's time zone; the same for a whole day.
    """

    days: tuple[str, ...] = ()
    from_: str = msgspec.field(name="from")
    to: str


def window_of(time: WeeklyTime) -> Window:
    """The window that it is.

    Raises:
        UsageError: `on_call_invalid`.
    """
    try:
        if time.from_ != time.to:
            return Window.of(time.days, time.from_, time.to)
        other = "00:01" if time.from_ == "00:00" else "00:00"
        made = Window.of(time.days, time.from_, other)
    except UsageError as error:
        message = f"A time of the week can't be used: {error.message.removeprefix(_PREFIX)}"
        raise UsageError(message, hint=error.hint, code="on_call_invalid") from error
    return replace(made, to_minute=made.from_minute)


def is_within(windows: Sequence[Window], at_ms: int, zone: tzinfo) -> bool:
    """Whether it is within one of them then."""
    return any(closes_at_ms(window, at_ms, zone) is not None for window in windows)


def after_quiet_ms(windows: Sequence[Window], at_ms: int, zone: tzinfo) -> int:
    """The first instant from then on that is in none of them, UTC ms; after a month of them without a gap, that."""
    for _ in range(_CHAIN_COUNT_MAX):
        ends = [end for window in windows if (end := closes_at_ms(window, at_ms, zone)) is not None]
        if not ends:
            break
        at_ms = max(ends)
    return at_ms


def before_quiet_ms(windows: Sequence[Window], at_ms: int, zone: tzinfo) -> int:
    """The last instant up to then that is in none of them, UTC ms; after a month of them without a gap, that."""
    for _ in range(_CHAIN_COUNT_MAX):
        begins = [begin for window in windows if (begin := opened_at_ms(window, at_ms, zone)) is not None]
        if not begins:
            break
        at_ms = min(begins) - 1
    return at_ms
