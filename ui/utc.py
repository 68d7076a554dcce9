"""Times as people and programs read them in UTC; those of a browser's own time zone are in ui/pages/format.py."""

from __future__ import annotations

import datetime as dt


def iso_utc(at_ms: int) -> str:
    """A time as ISO 8601 in UTC with milliseconds, such as 2026-03-01T00:00:00.000Z; any integer that SQLite holds."""
    try:
        when = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=at_ms)
    except OverflowError:
        return ""
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
