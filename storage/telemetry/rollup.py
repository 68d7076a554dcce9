"""Rollups as SQL: what one row of them says, and the statements that make them from rows, or from finer ones.

A row sums up the readings of one series in one minute, hour or day: (series, begins_at, count, sum, low, high, first, first_at,
last, last_at), text and bad quality left out. Several rows of one series and time are parts of it: counts and sums are
added up, the rest compared. So readings that come late are one more part, and nothing is ever corrected.

Every column but `sum` depends on the set of readings alone, not on their order or how they were cut into parts: of two
readings at one time the lower counts as the first, the higher as the last. `sum` is the same up to rounding.
"""

from __future__ import annotations

from typing import Final

from appliance.management.readings import Quality
from storage.telemetry.batch import DAY_MS
from storage.telemetry.schema import suffix_of

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
HOURS: Final = "rollup_1h"
DAYS: Final = "rollup_1d"
COARSE: Final = ((HOURS, HOUR_MS), (DAYS, DAY_MS))
"""The levels that have one table for all days, and the width of their intervals."""
BAD: Final = int(Quality.BAD)
MERGED: Final = (
    "sum(count)::UBIGINT AS count, sum(sum) AS sum, min(low) AS low, max(high) AS high, arg_min(first, (first_at, first)) AS first,"
    " min(first_at) AS first_at, arg_max(last, (last_at, last)) AS last, max(last_at) AS last_at"
)
"""The columns behind series and begins_at, of parts that are added up."""


def minutes_of(table: str) -> str:
    """The table of minutes that belongs to a table of numbers."""
    return f"rollup_1m_{suffix_of(table)}"


def numbers_of(minutes: str) -> str:
    """The table of numbers that a table of minutes belongs to."""
    return f"readings_{suffix_of(minutes)}"


def roll_rows(source: str, width_ms: int) -> str:
    """A SELECT of rollups of the rows of `source`.

    Args:
        source: A relation with series, observed_at, num and quality: no text from outside.
        width_ms: Of an interval.
    """
    # arg_min takes any of two values at one time, so those are looked for among the intervals with several readings. By (time, value)
    # it would take none, but 43 ms of CPU for 500,000 rows in 25,000 intervals, where this takes 31, and 79 for 125,000 with one each: 58.
    return (
        f"WITH part AS (SELECT series, observed_at, num FROM {source} WHERE quality <> {BAD}),"  # noqa: S608
        f" summed AS MATERIALIZED (SELECT series, observed_at // {width_ms} * {width_ms} AS begins_at, count(*)::UBIGINT AS count,"
        " sum(num) AS sum, min(num) AS low, max(num) AS high, arg_min(num, observed_at) AS first, min(observed_at) AS first_at,"
        " arg_max(num, observed_at) AS last, max(observed_at) AS last_at FROM part GROUP BY ALL),"
        " ends AS (SELECT series, first_at AS observed_at FROM summed WHERE count > 1"
        " UNION ALL SELECT series, last_at FROM summed WHERE count > 1),"
        " ties AS MATERIALIZED (SELECT series, observed_at, min(num) AS low, max(num) AS high"
        " FROM part SEMI JOIN ends USING (series, observed_at) GROUP BY ALL HAVING count(*) > 1)"
        " SELECT s.series, s.begins_at, s.count, s.sum, s.low, s.high, coalesce(f.low, s.first) AS first, s.first_at,"
        " coalesce(l.high, s.last) AS last, s.last_at FROM summed s"
        " LEFT JOIN ties f ON f.series = s.series AND f.observed_at = s.first_at"
        " LEFT JOIN ties l ON l.series = s.series AND l.observed_at = s.last_at"
    )


def roll_parts(source: str, width_ms: int) -> str:
    """A SELECT of rollups of the rollups in `source`, of intervals that `width_ms` is a multiple of."""
    return f"SELECT p.series, p.begins_at // {width_ms} * {width_ms} AS begins_at, {MERGED} FROM {source} p GROUP BY p.series, p.begins_at // {width_ms}"  # noqa: S608


def behind(table: str, low: int, top: int | None = None) -> str:
    """The rows of a table from one rowid on, as a relation. `top`: only those before."""
    # As a constant: only that is pushed down into the scan, and whole row groups are skipped (0.7 ms for the last 125,000 of 5 M).
    until = "" if top is None else f" AND rowid < {top}"
    return f"(FROM {table} WHERE rowid >= {low}{until})"


def insert_coarse(hours: str) -> list[str]:
    """The statements that add a SELECT of hours to the hours, and what it makes to the days."""
    return [
        f"CREATE OR REPLACE TEMP TABLE made AS {hours}",
        f"INSERT INTO {HOURS} FROM made ORDER BY series, begins_at",
        f"INSERT INTO {DAYS} {roll_parts('made', DAY_MS)} ORDER BY series, begins_at",
        "DROP TABLE made",
    ]
