"""The tables that a question in SQL sees: views over the store's tables, and nothing else.

They are in the database in memory to which the store's file is attached, so nothing of them is in the file and a release may
change them freely. Temporary ones would stand before the store's own tables also within the store's views: a temporary
`series` is what `v_readings` then joins with. All times are UTC timestamps without a zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import duckdb

from appliance.management.readings import Quality, ValueKind
from storage.telemetry.database import STORE_SCHEMA, run
from storage.telemetry.rollup import DAYS, HOURS, MERGED

_KIND: Final = (
    "CASE {0} " + " ".join(f"WHEN {kind.value} THEN '{kind.name.lower()}'" for kind in ValueKind) + " END"
)
_QUALITY: Final = (
    "CASE {0} " + " ".join(f"WHEN {each.value} THEN '{each.name.lower()}'" for each in Quality) + " END"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlTable:
    """A table that may be asked for.

    Attributes:
        columns: Name, DuckDB's type and what it is.
        needs: Tables of the store that must be there.
    """

    name: str
    about: str
    columns: tuple[tuple[str, str, str], ...]
    select: str


_DEVICE: Final = ("device", "VARCHAR", "the device's id")
_METRIC: Final = ("metric", "VARCHAR", "the metric's name")
_KIND_COLUMN: Final = ("kind", "VARCHAR", f"{', '.join(kind.name.lower() for kind in ValueKind)}")
_VALUES: Final = (
    ("observed_at", "TIMESTAMP", "when it was observed, UTC"),
    ("value", "DOUBLE", "of numbers; booleans are 1 and 0"),
    ("text", "VARCHAR", "of texts"),
    ("quality", "VARCHAR", f"{', '.join(each.name.lower() for each in Quality)}"),
)


def _rollup(name: str, about: str) -> SqlTable:
    """Hours or days: parts of an interval added up, with names."""
    return SqlTable(
        name=name,
        about=about,
        columns=(
            _DEVICE,
            _METRIC,
            ("begins_at", "TIMESTAMP", "the beginning of the interval, UTC"),
            ("count", "UBIGINT", "how many readings"),
            ("mean", "DOUBLE", "of booleans: the share of true"),
            ("low", "DOUBLE", "the lowest"),
            ("high", "DOUBLE", "the highest"),
            ("first", "DOUBLE", "the earliest"),
            ("last", "DOUBLE", "the latest"),
        ),
        select="SELECT s.device, s.metric, epoch_ms(r.begins_at) AS begins_at, r.count, r.sum / r.count AS mean, r.low, r.high,"  # noqa: S608
        f" r.first, r.last FROM (SELECT series, begins_at, {MERGED} FROM {STORE_SCHEMA}.main.{name} GROUP BY series, begins_at)"
        " r(series, begins_at, count, sum, low, high, first, first_at, last, last_at)"
        f" JOIN {STORE_SCHEMA}.main.series s ON s.id = r.series",
    )


TABLES: Final = (
    SqlTable(
        name="readings",
        about="Every reading.",
        columns=(_DEVICE, _METRIC, *_VALUES, _KIND_COLUMN),
        select=f"SELECT device, metric, epoch_ms(observed_at) AS observed_at, num AS value, text, {_QUALITY.format('quality')} AS quality,"  # noqa: S608
        f" {_KIND.format('kind')} AS kind FROM {STORE_SCHEMA}.main.v_readings",
    ),
    SqlTable(
        name="newest",
        about="The newest reading of each series, as of some seconds ago.",
        columns=(
            _DEVICE,
            _METRIC,
            *_VALUES,
            ("received_at", "TIMESTAMP", "when it arrived, UTC"),
            _KIND_COLUMN,
        ),
        select="SELECT s.device, s.metric, epoch_ms(n.observed_at) AS observed_at, n.num AS value, n.text,"  # noqa: S608
        f" {_QUALITY.format('n.quality')} AS quality, epoch_ms(n.received_at) AS received_at, {_KIND.format('s.kind')} AS kind"
        f" FROM {STORE_SCHEMA}.main.newest n JOIN {STORE_SCHEMA}.main.series s ON s.id = n.series",
    ),
    _rollup(
        HOURS, "Numbers and booleans by the hour, bad quality left out; the last hour or so is not in it yet."
    ),
    _rollup(DAYS, "The same by the day."),
    SqlTable(
        name="series",
        about="Which metrics each device ever sent.",
        columns=(_DEVICE, _METRIC, _KIND_COLUMN),
        select=f"SELECT device, metric, {_KIND.format('kind')} AS kind FROM {STORE_SCHEMA}.main.series",  # noqa: S608
    ),
)
TABLE_NAMES: Final = frozenset(table.name for table in TABLES)
EXAMPLES: Final[tuple[tuple[str, str], ...]] = (
    (
        "Means by the hour, today",
        "SELECT time_bucket(INTERVAL 1 HOUR, observed_at) AS hour, metric, avg(value) AS mean, count(*) AS readings\n"
        "FROM readings\nWHERE observed_at >= current_date AND kind = 'number'\nGROUP BY hour, metric\nORDER BY hour, metric",
    ),
    (
        "The ten highest of the week",
        "SELECT device, metric, max(value) AS highest, arg_max(observed_at, value) AS at\nFROM readings\n"
        "WHERE observed_at >= now() - INTERVAL 7 DAYS\nGROUP BY device, metric\nORDER BY highest DESC\nLIMIT 10",
    ),
    (
        "Days of a quarter",
        "SELECT begins_at AS day, metric, sum(count) AS readings, sum(mean * count) / sum(count) AS mean,\n"
        "       min(low) AS lowest, max(high) AS highest\nFROM rollup_1d\n"
        "WHERE begins_at >= now() - INTERVAL 90 DAYS\nGROUP BY day, metric\nORDER BY day, metric",
    ),
    (
        "Quantiles of each metric",
        "SELECT metric, quantile_cont(value, [0.05, 0.5, 0.95]) AS quantiles, count(*) AS readings\nFROM readings\n"
        "WHERE observed_at >= now() - INTERVAL 1 DAY AND kind = 'number'\nGROUP BY metric\nORDER BY metric",
    ),
    (
        "Steps between readings",
        "SELECT device, metric, observed_at, value,\n"
        "       value - lag(value) OVER (PARTITION BY device, metric ORDER BY observed_at) AS step\nFROM readings\n"
        "WHERE observed_at >= now() - INTERVAL 1 HOUR AND kind = 'number'\nORDER BY abs(step) DESC NULLS LAST\nLIMIT 20",
    ),
    (
        "Silent for an hour",
        "SELECT device, max(received_at) AS last_reading\nFROM newest\nGROUP BY device\n"
        "HAVING max(received_at) < now() - INTERVAL 1 HOUR\nORDER BY last_reading",
    ),
)
"""Questions to begin with, with what they answer; a test asks each of them."""


def make_views(connection: duckdb.DuckDBPyConnection) -> None:
    """See that the views are there, and take the store's own tables out of a connection's sight.

    A name without a database then means a view: what the check let through by mistake is not found. `now()` is UTC without a
    zone, like every other time here.
    """
    for table in TABLES:
        run(connection, f"CREATE VIEW IF NOT EXISTS memory.main.{table.name} AS {table.select}")
    run(
        connection,
        "CREATE MACRO IF NOT EXISTS memory.main.now() AS (get_current_timestamp() AT TIME ZONE 'UTC')",
    )
    run(connection, "USE memory")
