"""Times of the week as people write them, one in a line: "mon-fri 08:00-17:00", "sat sun 00:00-00:00", "22:00-06:00" for every day. Pure.

`read_times` and `write_times` are each other's inverse, but for how days are put together.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.core.errors import UsageError
from appliance.management.quiet_hours import WeeklyTime, window_of
from appliance.management.windows import DAYS

_LINE: Final = re.compile(r"(?:(.*\S)\s+)?(\d{1,2}:\d\d)\s*(?:-|–|to)\s*(\d{1,2}:\d\d)")


def read_times(text: str, *, name: str) -> tuple[WeeklyTime, ...]:
    """One time for each line that isn't empty.

    Args:
        name: Of the field, for the message.
    Raises:
        UsageError: `on_call_invalid`.
    """
    return tuple(_read(line.strip().lower(), name) for line in text.splitlines() if line.strip())


def write_times(times: tuple[WeeklyTime, ...]) -> str:
    """One in a line."""
    return "\n".join(f"{' '.join(each.days)} {each.from_}-{each.to}".strip() for each in times)


def _read(line: str, name: str) -> WeeklyTime:
    found = _LINE.fullmatch(line)
    if found is None:
        raise _wrong(line, name)
    days: list[str] = []
    for word in re.split(r"[\s,]+", found[1] or ""):
        first, dash, last = word.partition("-")
        if not word:
            continue
        if first not in DAYS or (dash and last not in DAYS):
            raise _wrong(line, name)
        begin, end = DAYS.index(first), DAYS.index(last or first)
        span = range(begin, end + 1) if begin <= end else (*range(begin, 7), *range(end + 1))
        days += [DAYS[at] for at in span]
    made = WeeklyTime(days=tuple(dict.fromkeys(days)), from_=found[2].zfill(5), to=found[3].zfill(5))
    window_of(made)
    return made


def _wrong(line: str, name: str) -> UsageError:
    return UsageError(
        f"“{line[:60]}” in “{name}” is no time of the week.",
        hint="Write days and hours, such as mon-fri 08:00-17:00, one in a line; without days it is every day.",
        code="on_call_invalid",
    )
