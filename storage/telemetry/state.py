"""What the pipeline keeps in memory, as the store has it: read once when the store is opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import msgspec

from appliance.management.dedup import SeenSequences
from appliance.management.firmware_report import FirmwareReport
from appliance.management.presence import DevicePresence, Presence, PresenceFold
from appliance.management.readings import Quality, Scalar, ValueKind
from storage.telemetry.batch import Counts, Cursor, NewSeries
from storage.telemetry.behind import Behind, read_behind
from storage.telemetry.database import run
from storage.telemetry.journal import PresenceRow, Unfolded, WindowRow, decode_state
from storage.telemetry.series import SeriesCatalog

_pack = msgspec.msgpack.Encoder().encode
_intervals = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode
_clients = msgspec.msgpack.Decoder(dict[str, int]).decode
_firmware = msgspec.msgpack.Decoder(FirmwareReport).decode


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

    def plus(self, counts: Counts) -> Totals:
        """The totals after a batch, as its transaction writes them."""
        return Totals(
            records=self.records + counts.records - counts.apart,
            readings=self.readings + counts.readings,
            rows=self.rows + counts.rows,
            duplicates=self.duplicates + counts.duplicates,
            dead_letters=self.dead_letters + counts.dead_letters,
            unmapped=self.unmapped + counts.unmapped,
            skipped=self.skipped,
        )


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
    """Everything that decoding goes on from, at one cursor.

    Attributes:
        presence: What follows from all records in order. live_presence: The same, unless there is a backlog: then what is
            shown, because the records after the gap say it.
        behind: Where the records are read in order while there is a backlog.
    """

    cursor: Cursor
    totals: Totals
    series: SeriesCatalog
    seen: SeenSequences
    presence: PresenceFold
    newest: list[StoredNewest]
    behind: Behind | None = None
    _ahead: PresenceFold | None = None

    @property
    def live_presence(self) -> PresenceFold:
        return self.presence if self._ahead is None else self._ahead

    def begin_backlog(self, behind: Behind) -> None:
        """From here on there are two readers, who share windows and series, but not what they know of presence."""
        self.behind = behind
        self._ahead = PresenceFold()
        self._ahead.load(self.presence.all())
        self.seen.keep_more(True)

    def end_backlog(self) -> None:
        """There is one reader again, and he knows everything."""
        self.behind = None
        self._ahead = None
        self.seen.keep_more(False)


def read_state(connection: duckdb.DuckDBPyConnection) -> tuple[StoreState, Unfolded]:
    """The state: the tables, and over them what commits have not yet folded into them."""
    cursor, totals, _ = read_cursor(connection)
    unfolded = Unfolded()
    for (state,) in rows(connection, "SELECT state FROM commits WHERE state <> ''::BLOB ORDER BY number"):
        unfolded.add(decode_state(state))
    known = [
        NewSeries(number, device, metric, ValueKind(kind))
        for number, device, metric, kind in rows(
            connection, "SELECT id, device, metric, kind FROM series ORDER BY id"
        )
    ]
    behind = read_behind(connection)
    seen = _read_seen(connection, unfolded, has_backlog=behind is not None)
    presence = PresenceFold()
    for row in rows(
        connection,
        "SELECT device, presence, since_ms, reason, last_seen_at_ms, address, session, clients, expect_ms,"
        " firmware FROM presence",
    ):
        named = dict(zip(PresenceRow.__struct_fields__, row, strict=True))
        named |= {"clients": _clients(row[7]), "firmware": _firmware(row[9]) if row[9] else None}
        presence.load([presence_of(PresenceRow(**named))])
    presence.load(map(presence_of, unfolded.presences.values()))
    newest = _read_newest(connection, known, unfolded)
    state = StoreState(cursor, totals, SeriesCatalog(known), seen, presence, newest)
    if behind is not None:
        state.begin_backlog(behind)
        state.presence = PresenceFold()
        state.presence.load(map(presence_of, behind.presences))
    return state, unfolded


def presence_of(row: PresenceRow) -> DevicePresence:
    return DevicePresence(
        row.device,
        Presence(row.presence),
        row.since_ms,
        row.reason,
        row.last_seen_at_ms,
        row.address,
        row.session,
        row.clients,
        row.expect_ms,
        row.firmware,
    )


def _read_seen(
    connection: duckdb.DuckDBPyConnection, unfolded: Unfolded, *, has_backlog: bool
) -> SeenSequences:
    """The windows, the least recently used first."""
    found: dict[tuple[str, str], WindowRow] = {}
    for row in rows(
        connection,
        "SELECT device, boot_id, is_current, low, top, floor, newest_ms, used, earlier FROM dedup",
    ):
        found[row[0], row[1]] = (*row[:8], unpack_intervals(row[8]))
    for key in unfolded.dropped:
        found.pop(key, None)
    found.update(unfolded.windows)
    seen = SeenSequences()
    seen.keep_more(has_backlog)
    for device, boot_id, is_current, low, top, floor, newest_ms, used, earlier in sorted(
        found.values(), key=lambda window: window[7]
    ):
        intervals = [*earlier, (low, top)] if top >= 0 else []
        seen.load(device, boot_id, intervals, current=is_current, floor=floor, newest_ms=newest_ms, used=used)
    return seen


def read_cursor(connection: duckdb.DuckDBPyConnection) -> tuple[Cursor, Totals, int]:
    """The last commit: how far the log was read, the totals, the commit's number."""
    found = run(
        connection,
        "SELECT epoch, next_seq, hash, watermark_ms, records_total, readings_total, rows_total, duplicates_total,"
        " dead_letters_total, unmapped_total, skipped_total, number FROM commits ORDER BY number DESC LIMIT 1",
    )
    assert len(found) == 1, "the migration puts a row there"
    row = found[0]
    return Cursor(row[0], row[1], row[2], row[3]), Totals(*row[4:11]), row[11]


def _read_newest(
    connection: duckdb.DuckDBPyConnection, known: list[NewSeries], unfolded: Unfolded
) -> list[StoredNewest]:
    """The newest value of each series."""
    found: dict[int, StoredNewest] = {}
    by_id = {series.id: series for series in known}

    def put(
        number: int, observed: int, received: int, num: float | None, text: str | None, quality: int
    ) -> None:
        before, series = found.get(number), by_id[number]
        if before is None or (observed, received) >= (before.observed_at_ms, before.received_at_ms):
            found[number] = StoredNewest(
                series.device,
                series.metric,
                series.kind,
                scalar_of(series.kind, num, text),
                observed,
                received,
                Quality(quality),
            )

    for row in rows(connection, "SELECT series, observed_at, received_at, num, text, quality FROM newest"):
        put(*row)
    for part in (*unfolded.newest_numbers, *unfolded.newest_texts):
        count = len(part)
        numbers: list[float | None] = part.numbers.tolist() if len(part.numbers) else [None] * count
        texts: list[str | None] = [*part.texts] if part.texts else [None] * count
        columns = (part.series.tolist(), part.observed.tolist(), part.received.tolist(), numbers, texts)
        for row in zip(*columns, part.quality.tolist(), strict=True):
            put(*row)
    return list(found.values())


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


def pack_firmware(firmware: FirmwareReport | None) -> bytes | None:
    return None if firmware is None else _pack(firmware)
