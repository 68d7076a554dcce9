"""This box's readings as rows in a region that is a PostgreSQL: read from the log once more, by what the store was filled with, each record once.

Where rows end, and with what a reader goes on from there, stands in the database, in the transaction that added the last ones: after a restart, a failure,
or when the database was put back to an earlier time, it is asked for, and nothing here has to be remembered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NoReturn

import msgspec
import structlog
import trio
import zstandard

from appliance.core.clock import Clock
from appliance.core.errors import CursorBeyondHead, CursorExpired, HomeportError, LogDamaged, StorageError
from appliance.core.limits_replication import (
    TIER_READINGS_MESSAGES_MAX,
    TIER_READINGS_PACE_S,
    TIER_READINGS_STATE_BYTES_MAX,
)
from appliance.management.replication_state import TierRowsState
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.rows_reading import ReadRows, RowsReading
from appliance.pipeline.rules import LogRules
from replication.tier.engines.postgres_readings import (
    Position,
    PostgresReadings,
    ReadingsBatch,
    ReadingsElsewhere,
    SeriesName,
)
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.erasures import Erasure
from storage.replicas.streams import StreamId
from storage.telemetry.batch import Cursor

RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 60.0
DROP_INTERVAL_MS: Final = 3_600_000
_ERASURES_MAX: Final = 1_000_000
_BYTES_A_RECORD: Final = 200
"""What a record comes to as rows, about, for how many fit what may go out."""
_BUDGET_S: Final = 2
Turn = Callable[[str, int, TierRowsState], Awaitable[tuple[int, bool]]]
"""Asks whether so many bytes may go to a region: ms to wait, 0 for none; and whether own records are still to come back here."""
log = structlog.get_logger(__name__)


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """What goes with a position: the hash of the block before it, the newest arrival, windows and presence."""

    hash: bytes
    watermark_ms: int
    reader: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Whose rows they are, and what is known of its records.

    Attributes:
        complete_seq: Before which of the site's numbers everything is in the store.
        known: Of some devices, those whose readings are kept.
    """

    node_id: str
    site: str
    name: str
    catalog: AsyncCatalog
    mappings: MappingSets
    complete_seq: Callable[[], int]
    own_seq: Callable[[int], int]
    known: Callable[[Sequence[str]], Awaitable[Collection[str]]]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the catalog says before a batch.

    Attributes:
        upto_seq: No further, in the site's numbers.
        gone: Erasures that were carried out here.
    """

    upto_seq: int
    positions: dict[str, tuple[int, int]]
    gone: list[Erasure] = field(default_factory=list)


class RowsUploading:
    """Uploads to one region.

    Args:
        connect: Opens its tables.
        turn: Asks the replicator.
        days: Older ones are dropped; 0: none.
        bytes_per_s: Of all of the tier; 0 for no bound.
    """

    def __init__(
        self,
        region: str,
        schema: str,
        box: Box,
        reading: RowsReading,
        connect: Callable[[], Any],
        turn: Turn,
        clock: Clock,
        *,
        days: int = 0,
        bytes_per_s: int = 0,
    ) -> None:
        self._region, self._box, self._reading, self._clock = region, box, reading, clock
        self._connect, self._turn, self._days = connect, turn, days
        self._messages = TIER_READINGS_MESSAGES_MAX
        if bytes_per_s:
            fits = bytes_per_s * _BUDGET_S // _BYTES_A_RECORD
            self._messages = max(1, min(TIER_READINGS_MESSAGES_MAX, fits))
        self._stream = StreamId(box.node_id, "telemetry")
        self._thread = trio.CapacityLimiter(1)
        self._position = Position()
        self._erased: set[str] = set()
        self._dropped_mono_ms: int | None = None
        self._is_past_missing = False
        self.state = TierRowsState(at_ms=clock.now_ms(), schema=schema)

    async def run(self) -> None:
        """Upload until cancelled; what goes wrong is told, and tried again."""
        retry_s = RETRY_S_MIN
        while True:
            rows = self.state.rows
            try:
                async with self._connect() as readings:
                    await self._upload(readings)
            except ReadingsElsewhere as error:
                log.info("rows go on elsewhere", region=self._region, reason=error.message)
                await trio.sleep(RETRY_S_MIN)
                continue
            except HomeportError as error:
                problem = f"{error.message} {error.hint}".strip()
            except OSError as error:
                problem = f"A file of the log can't be read: {error}."
            if self.state.rows != rows:
                retry_s = RETRY_S_MIN
            if problem != self.state.problem:
                log.warning("rows of readings are not uploaded", region=self._region, reason=problem)
            self._say(problem=problem)
            await self._tell()
            await trio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_S_MAX)

    async def _upload(self, readings: PostgresReadings) -> NoReturn:
        """Go on where rows end. Raises HomeportError, OSError."""
        box = self._box
        await self._ask(0)
        await readings.name_box(box.node_id, box.site, box.name)
        self._erased = await readings.erased(box.node_id)
        self._position, state = await readings.readings_state(self._stream)
        cursor, reader = _unpacked(self._position, state)
        try:
            await self._in_thread(partial(self._reading.begin, cursor, reader))
        except ValueError as error:
            raise _unreadable(error) from error
        while True:
            seen = await self._look()
            await self._carry_out(readings, seen.gone)
            await self._drop_old(readings)
            began_s = trio.current_time()
            rows = await self._read(seen)
            took_s = trio.current_time() - began_s
            if rows is None:
                self._say(seen=seen, problem="")
                await self._tell()
                await trio.sleep(TIER_READINGS_PACE_S)
                continue
            batch = self._batch(rows)
            await self._wait_for_turn(batch.size_bytes)
            await readings.put_readings(batch)
            self._position = batch.after
            self._say(seen=seen, added=len(rows), problem="")
            # So that what is worked off takes half of the interpreter at most.
            await trio.sleep(took_s)

    async def _look(self) -> _Seen:
        """In this order: what is asked for after the catalog was read is for records from `complete_seq` on."""
        complete_seq = self._box.complete_seq()

        def read(catalog: Catalog) -> _Seen:
            requested = catalog.erasures_in("requested", limit=_ERASURES_MAX)
            # Until the store is cleared it isn't known from where on a device's records are kept again.
            upto_seq = min([complete_seq, *(each.before_seq for each in requested)])
            gone = [
                each
                for state in ("erased", "complete")
                for each in catalog.erasures_in(state, limit=_ERASURES_MAX)
            ]
            return _Seen(upto_seq, catalog.erasures_for_pipeline(), gone)

        return await self._box.catalog.read(read)

    async def _carry_out(self, readings: PostgresReadings, gone: Sequence[Erasure]) -> None:
        waiting = [each for each in gone if each.erasure_id not in self._erased]
        for number, erasure in enumerate(waiting):
            self._say(erasures_waiting=len(waiting) - number)
            count = await readings.erase(self._box.node_id, erasure.erasure_id, erasure.device_id)
            self._erased.add(erasure.erasure_id)
            log.info(
                "a device's rows were erased", region=self._region, erasure=erasure.erasure_id, rows=count
            )
        self._say(erasures_waiting=0)

    async def _drop_old(self, readings: PostgresReadings) -> None:
        now_ms = self._clock.mono_ms()
        last_ms = self._dropped_mono_ms
        if not self._days or (last_ms is not None and now_ms - last_ms < DROP_INTERVAL_MS):
            return
        dropped = await readings.drop_older(self._days)
        self._dropped_mono_ms = now_ms
        if dropped:
            log.info("old days of rows were dropped", region=self._region, days=[str(day) for day in dropped])

    async def _read(self, seen: _Seen) -> ReadRows | None:
        rules = LogRules(self._box.mappings, lambda: seen.positions)
        reading = self._reading

        def known(devices: Collection[str]) -> Collection[str]:
            return trio.from_thread.run(self._box.known, sorted(devices))

        def read() -> ReadRows | None:
            try:
                return reading.read(rules, self._messages, seen.upto_seq, known)
            except CursorExpired as error:
                if self._is_past_missing:
                    raise StorageError(
                        "This box's own past is still to come back.",
                        hint="Rows go on by themselves once it is here.",
                        code="past_missing",
                    ) from error
                self._skipped(reading.skip_to(reading.first_seq()), error)
            except LogDamaged as error:
                if error.next_seq <= reading.at.next_seq:
                    raise
                self._skipped(reading.skip_to(error.next_seq), error)
            except CursorBeyondHead:
                reading.begin_epoch()
            return None

        before = reading.at
        while True:
            rows: ReadRows | None = await self._in_thread(read)
            if rows is not None or reading.at == before:
                return rows
            before = reading.at

    def _skipped(self, count: int, error: StorageError) -> None:
        if not count:
            raise error
        log.warning("records have no rows", region=self._region, records=count, reason=error.message)
        self._say(skipped=count)

    def _batch(self, rows: ReadRows) -> ReadingsBatch:
        after = rows.after
        kept = _Kept(after.hash, after.watermark_ms, rows.reader)
        return ReadingsBatch(
            site=self._box.site,
            stream=self._stream,
            before=self._position,
            after=Position(after.epoch, after.next_seq),
            series=[SeriesName(*name) for name in rows.series],
            state=zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(kept)),
            numbers=rows.numbers,
            texts=rows.texts,
        )

    async def _ask(self, size_bytes: int) -> int:
        wait_ms, self._is_past_missing = await self._turn(self._region, size_bytes, self.state)
        return wait_ms

    async def _wait_for_turn(self, size_bytes: int) -> None:
        while wait_ms := await self._ask(max(1, size_bytes)):  # noqa: ASYNC110 - nothing here says when
            await trio.sleep(wait_ms / 1_000)

    async def _tell(self) -> None:
        try:
            await self._ask(0)
        except HomeportError as error:
            log.debug("the replicator wasn't told of rows", region=self._region, reason=error.message)

    def _say(
        self,
        *,
        seen: _Seen | None = None,
        added: int = 0,
        skipped: int = 0,
        erasures_waiting: int | None = None,
        problem: str | None = None,
    ) -> None:
        state, now_ms = self.state, self._clock.now_ms()
        lag_entries, lag_ms = state.lag_entries, state.lag_ms
        if seen is not None:
            lag_entries = max(0, self._box.own_seq(self._box.complete_seq()) - self._position.next_seq)
            watermark_ms = self._reading.at.watermark_ms
            lag_ms = max(0, now_ms - watermark_ms) if lag_entries and watermark_ms else 0
        if problem == "" and state.problem:
            log.info("rows of readings are uploaded again", region=self._region)
        self.state = msgspec.structs.replace(
            state,
            at_ms=now_ms,
            epoch=self._position.epoch,
            next_seq=self._position.next_seq,
            lag_entries=lag_entries,
            lag_ms=lag_ms,
            rows=state.rows + added,
            skipped_entries=state.skipped_entries + skipped,
            erasures_waiting=state.erasures_waiting if erasures_waiting is None else erasures_waiting,
            problem=state.problem if problem is None else problem,
        )

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        return await trio.to_thread.run_sync(call, limiter=self._thread)


def _unpacked(position: Position, state: bytes) -> tuple[Cursor, bytes]:
    """Where to go on, and with what.

    Raises:
        StorageError: `rows_state_unreadable`.
    """
    if not state:
        return Cursor(position.epoch, max(1, position.next_seq)), b""
    try:
        if not 0 <= zstandard.frame_content_size(state) <= TIER_READINGS_STATE_BYTES_MAX:
            raise ValueError("it is too large")
        kept = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(state), type=_Kept)
    except (zstandard.ZstdError, msgspec.DecodeError, ValueError) as error:
        raise _unreadable(error) from error
    return Cursor(position.epoch, position.next_seq, kept.hash, kept.watermark_ms), kept.reader


def _unreadable(error: Exception) -> StorageError:
    return StorageError(
        f"What rows go on with can't be read in the database: {error}.",
        hint="Somebody changed the table positions: put it back. Homeport doesn't guess which readings were there.",
        code="rows_state_unreadable",
    )
