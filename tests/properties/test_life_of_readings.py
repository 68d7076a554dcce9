"""Days of readings through commit, archive, retention, erasure and the loss of the store, held against a model that knows them all.

Nothing is stubbed: log, store, keeper, copies of the state and rebuild are the real ones; time is turned by hand. The keeper works
beside commits, so that its steps meet batches in every order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, HomeportError, StorageError, Unavailable
from appliance.management.retention import Retention, default_class
from appliance.pipeline.keeper import Keeper
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.reading import Reading
from appliance.pipeline.rebuild import Rebuild
from appliance.pipeline.rules import LogRules
from appliance.pipeline.store_work import StoreWork
from storage.archive.adopting import adopt_all
from storage.archive.index import read_archive
from storage.log.reader import LogReader
from storage.telemetry.batch import DAY_MS
from storage.telemetry.database import archive_folder, run
from storage.telemetry.store import TelemetryStore
from tests.archive_kit import Conditions, Erasures
from tests.log_kit import Record, append, open_log
from tests.pipeline_kit import EveryDevice

HOUR = 3_600_000
FIRST = 19_700 * DAY_MS
KEPT = Retention((), default_class(3, 400))
DEVICES = ("a", "b", "c", "d", "e")
Row = tuple[str, str, int, float | None, str | None]


class Model:
    """All that was sent, each with its record; from that, what must be there."""

    def __init__(self) -> None:
        self._sent: list[tuple[int, str, int, int, float]] = []
        self._erased: dict[str, int] = {}

    def note(self, record: int, device: str, seq: int, ts: int, number: float) -> None:
        self._sent.append((record, device, seq, ts, number))

    def erase(self, device: str, before_seq: int) -> None:
        """Nothing of it from before a record is known, not even what would be the same again."""
        self._erased[device] = before_seq

    @property
    def rows(self) -> list[tuple[int, Row]]:
        """Each reading once, with the record that it came in first."""
        seen: set[tuple[str, int]] = set()
        found: list[tuple[int, Row]] = []
        for record, device, seq, ts, number in self._sent:
            if record >= self._erased.get(device, 0) and (device, seq) not in seen:
                seen.add((device, seq))
                found.append((record, (device, "n", ts, number, None)))
                found.append((record, (device, "s", ts, None, f"t{seq}")))
        return found

    def hours_of(self, metric: str) -> list[tuple[str, int, int, float, float, float]]:
        """By device and hour: count, lowest, highest, sum."""
        hours: dict[tuple[str, int], list[float]] = {}
        for _, (device, name, ts, number, _text) in self.rows:
            if name == metric and number is not None:
                hours.setdefault((device, ts // HOUR * HOUR), []).append(number)
        return [(*key, len(v), min(v), max(v), sum(v)) for key, v in sorted(hours.items())]


class Box:
    """A log, a store that is filled from it, and its keeper."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.choose = random.Random(seed)
        self.clock = ManualClock(now_ms=FIRST)
        self.writer = open_log(folder / "log", clock=self.clock)
        self.log = LogReader(folder / "log")
        self.store = TelemetryStore.open(folder / "t.duckdb", clock=self.clock)
        self.erasures = Erasures()
        self.rules = LogRules(MappingSets.always([]))
        self.rules.erasures = lambda: {
            each.device_id: (each.epoch, each.before_seq) for each in self.erasures.found.values()
        }
        self.reading = Reading(self.log, self.store, self.rules, EveryDevice(), _in_place)
        self.published = 0
        self.rebuild = Rebuild(
            archive_folder(self.store.path) / "state",
            published=lambda: self.published,
            clock=self.clock,
            register=lambda store: adopt_all(store)[1],
        )
        self.reading.load()
        self.lock = trio.Lock()
        self.model = Model()
        self.next_record = 1
        self.rebuilds = self.restored = 0
        self._woken = trio.Event()
        self._seqs = dict.fromkeys(DEVICES, 0)
        self._sent: list[tuple[bytes, str, int, int, float]] = []
        self.work = StoreWork(lambda: self._woken.set())
        self.keeper = Keeper(
            self.store,
            self.work,
            conditions=Conditions(KEPT),
            erasures=self.erasures,
            clock=self.clock,
            lateness_ms=2 * HOUR,
            forget=lambda: setattr(self, "must_reload", True),
        )
        self.must_reload = False

    async def write(self) -> None:
        """What the keeper asks of the writer, between two batches."""
        while True:
            async with self.lock:
                did = await self.work.turn(trio.to_thread.run_sync, self.store)
            if not did:
                await self._woken.wait()
                self._woken = trio.Event()

    def send(self, count: int) -> None:
        """Some records: new readings, late ones, ones of a clock that is ahead, the same again, broken ones."""
        records = []
        for _ in range(count):
            choose, now = self.choose, self.clock.now_ms()
            what = choose.random()
            if what < 0.15 and self._sent:
                payload, device, seq, ts, number = choose.choice(self._sent[-200:])
            else:
                device = choose.choice(DEVICES)
                seq = self._seqs[device] = self._seqs[device] + 1
                ts = (
                    now
                    - choose.choice((0, 0, 0, 1, 5 * 60_000, 30 * HOUR, 4 * DAY_MS, 100 * DAY_MS, -20 * HOUR))
                    - seq
                )
                number = seq + 0.5
                body = {"ts": ts, "seq": seq, "boot_id": "b", "v": {"n": number, "s": f"t{seq}"}}
                payload = msgspec.json.encode(body)
                self._sent.append((payload, device, seq, ts, number))
            if what > 0.97:
                records.append(Record(b"{broken", b"dm/a/telemetry", now, principal="a"))
            records.append(Record(payload, f"dm/{device}/telemetry".encode(), now, principal=device))
            self.model.note(self.next_record + len(records) - 1, device, seq, ts, number)
        append(self.writer, records)
        self.next_record += len(records)

    async def read_on(self, batches: int = 1_000) -> None:
        """Commit what waits, and say what the log must keep."""
        async with self.lock:
            if self.must_reload:
                self.must_reload = False
                self.reading.load()
            for _ in range(batches):
                is_behind = self.reading.behind is not None and self.choose.random() < 0.5
                pending = await self.reading.prepare(self.choose.choice((1, 50, 500)), is_behind=is_behind)
                if pending is None:
                    if self.reading.behind is None:
                        break
                    continue
                self.store.commit(pending.batch)
                self.reading.committed(pending)
            self.rebuild.say_needed(self.store, self._publish)

    def _publish(self, next_seq: int) -> StorageError | None:
        # What the log was told once that it may let go, it has let go.
        self.published = max(self.published, next_seq)
        return None

    async def lose(self) -> None:
        """The store is damaged, set aside, and begun anew beside whatever runs."""
        async with self.lock:
            self.reading.forget()
            with trio.fail_after(60):
                while True:
                    try:
                        self.store.reopen(anew=True)
                        break
                    except Unavailable:
                        await trio.sleep(0.005)
                    except StorageError as error:
                        assert error.code == "store_unavailable", error
                        await trio.sleep(0.005)
            assert self.rebuild.begin(self.store, self.reading.look(), self.reading.links)
            begun = self.store.read_cursor().next_seq
            assert begun >= self.published or self.published <= 1, "the log has let go what is needed"
            self.reading.load()
            self.rebuilds += 1
            if self.choose.random() < 0.5 and self.reading.waiting():
                self.reading.pass_over(is_rebuild=True)

    async def settle(self) -> None:
        """Until the keeper has nothing more to do."""
        with trio.fail_after(60):
            while True:
                before = self.keeper.looks_total
                self.keeper.look()
                # A look that ends while a step is under way is none.
                while self.keeper.looks_total < before + 2 or self._is_busy():
                    self.keeper.look()
                    await trio.sleep(0.005)
                found = self.keeper.statistics()
                if found.state == "idle":
                    return
                assert found.state == "paused", found
                await self.read_on()
                self.clock.advance(61_000)

    def _is_busy(self) -> bool:
        return self.keeper.statistics().state in ("starting", "working")

    def rows(self) -> list[Row]:
        with self.store.reading() as connection:
            found = run(connection, "SELECT device, metric, observed_at, num, text FROM v_readings")
        return sorted(found, key=repr)

    def hours(self) -> list[tuple[object, ...]]:
        with self.store.reading() as connection:
            return run(
                connection,
                "SELECT s.device, r.begins_at, sum(r.count)::BIGINT, min(r.low), max(r.high), sum(r.sum) FROM rollup_1h r"
                " JOIN series s ON s.id = r.series WHERE s.metric = 'n' GROUP BY ALL ORDER BY ALL",
            )

    def close(self) -> None:
        self.store.close()
        self.log.close()
        self.writer.close()


async def _in_place(call: Callable[[], Any]) -> Any:
    return call()


async def _live(seed: int, folder: Path, days: int = 10) -> Box:
    box = Box(folder, seed)
    choose = box.choose
    erase_at = choose.randrange(1, days)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.write)
        await nursery.start(box.keeper.run)
        for day in range(days):
            for _ in range(4):
                box.send(choose.randrange(1, 30))
                box.clock.advance(6 * HOUR)
                what = choose.random()
                if what < 0.8:
                    await box.read_on(choose.choice((1, 3, 1_000)))
                if what < 0.3:
                    box.keeper.look()
                    await trio.sleep(choose.choice((0, 0.002, 0.02)))
                elif what < 0.5:
                    await box.read_on()
                    await box.settle()
                elif what < 0.6:
                    await box.lose()
                elif what < 0.7:
                    async with box.lock:
                        while box.store.roll_up(everything=True):
                            pass
                elif what < 0.8:
                    archived = [each.day for each in box.keeper.days() if each.generation is not None]
                    if archived:
                        try:
                            await box.keeper.restore(
                                choose.choice(archived), box.clock.now_ms() // DAY_MS + 2
                            )
                            box.restored += 1
                        except (Conflict, HomeportError):
                            box.keeper.look()
            if day == erase_at:
                await box.read_on()
                box.erasures.request("c")
                await box.settle()
                done = box.erasures.found["c"]
                assert done.state == "erased"
                box.model.erase("c", done.before_seq)
        await box.read_on()
        box.clock.advance(2 * DAY_MS)
        await box.settle()
        box.clock.advance(8 * DAY_MS)
        await box.settle()
        async with box.lock:
            while box.store.roll_up(everything=True):
                pass
        nursery.cancel_scope.cancel()
    return box


def _check(box: Box, seed: int) -> None:
    expected = sorted((row for _, row in box.model.rows), key=repr)
    found = box.rows()
    more, less = _differences(found, expected), _differences(expected, found)
    assert (more, less) == ([], []), f"seed {seed}"
    for generation in read_archive(archive_folder(box.store.path)):
        assert generation.manifest is not None, generation.problem
    assert box.hours() == box.model.hours_of("n"), f"seed {seed}"


def _differences(some: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    left: dict[Row, int] = {}
    for row in others:
        left[row] = left.get(row, 0) + 1
    more = []
    for row in some:
        if left.get(row, 0):
            left[row] -= 1
        else:
            more.append(row)
    return more[:10]


@pytest.mark.parametrize(
    ("count", "days"), [(1, 4), pytest.param(40, 10, marks=pytest.mark.long)], ids=["sample", "many"]
)
def test_every_reading_is_there_once_at_the_end_of_its_life(count: int, days: int) -> None:
    first = random.SystemRandom().randrange(1 << 32)
    print(f"seeds from {first}")
    rebuilds = 0
    for seed in range(first, first + count):
        with TemporaryDirectory() as folder:
            box = trio.run(_live, seed, Path(folder), days)
            try:
                _check(box, seed)
            finally:
                box.close()
            rebuilds += box.rebuilds
    assert rebuilds or count < 10
