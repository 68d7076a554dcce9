"""Times in queries."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from appliance.core.errors import UsageError

_MS: Final = re.compile(r"[0-9]{1,15}")


def parse_time_ms(text: str, *, name: str) -> int:
    """A point in time as UTC ms since 1970.

    Args:
        text: UTC milliseconds, or ISO 8601 with an offset: `2026-03-01T00:00:00Z`, `…+01:00`. (In a URL a `+` is written
            %2B; a space in its place is understood.)
        name: Of the query's key, for the message.
    Raises:
        UsageError: `time_invalid`.
    """
    if _MS.fullmatch(text):
        return int(text)
    try:
        when = dt.datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
    except ValueError as error:
        raise _invalid(name, text) from error
    if when.tzinfo is None:
        raise _invalid(name, text)
    return int(when.timestamp() * 1000)


def _invalid(name: str, text: str) -> UsageError:
    return UsageError(
        f"“{text[:40]}”, which “{name}” has, is no point in time.",
        hint="Write UTC milliseconds, or a time with its offset like 2026-03-01T00:00:00Z.",
        code="time_invalid",
    )
