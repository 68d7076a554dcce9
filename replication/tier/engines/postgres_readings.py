"""Readings of all sites as rows in PostgreSQL, for SQL: what a gatherer uploads, each batch once.

    series      (id, site, device, metric, kind): as in the box's own store, a metric that changes its type gets a second one
    readings    numbers and booleans: (series, at, quality, value), a partition for each UTC day, BRIN over time and series
    texts       the same for texts
    positions   how far each stream of records was uploaded
    v_readings  all of them with names, for people

A batch moves its stream's position from `before` to `after` in the transaction that adds its rows, as the box's own store does, so a batch that
is sent twice, by whomever, is there once. Rows go through COPY as bytes that were made of columns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import trio
from psycopg import sql

from appliance.core.arrays import I64, U32
from appliance.core.errors import Conflict
from appliance.core.limits_replication import TIER_READINGS_PER_BATCH_MAX, TIER_SERIES_REMEMBERED_MAX
from appliance.management.readings import ValueKind
from replication.tier.engines.address import Address
from replication.tier.engines.copy_rows import number_rows, text_rows
from replication.tier.engines.credentials import Credentials
from replication.tier.engines.postgres import connection_of
from replication.tier.engines.postgres_readings_schema import (
    FIRST_DAY,
    TABLES,
    day_of_partition,
    make_partitions,
    make_readings_tables,
)
from replication.tier.engines.postgres_schema import prepare
from replication.tier.engines.postgres_sessions import Session, Sessions, sessions
from storage.replicas.streams import StreamId
from storage.telemetry.batch import DAY_MS, NumberRows, TextRows

_ROW_BYTES: Final = 42


class Position(NamedTuple):
    """How far a stream's records are in the table: of which epoch, and the first sequence that isn't."""

    epoch: int = 0
    next_seq: int = 0


class SeriesName(NamedTuple):
    """Whose values they are, and of what type."""

    device: str
    metric: str
    kind: ValueKind


@dataclass(slots=True, kw_only=True)
class ReadingsBatch:
    """Rows that some records of a stream gave.

    Attributes:
        site: Whose stream it is.
        before, after: From where to where its records go.
        series: The series of its rows, each once.
        numbers, texts: Rows, whose `series` is a place in `series`, times ms since 1970. TIER_READINGS_PER_BATCH_MAX together.
    """

    site: str
    stream: StreamId
    before: Position
    after: Position
    series: list[SeriesName]
    numbers: NumberRows = field(
        default_factory=lambda: NumberRows(
            np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.uint8)
        )
    )
    texts: TextRows = field(
        default_factory=lambda: TextRows(
            np.empty(0, np.uint32), np.empty(0, np.int64), [], np.empty(0, np.uint8)
        )
    )


class ReadingsElsewhere(Conflict):
    """A batch doesn't begin where the stream's rows end: somebody else uploads too, or the table was restored to an earlier time.

    Attributes:
        position: Where they end.
    """

    def __init__(self, position: Position) -> None:
        super().__init__(
            f"Readings go on from epoch {position.epoch}, sequence {position.next_seq}.",
            hint="The upload goes on from there by itself.",
            code="readings_elsewhere",
        )
        self.position = position


class PostgresReadings:
    """The tables of readings in one schema."""

    def __init__(self, connected: Sessions, schema: str) -> None:
        self._sessions, self._schema = connected, sql.Identifier(schema)
        self._ids: OrderedDict[tuple[str, SeriesName], int] = OrderedDict()
        self._days: set[date] = set()
        self._turn = trio.Lock()
        """Batches go one after another: what is remembered belongs to one of them at a time."""

    async def readings_position(self, stream: StreamId) -> Position:
        """How far a stream's readings are there.

        Raises:
            TierAway, TierUnfit: as of an engine.
        """
        return await self._sessions.run("list", partial(self._position, stream=stream, lock=False))

    async def put_readings(self, batch: ReadingsBatch) -> bool:
        """Add a batch's rows, and move its stream's position; durable when it returns.

        Returns:
            False where they were there already: the position is at `after` or beyond.
        Raises:
            ReadingsElsewhere: the position is neither there nor at `before`. TierAway, TierUnfit: as of an engine; after the first the rows may be
            there or not, and the same batch again is right.
        """
        count = len(batch.numbers) + len(batch.texts)
        assert count <= TIER_READINGS_PER_BATCH_MAX
        assert batch.before < batch.after
        wanted = _days_of(batch.numbers.observed) | _days_of(batch.texts.observed)
        is_done = False
        async with self._turn:
            try:
                # Before the transaction, and for itself: it locks the tables for those who make days at the same time.
                if missing := sorted(wanted - self._days):
                    await self._sessions.run(
                        "put", partial(make_partitions, schema=self._schema, days=missing)
                    )
                    self._days |= wanted
                is_new = await self._sessions.run(
                    "put", partial(self._put, batch), size_bytes=count * _ROW_BYTES
                )
                is_done = True
                return is_new
            finally:
                if not is_done:
                    # Somebody may have dropped a day; ids of a transaction that came to nothing are nobody's.
                    self._days.clear()
                    self._ids.clear()

    async def drop_before(self, first_day: date) -> list[date]:
        """Drop the days before one, and rows of before there were days. Gives the days that went.

        Raises:
            TierAway: somebody reads them for long; later is right. TierUnfit: as of an engine.
        """
        self._days.clear()
        return await self._sessions.run("remove", partial(self._drop_before, first_day=first_day))

    def _put(self, batch: ReadingsBatch, session: Session) -> bool:
        with session.transaction():
            position = self._position(session, stream=batch.stream, lock=True)
            if position >= batch.after:
                return False
            if position != batch.before:
                raise ReadingsElsewhere(position)
            ids = np.array(self._series_ids(session, batch.site, batch.series), np.uint32)
            for table, rows in (("readings", batch.numbers), ("texts", batch.texts)):
                if not len(rows):
                    continue
                series: U32 = ids[rows.series]
                # Rows of a series lie together, so that a block's lowest and highest series are near each other.
                order = np.lexsort((rows.observed, series))
                columns = (series[order], rows.observed[order], rows.quality[order])
                data = (
                    number_rows(*columns, rows.numbers[order])
                    if isinstance(rows, NumberRows)
                    else text_rows(*columns, [rows.texts[at] for at in order.tolist()])
                )
                copying = sql.SQL("COPY {}.{} (series, at, quality, value) FROM STDIN (FORMAT BINARY)")
                with (
                    session.cursor() as cursor,
                    cursor.copy(copying.format(self._schema, sql.Identifier(table))) as copy,
                ):
                    copy.write(data)
            session.execute(
                sql.SQL("UPDATE {}.positions SET epoch = %s, next_seq = %s WHERE stream = %s").format(
                    self._schema
                ),
                [*batch.after, str(batch.stream)],
            )
        return True

    def _position(self, session: Session, *, stream: StreamId, lock: bool) -> Position:
        if lock:
            session.execute(
                sql.SQL("INSERT INTO {}.positions VALUES (%s, 0, 0) ON CONFLICT DO NOTHING").format(
                    self._schema
                ),
                [str(stream)],
            )
        question = "SELECT epoch, next_seq FROM {}.positions WHERE stream = %s"
        row = session.execute(
            sql.SQL(f"{question} FOR UPDATE" if lock else question).format(self._schema), [str(stream)]
        ).fetchone()
        return Position(*row) if row else Position()

    def _series_ids(self, session: Session, site: str, names: list[SeriesName]) -> list[int]:
        unknown = [name for name in names if (site, name) not in self._ids]
        if unknown:
            columns = [list(column) for column in zip(*unknown, strict=True)]
            for statement in (
                "INSERT INTO {s}.series (site, device, metric, kind) SELECT %(site)s, u.* FROM"
                " unnest(%(device)s::text[], %(metric)s::text[], %(kind)s::smallint[]) u ORDER BY 2, 3, 4 ON CONFLICT DO NOTHING",
                "SELECT s.device, s.metric, s.kind, s.id FROM {s}.series s JOIN unnest(%(device)s::text[], %(metric)s::text[],"
                " %(kind)s::smallint[]) u (device, metric, kind) USING (device, metric, kind) WHERE s.site = %(site)s",
            ):
                found = session.execute(
                    sql.SQL(statement).format(s=self._schema),
                    {
                        "site": site,
                        "device": columns[0],
                        "metric": columns[1],
                        "kind": [int(kind) for kind in columns[2]],
                    },
                )
            for device, metric, kind, number in found:
                self._ids[site, SeriesName(device, metric, ValueKind(kind))] = number
        ids = [self._ids[site, name] for name in names]
        while len(self._ids) > TIER_SERIES_REMEMBERED_MAX:
            self._ids.popitem(last=False)
        return ids

    def _drop_before(self, session: Session, *, first_day: date) -> list[date]:
        gone: set[date] = set()
        for table in TABLES:
            rows = session.execute(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass",
                [f"{self._schema.as_string()}.{table}"],
            ).fetchall()
            for (name,) in rows:
                day = day_of_partition(name)
                if day is not None and day < first_day:
                    session.execute(sql.SQL("DROP TABLE {}.{}").format(self._schema, sql.Identifier(name)))
                    gone.add(day)
            session.execute(
                sql.SQL("DELETE FROM {}.{} WHERE at < %s").format(
                    self._schema, sql.Identifier(f"{table}_before")
                ),
                [datetime.combine(first_day, datetime.min.time(), UTC)],
            )
        return sorted(gone)


def _days_of(at_ms: I64) -> set[date]:
    """The days that need a partition of their own."""
    days: Iterable[int] = np.unique(at_ms // DAY_MS).tolist()
    return {day for day in (date(1970, 1, 1) + timedelta(days=number) for number in days) if day >= FIRST_DAY}


@asynccontextmanager
async def postgres_readings(address: Address, credentials: Credentials) -> AsyncIterator[PostgresReadings]:
    """Connect, and make the tables where they are missing. The address is that of a tier in PostgreSQL (postgres.py).

    Raises:
        ConfigError, TierAway, TierUnfit: as of an engine.
    """
    conninfo, schema = connection_of(address, credentials)
    async with sessions(conninfo, prepare) as connected:
        await connected.run("put", partial(make_readings_tables, schema=schema))
        yield PostgresReadings(connected, schema)
