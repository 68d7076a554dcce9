"""Answers to questions about values: series of many devices in one statement, the top of a site, the newest of all.

Each is asked within one transaction of its own connection, which sees tables, progress and readings at one commit. Values
come back as columns. Must not know who asks, or what a thread is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np

from appliance.management.readings import Scalar, ValueKind
from storage.telemetry.database import run
from storage.telemetry.plan import SOURCES, Asked, AskedSeries, Source, part_scans, row_scans, text_scans
from storage.telemetry.rollup import HOUR_MS, MINUTE_MS
from storage.telemetry.sources import Sources, read_sources

Connection = duckdb.DuckDBPyConnection

AGGREGATIONS: Final = ("raw", "mean", "min", "max", "count", "band", "first", "last", "sum")
"""`band` is the mean with the lowest and highest value of each interval."""
_VALUES: Final = {
    "mean": "sum(sum) / sum(count)",
    "band": "sum(sum) / sum(count)",
    "min": "min(low)",
    "max": "max(high)",
    "count": "sum(count)::BIGINT",
    "sum": "sum(sum)",
    "first": "arg_min(first, (first_at, first))",
    "last": "arg_max(last, (last_at, last))",
}
"""What adds parts up: several of them never add up to anything else than one would."""


@dataclass(slots=True)
class SeriesData:
    """One metric's values, ascending in time.

    Attributes:
        at_ms: UTC ms; the beginning of each interval where values were aggregated. One without a reading is not there.
        value: One per time. min, max: For `band` only, else empty. quality: For `raw` only.
        count: Readings of each interval; empty for `raw`.
        truncated: There were more than `limit`; the earliest are here.
        interval_ms: The width of an interval, None for `raw`.
        sources: What was read for the whole answer, the coarsest first.
    """

    metric: str
    at_ms: list[int] = field(default_factory=list)
    value: list[Scalar | None] = field(default_factory=list)
    min: list[float] = field(default_factory=list)
    max: list[float] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    truncated: bool = False
    interval_ms: int | None = None
    device: str = ""
    count: list[int] = field(default_factory=list)
    sources: tuple[Source, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class TopEntry:
    """One of the highest or lowest of a site. value: By the aggregation that was asked for."""

    device: str
    metric: str
    value: float
    count: int


def fitting_interval_ms(from_ms: int, to_ms: int, points: int) -> int:
    """The width of an interval so that a range has at most so many; where that costs little, one that rollups answer for."""
    needed = -(-(to_ms - from_ms) // points)
    for level_ms, from_width_ms in ((HOUR_MS, HOUR_MS), (MINUTE_MS, MINUTE_MS // 2)):
        if needed >= from_width_ms:
            return -(-needed // level_ms) * level_ms
    return needed


def find_series(connection: Connection, asked: Sequence[tuple[str, str]]) -> list[AskedSeries]:
    """The series of each (device, metric), numbered by their place; none where there is no such metric."""
    places = {name: slot for slot, name in enumerate(asked)}
    devices = sorted({device for device, _ in asked})
    # One question for each device, not for each series; a device has few metrics.
    rows = run(
        connection,
        "SELECT id, device, metric, kind FROM series WHERE device IN (SELECT unnest($devices)) ORDER BY id",
        {"devices": devices},
    )
    return [
        AskedSeries(places[device, metric], number, device, metric, ValueKind(kind))
        for number, device, metric, kind in rows
        if (device, metric) in places
    ]


def aggregated(
    connection: Connection,
    archive: Path,
    names: Sequence[tuple[str, str]],
    from_ms: int,
    to_ms: int,
    aggregation: str,
    interval_ms: int,
    limit: int,
) -> list[SeriesData]:
    """Values of (device, metric) by the interval, at most `limit` of each."""
    answers = [SeriesData(metric, interval_ms=interval_ms, device=device) for device, metric in names]
    asked = Asked(
        [
            series
            for series in find_series(connection, names)
            if series.kind is not ValueKind.TEXT or aggregation == "count"
        ]
    )
    sources = read_sources(connection, archive, from_ms, to_ms)
    scans = part_scans(connection, sources, from_ms, to_ms, interval_ms) if asked.has(text=False) else []
    if asked.has(text=True):
        scans += text_scans(sources, from_ms, to_ms)
    by_scan = [(scan.source, asked.select(scan)) for scan in scans]
    selects = [sql for _, found in by_scan for sql in found]
    _tell_sources(answers, [source for source, found in by_scan if found])
    if not selects:
        return answers
    cut = f" QUALIFY row_number() OVER (PARTITION BY slot ORDER BY begins_at) <= {limit + 1}"
    if (to_ms - 1) // interval_ms - from_ms // interval_ms < limit:
        cut = ""
    band = ", min(low) AS low, max(high) AS high" if aggregation == "band" else ""
    asked.join_on(connection)
    columns = connection.execute(
        f"SELECT slot, at_ms // {interval_ms} * {interval_ms} AS begins_at, {_VALUES[aggregation]} AS value,"  # noqa: S608
        f" sum(count)::BIGINT AS count{band} FROM ({' UNION ALL '.join(selects)}) p GROUP BY slot, begins_at"
        f"{cut} ORDER BY slot, begins_at",
        asked.parameters or None,
    ).fetchnumpy()
    for slot, low, top, is_cut in _portions(columns["slot"], limit):
        answer = answers[slot]
        answer.at_ms = columns["begins_at"][low:top].tolist()
        answer.value = columns["value"][low:top].tolist()
        answer.count = columns["count"][low:top].tolist()
        if band:
            answer.min = columns["low"][low:top].tolist()
            answer.max = columns["high"][low:top].tolist()
        answer.truncated = is_cut
    return answers


def _tell_sources(answers: Sequence[SeriesData], read: Sequence[Source]) -> None:
    told = tuple(source for source in SOURCES if source in read)
    for answer in answers:
        answer.sources = told


def raw(
    connection: Connection,
    archive: Path,
    names: Sequence[tuple[str, str]],
    from_ms: int,
    to_ms: int,
    limit: int,
) -> list[SeriesData]:
    """Readings of (device, metric) as they are, at most `limit` of each."""
    answers = [SeriesData(metric, device=device) for device, metric in names]
    series = find_series(connection, names)
    sources = read_sources(connection, archive, from_ms, to_ms)
    has: dict[Source, bool] = {
        "readings": bool(sources.numbers or sources.texts),
        "archive": bool(sources.files),
    }
    _tell_sources(answers, [source for source, is_read in has.items() if is_read])
    # A tie of time is broken by the value, so that an answer does not depend on the order of arrival.
    order = "observed_at, kind, num, text, quality"
    together = Asked(series)
    if together.is_joined:
        cut = f"QUALIFY row_number() OVER (PARTITION BY slot ORDER BY {order}) <= {limit + 1}"
        selects = [f"FROM ({rows}) p {cut}" for rows in select_rows(together, sources, from_ms, to_ms)]
        together.join_on(connection)
    else:
        selects = []
        for slot in sorted({one.slot for one in series}):
            asked = Asked([one for one in series if one.slot == slot], together.parameters)
            selects += [
                f"FROM (FROM ({rows}) p ORDER BY {order} LIMIT {limit + 1})"
                for rows in select_rows(asked, sources, from_ms, to_ms)
            ]
    if not selects:
        return answers
    columns = connection.execute(
        f"FROM ({' UNION ALL '.join(selects)}) ORDER BY slot, {order}",
        together.parameters or None,
    ).fetchnumpy()
    for slot, low, top, is_cut in _portions(columns["slot"], limit):
        answer = answers[slot]
        answer.at_ms = columns["observed_at"][low:top].tolist()
        answer.quality = columns["quality"][low:top].tolist()
        answer.value = scalars(columns, low, top)
        answer.truncated = is_cut
    return answers


def select_rows(asked: Asked, sources: Sources, from_ms: int, to_ms: int) -> list[str]:
    """All rows of the asked series as one SELECT; none where nothing may have any."""
    selects = [
        sql
        for text in (False, True)
        if asked.has(text=text)
        for scan in row_scans(sources, from_ms, to_ms, text=text)
        for sql in asked.select(scan)
    ]
    return [" UNION ALL ".join(selects)] if selects else []


def scalars(columns: dict[str, Any], low: int, top: int) -> list[Scalar | None]:
    """The values of some rows of (kind, num, text), each in its own type."""
    kinds = columns["kind"][low:top]
    values: list[Scalar | None] = columns["num"][low:top].tolist()
    for at in np.flatnonzero(kinds == int(ValueKind.BOOLEAN)).tolist():
        values[at] = values[at] != 0
    texts = columns["text"][low:top]
    for at in np.flatnonzero(kinds == int(ValueKind.TEXT)).tolist():
        values[at] = texts[at]
    return values


def _portions(slots: Any, limit: int) -> list[tuple[int, int, int, bool]]:
    """Where each slot's rows lie: (slot, first, end, whether there were more than `limit`)."""
    found, firsts, counts = np.unique(slots, return_index=True, return_counts=True)
    return [
        (int(slot), int(first), int(first + min(count, limit)), bool(count > limit))
        for slot, first, count in zip(found, firsts, counts, strict=True)
    ]


def top(
    connection: Connection,
    archive: Path,
    metrics: str,
    from_ms: int,
    to_ms: int,
    aggregation: str,
    count: int,
    *,
    lowest: bool = False,
    devices: Sequence[str] | None = None,
) -> list[TopEntry]:
    """The series of all devices with the highest value over a range, the highest first; those without a reading are left out.

    Args:
        metrics: A name, or a glob of names (`*`, `?`, `[…]`).
        devices: Only these; None for all.
    """
    rows = run(
        connection,
        "SELECT id, device, metric, kind FROM series WHERE metric GLOB $glob AND kind <> $text"
        " AND ($devices IS NULL OR list_contains($devices, device)) ORDER BY device, metric",
        {
            "glob": metrics,
            "text": int(ValueKind.TEXT),
            "devices": devices if devices is None else list(devices),
        },
    )
    slots: dict[tuple[str, str], int] = {}
    series = [
        AskedSeries(slots.setdefault((device, metric), len(slots)), number, device, metric, ValueKind(kind))
        for number, device, metric, kind in rows
    ]
    asked, sources = Asked(series), read_sources(connection, archive, from_ms, to_ms)
    scans = part_scans(connection, sources, from_ms, to_ms, None)
    selects = [sql for scan in scans for sql in asked.select(scan)]
    if not selects:
        return []
    asked.join_on(connection)
    names = list(slots)
    found = run(
        connection,
        f"SELECT slot, {_VALUES[aggregation]} AS value, sum(count)::BIGINT FROM ({' UNION ALL '.join(selects)}) p"  # noqa: S608
        f" GROUP BY slot ORDER BY value {'ASC' if lowest else 'DESC'}, slot LIMIT {count}",
        asked.parameters or None,
    )
    return [TopEntry(names[slot][0], names[slot][1], value, readings) for slot, value, readings in found]
