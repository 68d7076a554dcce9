"""The readings of a day as SQL: from the store's tables, from Parquet files, and the class of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import duckdb

from appliance.management.retention import Retention, like_pattern
from storage.telemetry.schema import value_of

COLUMNS: Final = "device, metric, kind, observed_at, num, text, quality"
"""Of an archive's file, in this order."""
ROW_HASH: Final = f"hash({COLUMNS})::HUGEINT"
CONTENT_HASH: Final = f"duckdb {duckdb.__version__}"
"""DuckDB may hash otherwise in another version."""


def quoted(text: str) -> str:
    """A text as an SQL literal. COPY and views take no parameters."""
    return "'" + text.replace("'", "''") + "'"


def parquet(paths: Sequence[Path]) -> str:
    """Rows of Parquet files, at least one, as a SELECT of COLUMNS."""
    listed = ", ".join(quoted(str(path)) for path in paths)
    return f"SELECT {COLUMNS} FROM read_parquet([{listed}])"  # noqa: S608 - the archive's own names


def hot(table: str, where: str) -> str:
    """Rows of a table of readings as a SELECT of COLUMNS.

    Args:
        table: From day_table. where: About `r`.
    """
    values = "r.num, NULL::VARCHAR AS text" if value_of(table) == "num" else "NULL::DOUBLE AS num, r.text"
    return (
        f"SELECT s.device, s.metric, s.kind, r.observed_at, {values}, r.quality"  # noqa: S608
        f" FROM {table} r JOIN series s ON s.id = r.series WHERE {where}"
    )


def class_sql(retention: Retention) -> str:
    """The id of the class that `metric` is of, as an expression."""
    cases = "".join(
        f" WHEN metric LIKE {quoted(like_pattern(each.metric))} ESCAPE '\\' THEN {quoted(each.class_id)}"
        for each in retention.classes
    )
    default = quoted(retention.default.class_id)
    return f"CASE{cases} ELSE {default} END" if cases else default
