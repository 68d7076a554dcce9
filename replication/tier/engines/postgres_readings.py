"""Readings of all sites as rows in PostgreSQL, for SQL: what a gatherer uploads, each batch once.

    boxes       what each box (node) is called, and of which site it is
    series      (id, site, node, device, metric, kind): as in the box's own store, a metric that changes its type gets a second one
    readings    numbers and booleans: (series, at, quality, value), a partition for each UTC day, BRIN over time and series
    texts       the same for texts
    positions   how far each stream of records was uploaded, and with what its reader goes on from there
    erased      erasures of devices that were carried out here
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
from replication.tier.engines.copy_rows import number_rows, text_rows
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
        numbers, texts: Rows, whose `series` is a place in `series`, times ms since 1970.
        state: What whoever reads the stream goes on with at `after`; given back by `readings_state`.
    """

    site: str
    stream: StreamId
    before: Position
    after: Position
    series: list[SeriesName]
    state: bytes = b""
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

    @property
    def size_bytes(self) -> int:
        """About what goes over the network."""
        count = len(self.numbers) + len(self.texts)
        return count * _ROW_BYTES + sum(map(len, self.texts.texts)) + len(self.state)


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
        """By node and series."""
        self._days: set[date] = set()
        self._turn = trio.Lock()
        """Batches go one after another: what is remembered belongs to one of them at a time."""

    async def readings_position(self, stream: StreamId) -> Position:
        """How far a stream's readings are there.

        Raises:
            TierAway, TierUnfit: as of an engine.
        """
        return await self._sessions.run("list", partial(self._position, stream=stream, lock=False))

    async def readings_state(self, stream: StreamId) -> tuple[Position, bytes]:
        """How far a stream's readings are there, and the `state` of the batch that brought it there. Raises as `readings_position`."""

        def work(session: Session) -> tuple[Position, bytes]:
            row = session.execute(
                sql.SQL("SELECT epoch, next_seq, state FROM {}.positions WHERE stream = %s").format(
                    self._schema
                ),
                [str(stream)],
            ).fetchone()
            return (Position(row[0], row[1]), bytes(row[2])) if row else (Position(), b"")

        return await self._sessions.run("list", work)

    async def name_box(self, node: str, site: str, name: str) -> None:
        """Say what a box is called, for people. Raises as `readings_position`."""
        statement = "INSERT INTO {}.boxes VALUES (%s, %s, %s) ON CONFLICT (node) DO UPDATE SET site = excluded.site, name = excluded.name"

        def work(session: Session) -> None:
            session.execute(sql.SQL(statement).format(self._schema), [node, site, name])

        await self._sessions.run("put", work)

    async def put_readings(self, batch: ReadingsBatch) -> bool:
        """Add a batch's rows, and move its stream's position; durable when it returns.

        Returns:
            False where they were there already: the position is at `after` or beyond.
        Raises:
            ReadingsElsewhere: the position is neither there nor at `before`. TierAway, TierUnfit: as of an engine; after the first the rows may be
            there or not, and the same batch again is right.
        """
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
                    "put", partial(self._put, batch), size_bytes=batch.size_bytes
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

    async def drop_older(self, days: int) -> list[date]:
        """Drop what is older than so many days by the server's clock, which all boxes share. Raises as `drop_before`."""

        def work(session: Session) -> date:
            row = session.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchone()
            assert row is not None
            today: date = row[0]
            return today - timedelta(days=days)

        return await self.drop_before(await self._sessions.run("list", work))

    async def erased(self, node: str) -> set[str]:
        """Which erasures of a box were carried out. Raises as `readings_position`."""

        def work(session: Session) -> set[str]:
            found = session.execute(
                sql.SQL("SELECT erasure FROM {}.erased WHERE node = %s").format(self._schema), [node]
            )
            return {erasure for (erasure,) in found}

        return await self._sessions.run("list", work)

    async def erase(self, node: str, erasure: str, device: str) -> int:
        """Take all rows and names of a box's device out, a day at a time, and note it as done in the end.

        Returns:
            How many rows were there.
        Raises:
            TierAway: again is right; what is gone by then is gone. TierUnfit: as of an engine, also where deleting is not allowed.
        """
        which = sql.SQL("SELECT id FROM {}.series WHERE node = %s AND device = %s").format(self._schema)

        def partitions(session: Session) -> list[str]:
            if session.execute(which, [node, device]).fetchone() is None:
                return []
            return [name for table in TABLES for name in self._partitions(session, table)]

        def delete(session: Session, partition: str) -> int:
            found = session.execute(
                sql.SQL("DELETE FROM {}.{} WHERE series IN ({})").format(
                    self._schema, sql.Identifier(partition), which
                ),
                [node, device],
            )
            return found.rowcount

        def note(session: Session) -> None:
            with session.transaction():
                session.execute(
                    sql.SQL("DELETE FROM {}.series WHERE node = %s AND device = %s").format(self._schema),
                    [node, device],
                )
                session.execute(
                    sql.SQL("INSERT INTO {}.erased VALUES (%s, %s) ON CONFLICT DO NOTHING").format(
                        self._schema
                    ),
                    [node, erasure],
                )

        async with self._turn:
            self._ids.clear()
            count = 0
            for partition in await self._sessions.run("list", partitions):
                count += await self._sessions.run("remove", partial(delete, partition=partition))
            await self._sessions.run("remove", note)
        return count

    def _put(self, batch: ReadingsBatch, session: Session) -> bool:
        with session.transaction():
            position = self._position(session, stream=batch.stream, lock=True)
            if position >= batch.after:
                return False
            if position != batch.before:
                raise ReadingsElsewhere(position)
            ids = np.array(self._series_ids(session, batch), np.uint32)
            for table, rows in (("readings", batch.numbers), ("texts", batch.texts)):
                if not len(rows):
                    continue
                series: U32 = ids[rows.series]
                # Rows of a series lie together, so that a block's lowest and highest series are near each other.
                order = np.lexsort((rows.observed, series))
                for first in range(0, len(order), TIER_READINGS_PER_BATCH_MAX):
                    self._copy(
                        session, table, rows, series, order[first : first + TIER_READINGS_PER_BATCH_MAX]
                    )
            session.execute(
                sql.SQL(
                    "UPDATE {}.positions SET epoch = %s, next_seq = %s, state = %s WHERE stream = %s"
                ).format(self._schema),
                [*batch.after, batch.state, str(batch.stream)],
            )
        return True

    def _copy(
        self, session: Session, table: str, rows: NumberRows | TextRows, series: U32, which: I64
    ) -> None:
        columns = (series[which], rows.observed[which], rows.quality[which])
        data = (
            number_rows(*columns, rows.numbers[which])
            if isinstance(rows, NumberRows)
            else text_rows(*columns, [rows.texts[at] for at in which.tolist()])
        )
        copying = sql.SQL("COPY {}.{} (series, at, quality, value) FROM STDIN (FORMAT BINARY)")
        with (
            session.cursor() as cursor,
            cursor.copy(copying.format(self._schema, sql.Identifier(table))) as copy,
        ):
            copy.write(data)

    def _position(self, session: Session, *, stream: StreamId, lock: bool) -> Position:
        if lock:
            session.execute(
                sql.SQL(
                    "INSERT INTO {}.positions (stream, epoch, next_seq) VALUES (%s, 0, 0) ON CONFLICT DO NOTHING"
                ).format(self._schema),
                [str(stream)],
            )
        question = "SELECT epoch, next_seq FROM {}.positions WHERE stream = %s"
        row = session.execute(
            sql.SQL(f"{question} FOR UPDATE" if lock else question).format(self._schema), [str(stream)]
        ).fetchone()
        return Position(*row) if row else Position()

    def _series_ids(self, session: Session, batch: ReadingsBatch) -> list[int]:
        node = batch.stream.node_id
        unknown = [name for name in batch.series if (node, name) not in self._ids]
        if unknown:
            columns = [list(column) for column in zip(*unknown, strict=True)]
            for statement in (
                "INSERT INTO {s}.series (site, node, device, metric, kind) SELECT %(site)s, %(node)s, u.* FROM"
                " unnest(%(device)s::text[], %(metric)s::text[], %(kind)s::smallint[]) u ORDER BY 3, 4, 5 ON CONFLICT DO NOTHING",
                "SELECT s.device, s.metric, s.kind, s.id FROM {s}.series s JOIN unnest(%(device)s::text[], %(metric)s::text[],"
                " %(kind)s::smallint[]) u (device, metric, kind) USING (device, metric, kind) WHERE s.node = %(node)s",
            ):
                found = session.execute(
                    sql.SQL(statement).format(s=self._schema),
                    {
                        "site": batch.site,
                        "node": node,
                        "device": columns[0],
                        "metric": columns[1],
                        "kind": [int(kind) for kind in columns[2]],
                    },
                )
            for device, metric, kind, number in found:
                self._ids[node, SeriesName(device, metric, ValueKind(kind))] = number
        ids = [self._ids[node, name] for name in batch.series]
        while len(self._ids) > TIER_SERIES_REMEMBERED_MAX:
            self._ids.popitem(last=False)
        return ids

    def _drop_before(self, session: Session, *, first_day: date) -> list[date]:
        gone: set[date] = set()
        for table in TABLES:
            for name in self._partitions(session, table):
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

    def _partitions(self, session: Session, table: str) -> list[str]:
        found = session.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass",
            [f"{self._schema.as_string()}.{table}"],
        )
        return [name for (name,) in found]


def _days_of(at_ms: I64) -> set[date]:
    """The days that need a partition of their own."""
    days: Iterable[int] = np.unique(at_ms // DAY_MS).tolist()
    return {day for day in (date(1970, 1, 1) + timedelta(days=number) for number in days) if day >= FIRST_DAY}


@asynccontextmanager
async def postgres_readings_in(
    conninfo: dict[str, str | int], schema: str
) -> AsyncIterator[PostgresReadings]:
    """Connect, and make the tables where they are missing.

    Args:
        conninfo: Of `postgres.connection_of`.
    Raises:
        TierAway, TierUnfit: as an engine.
    """
    async with sessions(conninfo, prepare) as connected:
        await connected.run("put", partial(make_readings_tables, schema=schema))
        yield PostgresReadings(connected, schema)
