"""A store with readings of chosen days, and what is in it and its archive as rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import trio

from appliance.core.clock import ManualClock
from appliance.management.retention import Retention, default_class
from appliance.pipeline.keeper import Keeper
from appliance.pipeline.store_work import StoreWork
from storage.archive.layout import generation_folder
from storage.archive.manifest import Manifest
from storage.archive.rows import COLUMNS
from storage.catalog.erasures import Erasure, ErasureState
from storage.telemetry.batch import DAY_MS, Cursor, StoreBatch
from storage.telemetry.database import archive_folder, run
from storage.telemetry.store import TelemetryStore
from tests.log_kit import Record
from tests.pipeline_kit import Bench

TODAY = 20_509
"""2026-02-25."""
DEFAULT = Retention((), default_class(90, 730))


def now_ms(day: int = TODAY) -> int:
    """Noon of a day."""
    return day * DAY_MS + DAY_MS // 2


class Filled:
    """A store below a folder, and what has been put into it."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(now_ms=now_ms())
        self.store = TelemetryStore.open(folder / "telemetry.duckdb", clock=self.clock)
        self.root = archive_folder(self.store.path)
        self.root.mkdir(exist_ok=True)
        self._bench = Bench()
        self._cursor = Cursor()

    def put(
        self,
        day: int,
        devices: Sequence[str] = ("a", "b"),
        *,
        count: int = 10,
        first: int = 0,
        text: bool = True,
    ) -> None:
        """Readings of a day: numbers `t` and `vib_x`, a boolean, and a text if wanted, `count` of each device."""
        at = day * DAY_MS
        records = []
        for device in devices:
            for n in range(first, first + count):
                words = b',"mode":"m%d"' % n if text else b""
                payload = b'{"ts":%d,"t":%d.5,"vib_x":%d,"on":true%s}' % (at + n * 1_000, n, -n, words)
                topic = f"dm/{device}/telemetry".encode()
                records.append(Record(payload, topic, now_ms(), client_id=device, principal=device))
        self.commit(records)

    def commit(self, records: Sequence[Record]) -> StoreBatch:
        batch, _ = self._bench.build(records)
        batch.before, self._cursor = (
            self._cursor,
            replace(batch.after, hash=bytes([batch.after.next_seq % 256])),
        )
        batch.after = self._cursor
        self.store.commit(batch)
        return batch

    def view(self) -> list[tuple[object, ...]]:
        """All readings there are, wherever they lie."""
        with self.store.reading() as connection:
            return run(connection, f"SELECT {COLUMNS} FROM v_readings ORDER BY ALL")

    def day_row(self, day: int) -> tuple[object, ...]:
        """is_whole, generation, archived numbers and texts."""
        with self.store.reading() as connection:
            sql = "SELECT is_whole, generation, archived_numbers, archived_texts FROM days WHERE day = ?"
            return run(connection, sql, [day])[0]


def rows_of(root: Path, day: int, manifest: Manifest) -> list[tuple[object, ...]]:
    """Rows of a generation's files in the order in which they lie there, read by a DuckDB of its own."""
    found: list[tuple[object, ...]] = []
    for file in manifest.files:
        path = generation_folder(root, day, manifest.generation) / file.name
        found += duckdb.execute(f"SELECT {COLUMNS} FROM read_parquet('{path}')").fetchall()
    return found


class Conditions:
    """What the keeper asks (appliance.pipeline.keeper.Conditions), set by a test."""

    def __init__(self, retention: Retention = DEFAULT) -> None:
        self.classes = retention
        self.because = ""
        self.is_short = False

    async def retention(self) -> Retention:
        return self.classes

    def wait_because(self) -> str:
        return self.because

    def is_disk_short(self) -> bool:
        return self.is_short


class Erasures:
    """Erasures without a catalog (appliance.pipeline.keeper_erasing.ErasureCatalog)."""

    def __init__(self) -> None:
        self.found: dict[str, Erasure] = {}
        self.log_first_seq = 1

    def request(self, device: str) -> None:
        self.found[device] = Erasure(
            erasure_id=device, device_id=device, epoch=1, before_seq=1, state="requested", reading_count=0,
            requested_at_ms=now_ms(), erased_at_ms=None, completed_at_ms=None,
        )  # fmt: skip

    async def erasures_in(self, state: ErasureState) -> list[Erasure]:
        return [each for each in self.found.values() if each.state == state]

    async def note_erased(self, erasure_id: str, *, epoch: int, before_seq: int, reading_count: int) -> None:
        self.found[erasure_id] = replace(
            self.found[erasure_id],
            state="erased",
            epoch=epoch,
            before_seq=before_seq,
            reading_count=reading_count,
        )

    async def note_complete(self, erasure_id: str) -> None:
        self.found[erasure_id] = replace(self.found[erasure_id], state="complete")

    async def first_seq(self) -> int:
        return self.log_first_seq


class Kept:
    """A keeper at work on a store, beside a writer that does nothing but what the keeper asks of it."""

    def __init__(
        self, filled: Filled, conditions: Conditions, keeper: Keeper, work: StoreWork, erasures: Erasures
    ) -> None:
        self.erasures = erasures
        self.filled = filled
        self.conditions = conditions
        self.keeper = keeper
        self.work = work

    async def settle(self) -> None:
        """Until the keeper has looked again and found nothing more to do."""
        self.keeper.look()
        before = self.keeper.looks_total
        with trio.fail_after(60):
            # A look that ends while a step is under way is none: the keeper shows no event for that.
            while self.keeper.looks_total <= before or self._is_busy():  # noqa: ASYNC110
                await trio.sleep(0.005)

    def _is_busy(self) -> bool:
        return self.keeper.statistics().state in ("starting", "working")

    def where(self) -> dict[int, str]:
        """Days before TODAY → where each is."""
        return {TODAY - view.day: view.where for view in self.keeper.days()}


@asynccontextmanager
async def kept(
    filled: Filled, conditions: Conditions | None = None, *, lateness_ms: int = 0, **options: Any
) -> AsyncIterator[Kept]:
    """A keeper that runs, until the context is left."""
    woken = trio.Event()

    def wake() -> None:
        woken.set()

    work = StoreWork(wake)
    conditions = conditions or Conditions()
    erasures = Erasures()
    keeper = Keeper(
        filled.store,
        work,
        conditions=conditions,
        erasures=erasures,
        clock=filled.clock,
        lateness_ms=lateness_ms,
        **options,
    )

    async def write() -> None:
        nonlocal woken
        while True:
            if not await work.turn(trio.to_thread.run_sync, filled.store):
                await woken.wait()
                woken = trio.Event()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await nursery.start(keeper.run)
        yield Kept(filled, conditions, keeper, work, erasures)
        nursery.cancel_scope.cancel()
