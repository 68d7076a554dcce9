"""What the pipeline keeps in memory, as the store has it: read once when the store is opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import msgspec

from appliance.management.dedup import SeenSequences
from appliance.management.presence import DevicePresence, Presence, PresenceFold
from appliance.management.readings import Quality, Scalar, ValueKind
from storage.telemetry.batch import Cursor, NewSeries
from storage.telemetry.database import run
from storage.telemetry.series import SeriesCatalog

_pack = msgspec.msgpack.Encoder().encode
_intervals = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode
_clients = msgspec.msgpack.Decoder(dict[str, int]).decode


@dataclass(frozen=True, slots=True)
class Totals:
    """Running totals since the store was begun (a rebuild begins it anew)."""

    records: int = 0
    readings: int = 0
    rows: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    unmapped: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class StoredNewest:
    """The newest reading of a series."""

    device: str
    metric: str
    kind: ValueKind
    value: Scalar
    observed_at_ms: int
    received_at_ms: int
    quality: Quality


@dataclass(slots=True)
class StoreState:
    """Everything that decoding goes on from, at one cursor."""

    cursor: Cursor
    totals: Totals
    series: SeriesCatalog
    seen: SeenSequences
    presence: PresenceFold
    newest: list[StoredNewest]


def read_state(connection: duckdb.DuckDBPyConnection) -> StoreState:
    """Read the state within one transaction of the connection."""
    cursor, totals = read_cursor(connection)
    series = SeriesCatalog(
        NewSeries(number, device, metric, ValueKind(kind))
        for number, device, metric, kind in rows(
            connection, "SELECT id, device, metric, kind FROM series ORDER BY id"
        )
    )
    seen = SeenSequences()
    for device, boot_id, is_current, floor, newest_ms, earlier, low, top in rows(
        connection,
        "SELECT device, boot_id, is_current, floor, newest_ms, earlier, low, top FROM dedup ORDER BY used",
    ):
        intervals = [*unpack_intervals(earlier), (low, top)] if top >= 0 else []
        seen.load(device, boot_id, intervals, current=is_current, floor=floor, newest_ms=newest_ms)
    presence = PresenceFold()
    presence.load(
        DevicePresence(
            device, Presence(state), since_ms, reason, last_seen_at_ms, address, session, _clients(clients)
        )
        for device, state, since_ms, reason, last_seen_at_ms, address, session, clients in rows(
            connection,
            "SELECT device, presence, since_ms, reason, last_seen_at_ms, address, session, clients FROM presence",
        )
    )
    return StoreState(cursor, totals, series, seen, presence, list(_read_newest(connection)))


def read_cursor(connection: duckdb.DuckDBPyConnection) -> tuple[Cursor, Totals]:
    found = run(
        connection,
        "SELECT epoch, next_seq, hash, watermark_ms, records_total, readings_total, rows_total, duplicates_total,"
        " dead_letters_total, unmapped_total, skipped_total FROM cursor",
    )
    assert len(found) == 1, "the migration puts a row there"
    row = found[0]
    return Cursor(row[0], row[1], row[2], row[3]), Totals(*row[4:])


def _read_newest(connection: duckdb.DuckDBPyConnection) -> Iterator[StoredNewest]:
    for device, metric, kind, num, text, observed_at, received_at, quality in rows(
        connection,
        "SELECT s.device, s.metric, s.kind, n.num, n.text, n.observed_at, n.received_at, n.quality"
        " FROM newest n JOIN series s ON s.id = n.series",
    ):
        yield StoredNewest(
            device,
            metric,
            ValueKind(kind),
            scalar_of(kind, num, text),
            observed_at,
            received_at,
            Quality(quality),
        )


def scalar_of(kind: int, num: float | None, text: str | None) -> Scalar:
    """A stored value in its own type again."""
    if kind == ValueKind.TEXT:
        return text or ""
    number = num if num is not None else 0.0
    return number != 0 if kind == ValueKind.BOOLEAN else number


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> Iterator[tuple[Any, ...]]:
    """Rows of a query, fetched in portions."""
    result = connection.execute(sql)
    while portion := result.fetchmany(10_000):
        yield from portion


def pack_intervals(intervals: list[tuple[int, int]]) -> bytes:
    return _pack(intervals)


def unpack_intervals(packed: bytes) -> list[tuple[int, int]]:
    return _intervals(packed)


def pack_clients(clients: dict[str, int]) -> bytes:
    return _pack(clients)
