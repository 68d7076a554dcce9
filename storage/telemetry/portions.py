"""Readings of one metric after another as columns, in portions of bounded size: what an export is made of.

The width of a portion in time follows how dense the readings are, so neither a metric with a value a day nor one with a hundred a
second costs many questions or much memory. Each portion is a question of its own and sees the latest commit; a
transaction for the whole export would keep the store from clearing its write-ahead log. Must not know what a thread is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from appliance.core.arrays import F64, I64, U8
from appliance.core.limits import EXPORT_PORTION_ROWS_MAX
from storage.telemetry.answers import find_series, select_rows
from storage.telemetry.batch import DAY_MS
from storage.telemetry.database import run
from storage.telemetry.plan import Asked, AskedSeries
from storage.telemetry.sources import read_sources

Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class ReadingColumns:
    """n readings of one metric, ascending in time.

    Attributes:
        at_ms: Of the device's clock, UTC ms. kind: ValueKind of each. number: 0 where it is a text.
        text: "" where it is a number or a boolean.
    """

    device: str
    metric: str
    at_ms: I64
    kind: U8
    number: F64
    text: Any
    quality: U8

    def __len__(self) -> int:
        return len(self.at_ms)


def names_of(connection: Connection, devices: Sequence[str], metrics: Sequence[str]) -> list[tuple[str, str]]:
    """(device, metric) of everything that these devices have, sorted; empty `metrics` means all of them."""
    found = run(
        connection,
        "SELECT DISTINCT device, metric FROM series WHERE device IN (SELECT unnest($devices))"
        " AND (len($metrics) = 0 OR metric IN (SELECT unnest($metrics))) ORDER BY device, metric",
        {"devices": list(devices), "metrics": list(metrics)},
    )
    return [(device, metric) for device, metric in found]


class Portions:
    """The portions of one metric's readings with from_ms <= observed_at < to_ms. Ask `next` until it is done."""

    def __init__(self, device: str, metric: str, from_ms: int, to_ms: int) -> None:
        self._name = (device, metric)
        self._at_ms = from_ms
        self._to_ms = to_ms
        self._width_ms = DAY_MS

    @property
    def is_done(self) -> bool:
        return self._at_ms >= self._to_ms

    def next(self, connection: Connection, archive: Path) -> ReadingColumns | None:
        """The next portion, at most EXPORT_PORTION_ROWS_MAX rows; None where there was none in its time, or too many."""
        end_ms = min(self._at_ms + self._width_ms, self._to_ms)
        series = find_series(connection, [self._name])
        columns = _rows_within(connection, archive, series, self._at_ms, end_ms, self._width_ms > 1)
        count = len(columns["observed_at"]) if columns else 0
        if count > EXPORT_PORTION_ROWS_MAX and self._width_ms > 1:
            self._width_ms = max(1, self._width_ms // 8)
            return None
        if count < EXPORT_PORTION_ROWS_MAX // 4:
            self._width_ms *= 4
        self._at_ms = end_ms
        if not columns or not count:
            return None
        return ReadingColumns(
            *self._name,
            columns["observed_at"],
            columns["kind"],
            columns["num"],
            columns["text"],
            columns["quality"],
        )


def _rows_within(
    connection: Connection,
    archive: Path,
    series: Sequence[AskedSeries],
    from_ms: int,
    to_ms: int,
    is_limited: bool,
) -> dict[str, Any]:
    asked = Asked(series)
    sources = read_sources(connection, archive, from_ms, to_ms)
    asked.join_on(connection)
    for rows in select_rows(asked, sources, from_ms, to_ms):
        limit = f" LIMIT {EXPORT_PORTION_ROWS_MAX + 1}" if is_limited else ""
        # Cut before it is sorted: of too many rows nothing is used.
        sql = f"FROM (FROM ({rows}) p{limit}) ORDER BY observed_at, kind, num, text, quality"
        return connection.execute(sql, asked.parameters or None).fetchnumpy()
    return {}
