"""Which tables answer a question: the coarsest rollups that fit, and whatever these don't have yet.

Theory of operation. A question sums up [from, to) in intervals. The widest level of which the interval is a multiple answers for
the part of the range between its own borders; what sticks out on both sides goes to the next finer one, and at last to the rows
themselves. A level's tables lack what is not rolled up: those rows of the finer levels are added, by where they begin
(rolled.py). Everything comes as parts with the same columns, to be added up. So an answer is exact as of the transaction that
it is asked in, whenever rolling up last ran.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import duckdb

from appliance.management.readings import ValueKind
from storage.telemetry.arrow import ArrowTable
from storage.telemetry.rollup import BAD, COARSE, MINUTE_MS
from storage.telemetry.sources import ArchiveFile, Sources, parquet

Connection = duckdb.DuckDBPyConnection

PARTS: Final = "at_ms, count, sum, low, high, first, first_at, last, last_at"
_ROW: Final = (
    "observed_at AS at_ms, 1::UBIGINT AS count, num AS sum, num AS low, num AS high, num AS first,"
    " observed_at AS first_at, num AS last, observed_at AS last_at"
)
_TEXT: Final = (
    "observed_at AS at_ms, 1::UBIGINT AS count, 0.0 AS sum, 0.0 AS low, 0.0 AS high, 0.0 AS first,"
    " observed_at AS first_at, 0.0 AS last, observed_at AS last_at"
)
_ROLLUP: Final = f"begins_at AS {PARTS}"
_LEVELS: Final = (*((table, width) for table, width in reversed(COARSE)), ("", MINUTE_MS))
"""The widest first; minutes have a table for each day."""

Source = Literal["days", "hours", "minutes", "readings", "archive"]
SOURCES: Final[tuple[Source, ...]] = get_args(Source)
_SOURCES: Final[dict[str, Source]] = {"rollup_1d": "days", "rollup_1h": "hours", "rollup_1m": "minutes"}
"""By the beginning of a table's name."""
ONE_BY_ONE_MAX: Final = 24
"""Series that are asked for by their ids, which lets row groups be skipped; more are joined."""
RUN_GAP_MAX: Final = 4
"""Between ids that one scan is for: five metrics of a device took 4.3 ms in five scans, most of it planning, and 1.5 in one."""


@dataclass(frozen=True, slots=True)
class AskedSeries:
    """A series, and the number of the answer that its readings belong to: those of a metric that changed its kind share one."""

    slot: int
    id: int
    device: str
    metric: str
    kind: ValueKind


@dataclass(frozen=True, slots=True)
class Scan:
    """A SELECT of some columns of one relation, for all asked series, by time and rowid.

    Attributes:
        columns: What is selected; the slot comes before. clock: The column of time.
        from_rowid: Only rows from there on; None for all.
    """

    relation: str
    columns: str
    clock: str
    from_ms: int
    to_ms: int
    from_rowid: int | None = None
    is_text: bool = False
    condition: str = ""
    files: tuple[ArchiveFile, ...] = ()

    @property
    def source(self) -> Source:
        """What it reads, as one tells people."""
        if self.files:
            return "archive"
        return next(
            (source for prefix, source in _SOURCES.items() if self.relation.startswith(prefix)), "readings"
        )


@dataclass(slots=True)
class Asked:
    """The series of one question, and how they are named in its SQL.

    `join_on` before the statement is executed: more than ONE_BY_ONE_MAX series become a relation `asked` of that connection.
    """

    series: Sequence[AskedSeries]
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def is_joined(self) -> bool:
        return len(self.series) > ONE_BY_ONE_MAX

    def join_on(self, connection: Connection) -> None:
        if not self.is_joined:
            return
        table = ArrowTable(len(self.series))
        table.add("slot", "u32", array("I", (s.slot for s in self.series)))
        table.add("series", "u32", array("I", (s.id for s in self.series)))
        table.add_texts("device", [s.device for s in self.series])
        table.add_texts("metric", [s.metric for s in self.series])
        table.add("kind", "u8", bytes(s.kind for s in self.series))
        connection.register("asked", table)

    def select(self, scan: Scan) -> list[str]:
        """The scan as SELECTs of (slot, kind, and the scan's columns)."""
        where = f"{scan.clock} >= {scan.from_ms} AND {scan.clock} < {scan.to_ms}{scan.condition}"
        if scan.from_rowid is not None:
            where += f" AND rowid >= {scan.from_rowid}"
        if self.is_joined:
            using = "(device, metric, kind)" if scan.files else "(series)"
            return [
                f"SELECT a.slot, a.kind, {scan.columns} FROM {scan.relation} JOIN asked a USING {using} WHERE {where}"  # noqa: S608
            ]
        found = []
        wanted = [series for series in self.series if (series.kind is ValueKind.TEXT) == scan.is_text]
        if scan.files:
            named = [(series, self._named(series, scan.files)) for series in wanted]
            return [_select([series], scan, f"{which} AND {where}") for series, which in named if which]
        for run in _runs(wanted):
            which = f"series = {run[0].id}"
            if len(run) > 1:
                ids = ", ".join(str(series.id) for series in run)
                which = f"series >= {run[0].id} AND series <= {run[-1].id} AND series IN ({ids})"
            found.append(_select(run, scan, f"{which} AND {where}"))
        return found

    def _named(self, series: AskedSeries, files: Sequence[ArchiveFile]) -> str:
        if not any(file.first_device <= series.device <= file.last_device for file in files):
            return ""
        self.parameters[f"d{series.id}"], self.parameters[f"m{series.id}"] = series.device, series.metric
        return f"device = $d{series.id} AND metric = $m{series.id} AND kind = {int(series.kind)}"

    def has(self, *, text: bool) -> bool:
        return any((series.kind is ValueKind.TEXT) == text for series in self.series)


def _runs(series: Sequence[AskedSeries]) -> list[list[AskedSeries]]:
    """Series whose ids lie close together: a device's, mostly. They share row groups and are scanned at once."""
    runs: list[list[AskedSeries]] = []
    for one in sorted(series, key=lambda one: one.id):
        if runs and one.id - runs[-1][-1].id <= RUN_GAP_MAX:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _select(series: Sequence[AskedSeries], scan: Scan, where: str) -> str:
    """A SELECT of (slot, kind, and the scan's columns) of series that `where` finds."""
    names = [
        _by_series([(one.id, number) for one, number in zip(series, numbers, strict=True)])
        for numbers in ([one.slot for one in series], [int(one.kind) for one in series])
    ]
    return f"SELECT {names[0]}::UINTEGER AS slot, {names[1]}::UTINYINT AS kind, {scan.columns} FROM {scan.relation} WHERE {where}"  # noqa: S608


def _by_series(numbers: Sequence[tuple[int, int]]) -> str:
    if len({number for _, number in numbers}) == 1:
        return str(numbers[0][1])
    return f"CASE series {' '.join(f'WHEN {one} THEN {number}' for one, number in numbers)} END"


def part_scans(
    connection: Connection, sources: Sources, from_ms: int, to_ms: int, interval_ms: int | None
) -> list[Scan]:
    """What gives the parts of numbers with from_ms <= time < to_ms, for intervals of this width.

    Args:
        interval_ms: None for one that is the whole range.
    """
    levels = [level for level in _LEVELS if interval_ms is None or interval_ms % level[1] == 0]
    return _parts(connection, sources, from_ms, to_ms, levels)


def _parts(
    connection: Connection, sources: Sources, from_ms: int, to_ms: int, levels: Sequence[tuple[str, int]]
) -> list[Scan]:
    if from_ms >= to_ms:
        return []
    if not levels:
        return _row_parts(sources.within(from_ms, to_ms), from_ms, to_ms)
    (table, width_ms), finer = levels[0], levels[1:]
    first, end = -(-from_ms // width_ms) * width_ms, to_ms // width_ms * width_ms
    if first >= end:
        return _parts(connection, sources, from_ms, to_ms, finer)
    inner = sources.within(first, end)
    if table:
        found = [Scan(table, _ROLLUP, "begins_at", first, end)]
        found += _minutes_behind(connection, inner, first, end)
        files = [file for file in inner.files if not file.is_rolled]
    else:
        found = [Scan(name, _ROLLUP, "begins_at", first, end) for name in _filled(inner, inner.minutes)]
        files = list(inner.files)
        found += _rows_of_sparse_days(inner, first, end)
    found += _rows_behind(connection, inner, first, end, with_sparse=bool(table)) + _file_parts(
        files, first, end
    )
    return [
        *_parts(connection, sources, from_ms, first, finer),
        *found,
        *_parts(connection, sources, end, to_ms, finer),
    ]


def _minutes_behind(connection: Connection, sources: Sources, from_ms: int, to_ms: int) -> list[Scan]:
    firsts = {name: sources.tables.first_behind(connection, name) for name in sources.minutes}
    return [
        Scan(name, _ROLLUP, "begins_at", from_ms, to_ms, first)
        for name, first in firsts.items()
        if first is not None
    ]


def _rows_of_sparse_days(sources: Sources, from_ms: int, to_ms: int) -> list[Scan]:
    """Rows that are in no minutes although they are rolled up: their days have none (settling.py)."""
    condition = f" AND quality <> {BAD}"
    return [
        Scan(name, _ROW, "observed_at", from_ms, to_ms, condition=condition)
        for name in _filled(sources, sources.numbers)
        if sources.tables.is_sparse(name)
    ]


def _rows_behind(
    connection: Connection, sources: Sources, from_ms: int, to_ms: int, *, with_sparse: bool
) -> list[Scan]:
    firsts = {
        name: sources.tables.first_behind(connection, name)
        for name in sources.numbers
        if with_sparse or not sources.tables.is_sparse(name)
    }
    return [
        Scan(name, _ROW, "observed_at", from_ms, to_ms, first, condition=f" AND quality <> {BAD}")
        for name, first in firsts.items()
        if first is not None
    ]


def _row_parts(sources: Sources, from_ms: int, to_ms: int) -> list[Scan]:
    condition = f" AND quality <> {BAD}"
    rows = [
        Scan(name, _ROW, "observed_at", from_ms, to_ms, condition=condition)
        for name in _filled(sources, sources.numbers)
    ]
    return rows + _file_parts(list(sources.files), from_ms, to_ms)


def _file_parts(files: Sequence[ArchiveFile], from_ms: int, to_ms: int) -> list[Scan]:
    if not files:
        return []
    condition = f" AND quality <> {BAD} AND num IS NOT NULL"
    return [
        Scan(parquet(files), _ROW, "observed_at", from_ms, to_ms, condition=condition, files=tuple(files))
    ]


def text_scans(sources: Sources, from_ms: int, to_ms: int) -> list[Scan]:
    """What counts texts: they have no rollups."""
    condition = f" AND quality <> {BAD}"
    found = [
        Scan(name, _TEXT, "observed_at", from_ms, to_ms, is_text=True, condition=condition)
        for name in _filled(sources, sources.texts)
    ]
    if sources.files:
        condition += " AND text IS NOT NULL"
        files = tuple(sources.files)
        found.append(Scan(parquet(files), _TEXT, "observed_at", from_ms, to_ms, None, True, condition, files))
    return found


def row_scans(sources: Sources, from_ms: int, to_ms: int, *, text: bool) -> list[Scan]:
    """What gives the rows themselves, numbers or texts: (observed_at, num, text, quality)."""
    names = sources.texts if text else sources.numbers
    value = "0.0 AS num, text" if text else "num, '' AS text"
    chosen = f"observed_at, {value}, quality"
    found = [
        Scan(name, chosen, "observed_at", from_ms, to_ms, is_text=text) for name in _filled(sources, names)
    ]
    if sources.files:
        files, condition = tuple(sources.files), f" AND {'text' if text else 'num'} IS NOT NULL"
        found.append(
            Scan(parquet(files), chosen, "observed_at", from_ms, to_ms, None, text, condition, files)
        )
    return found


def _filled(sources: Sources, names: Sequence[str]) -> list[str]:
    return [name for name in names if sources.tables.sizes[name]]
