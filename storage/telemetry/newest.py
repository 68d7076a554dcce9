"""The newest reading of every series: the table, and over it what the last commits have not folded into it yet (journal.py)."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from storage.telemetry.arrow import ArrowTable
from storage.telemetry.batch import NewestRows
from storage.telemetry.database import run
from storage.telemetry.journal import Unfolded, decode_state

Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class NewestColumns:
    """The newest reading of n series, ordered by device, metric, kind. numbers is 0, texts "" where the kind is the other."""

    device: list[str]
    metric: list[str]
    kind: list[int]
    number: list[float]
    text: list[str]
    quality: list[int]
    observed_at_ms: list[int]
    received_at_ms: list[int]


def newest_of_all(connection: Connection) -> NewestColumns:
    """The newest reading of each series, as of the last commit."""
    unfolded = Unfolded()
    for (state,) in run(connection, "SELECT state FROM commits WHERE state <> ''::BLOB ORDER BY number"):
        unfolded.add(decode_state(state))
    parts = ["SELECT series, observed_at, received_at, quality, num, text, 0 AS number FROM newest"]
    newer = (*unfolded.newest_numbers, *unfolded.newest_texts)
    for number, rows in enumerate(newer, start=1):
        connection.register(f"newer_{number}", _table(rows))
        value = "value, NULL" if len(rows.numbers) else "NULL, value"
        parts.append(
            f"SELECT series, observed_at, received_at, quality, {value}, {number} FROM newer_{number}"  # noqa: S608
        )
    # Of two at one time the later commit's: so the state in memory has it too.
    last = "(observed_at, number)"
    columns = connection.execute(
        f"WITH newer AS (SELECT series, max(observed_at) AS observed_at, arg_max(received_at, {last}) AS received_at,"  # noqa: S608
        f" arg_max(quality, {last}) AS quality, arg_max(coalesce(num, 0), {last}) AS num, arg_max(coalesce(text, ''), {last}) AS text"
        f" FROM ({' UNION ALL '.join(parts)}) GROUP BY series)"
        " SELECT s.device, s.metric, s.kind, n.num, n.text, n.quality, n.observed_at, n.received_at FROM newer n"
        " JOIN series s ON s.id = n.series ORDER BY s.device, s.metric, s.kind"
    ).fetchnumpy()
    names = ("device", "metric", "kind", "num", "text", "quality", "observed_at", "received_at")
    return NewestColumns(*(columns[name].tolist() for name in names))


def _table(rows: NewestRows) -> ArrowTable:
    table = ArrowTable(len(rows))
    table.add("series", "u32", rows.series).add("observed_at", "i64", rows.observed)
    table.add("received_at", "i64", rows.received).add("quality", "u8", rows.quality)
    if len(rows.numbers):
        return table.add("value", "f64", rows.numbers)
    return table.add_texts("value", rows.texts)
