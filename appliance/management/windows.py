"""Maintenance windows: on these weekdays, from then to then, in the site's time. Pure.

A window that goes over midnight belongs to the day on which it begins. Where clocks change, a window keeps the hours on the wall: it may
be an hour longer or shorter that night, and a beginning that the clocks leap over is where they land.

Must not know: which zone the site is in, and where zones are kept: a zone is an argument.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, Self

from appliance.core.errors import UsageError

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY_MS: Final = 86_400_000
_LOOK_DAYS: Final = 16
"""From the day before to two weeks ahead: a window opens within that, even one day a week of which the clocks leap over one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When devices may be started.

    Attributes:
        days: Weekdays on which it begins, 0 for Monday; not empty.
        from_minute, to_minute: Of the day, 0..1439; the end not after the beginning means the next day.
    """

    days: frozenset[int]
    from_minute: int
    to_minute: int

    @classmethod
    def of(cls, days: tuple[str, ...], from_: str, to: str) -> Self:
        """The window that a person wrote.

        Args:
            days: Of DAYS; none for every day.
            from_, to: "22:00".
        Raises:
            UsageError: `window_invalid`.
        """
        unknown = [day for day in days if day not in DAYS]
        if unknown:
            raise _refused(f"“{unknown[0][:20]}” is no weekday", f"Weekdays are {', '.join(DAYS)}.")
        begin, end = _minute(from_), _minute(to)
        if begin == end:
            raise _refused("it begins when it ends", "Leave the window out, or give it a length.")
        return cls(days=frozenset(DAYS.index(day) for day in days or DAYS), from_minute=begin, to_minute=end)

    def words(self) -> tuple[tuple[str, ...], str, str]:
        """The days, beginning and end as `of` takes them."""
        return (
            tuple(DAYS[day] for day in sorted(self.days)),
            f"{self.from_minute // 60:02}:{self.from_minute % 60:02}",
            f"{self.to_minute // 60:02}:{self.to_minute % 60:02}",
        )


def closes_at_ms(window: Window, now_ms: int, zone: tzinfo) -> int | None:
    """When the window that is open now closes, UTC ms; None while it is closed."""
    ends = [end for begin, end in _spans(window, now_ms, zone) if begin <= now_ms < end]
    return max(ends) if ends else None


def opened_at_ms(window: Window, now_ms: int, zone: tzinfo) -> int | None:
    """When the window that is open now opened, UTC ms; None while it is closed."""
    begins = [begin for begin, end in _spans(window, now_ms, zone) if begin <= now_ms < end]
    return min(begins) if begins else None


def opens_at_ms(window: Window, now_ms: int, zone: tzinfo) -> int:
    """When it opens next, UTC ms, after now."""
    return min(begin for begin, _ in _spans(window, now_ms, zone) if begin > now_ms)


def open_ms(window: Window, from_ms: int, to_ms: int, zone: tzinfo) -> int:
    """How long it was open between two times, in ms."""
    day_count = (to_ms - from_ms) // _DAY_MS + 3
    spans = _spans(window, from_ms, zone, day_count)
    return sum(max(0, min(end, to_ms) - max(begin, from_ms)) for begin, end in spans)


def _spans(window: Window, now_ms: int, zone: tzinfo, day_count: int = _LOOK_DAYS) -> list[tuple[int, int]]:
    """Beginning and end of those from the day before now on, UTC ms."""
    today = datetime.fromtimestamp(now_ms / 1000, zone).date()
    spans = []
    for ahead in range(-1, day_count):
        day = today + timedelta(days=ahead)
        if day.weekday() in window.days:
            is_over_midnight = window.to_minute <= window.from_minute
            begin = _utc_ms(day, window.from_minute, zone)
            end = _utc_ms(day + timedelta(days=is_over_midnight), window.to_minute, zone)
            if begin < end:  # Not of one whose beginning the clocks leapt over, to behind its end.
                spans.append((begin, end))
    return spans


def _utc_ms(day: date, minute: int, zone: tzinfo) -> int:
    """UTC ms of a time on the wall. Of a time that comes twice the first; one that is leapt over lies as far behind the leap."""
    local = datetime.combine(day, time(minute // 60, minute % 60), zone)
    return int(local.astimezone(UTC).timestamp()) * 1000


def _minute(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise _refused(f"“{text[:20]}” is no time of day", "Write hours and minutes: 22:00.")
    return int(found[1]) * 60 + int(found[2])


def _refused(why: str, hint: str) -> UsageError:
    return UsageError(f"The maintenance window can't be used: {why}.", hint=hint, code="window_invalid")
