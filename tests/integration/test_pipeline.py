"""A real log, a real store, and the pipeline between them: what an operator would notice."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.core.clock import SystemClock
from appliance.core.errors import LogDamaged, StorageError, Unavailable
from appliance.pipeline import pipeline as module
from appliance.pipeline.breaker import BreakerState
from appliance.pipeline.directory import DeviceDirectory
from appliance.pipeline.live import LiveView
from appliance.pipeline.pipeline import Pipeline
from appliance.pipeline.published_cursor import PublishedCursor
from appliance.pipeline.statistics import PipelineState
from storage.log import OsDisk
from storage.log.block import Block
from storage.log.cursor_file import read_cursor
from storage.log.reader import LogReader
from storage.log.writer import LogWriter
from storage.telemetry import store as store_module
from storage.telemetry import writing
from storage.telemetry.batch import Cursor
from storage.telemetry.database import StoreDamaged, StoreUnavailable, run
from storage.telemetry.store import TelemetryStore
from tests.log_kit import Record, append, open_log
from tests.pipeline_kit import EveryDevice

pytestmark = pytest.mark.usefixtures("quick")
NOW = 1_700_000_000_000


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll often and wait little."""
    for name, ms in (
        ("POLL_MS", 10),
        ("COMMIT_INTERVAL_MS_MIN", 5),
        ("INCIDENT_POLL_MS", 20),
        ("TIDY_AFTER_MS", 0),
    ):
        monkeypatch.setattr(module, name, ms)
    monkeypatch.setattr("appliance.pipeline.breaker.DELAY_MS_MIN", 10)


class Site:
    """A log and a store in one folder, and a pipeline that may be started again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: LogWriter = open_log(folder / "log")
        self.sent = 0

    def write(self, count: int = 1, payload: bytes | None = None, **options: Any) -> None:
        """Append a block of readings `n` that count on."""
        records = []
        for _ in range(count):
            self.sent += 1
            records.append(Record(payload or b'{"n":%d}' % self.sent, at_ms=NOW + self.sent, **options))
        append(self.writer, records)

    @asynccontextmanager
    async def running(
        self, directory: DeviceDirectory | None = None, **options: Any
    ) -> AsyncIterator[Pipeline]:
        async with self.built(directory, **options) as pipeline, trio.open_nursery() as nursery:
            await nursery.start(pipeline.run)
            yield pipeline
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def built(
        self, directory: DeviceDirectory | None = None, **options: Any
    ) -> AsyncIterator[Pipeline]:
        """A pipeline that doesn't run yet."""
        store = TelemetryStore.open(self.folder / "telemetry.duckdb")
        reader = LogReader(self.folder / "log")
        self.store, self.live = store, LiveView(SystemClock())
        pipeline = Pipeline(
            reader=reader, store=store, mappings=options.pop("mappings", []), directory=directory or EveryDevice(),
            clock=SystemClock(), live=self.live, **options
        )  # fmt: skip
        try:
            yield pipeline
        finally:
            reader.close()
            store.close()

    def stored(self) -> list[float]:
        with self.store.reading() as connection:
            return [
                row[0]
                for row in run(connection, "SELECT num FROM v_readings WHERE metric = 'n' ORDER BY num")
            ]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def until(condition: Callable[[], bool], deadline_s: float = 10) -> None:
    with trio.fail_after(deadline_s):
        while not condition():  # noqa: ASYNC110 - the pipeline tells nobody; this is what a page does
            await trio.sleep(0.005)


async def test_what_is_logged_becomes_rows_and_is_shown(site: Site) -> None:
    site.write(3)
    async with site.running() as pipeline:
        await until(lambda: pipeline.statistics().behind_records == 0)
        site.write(2)
        pipeline.grew()
        await until(lambda: pipeline.statistics().messages_total == 5)
        assert site.stored() == [1, 2, 3, 4, 5]
        assert site.live.newest("dev-1")["n"].value == 5
        statistics = pipeline.statistics()
        assert (statistics.state, statistics.rows_total, statistics.lag_s) == (PipelineState.RUNNING, 5, 0.0)
        assert statistics.cursor.next_seq == 6
        assert statistics.lag_p95_s is not None
        assert statistics.incident == ""


async def test_a_restart_goes_on_where_the_store_is(site: Site) -> None:
    for start in (0, 10, 20):
        async with site.running() as pipeline:
            site.write(10)
            await until(lambda: pipeline.statistics().messages_total == start + 10)  # noqa: B023
        assert site.sent == start + 10
    async with site.running() as pipeline:
        assert site.stored() == [*range(1, 31)]
        assert site.live.newest("dev-1")["n"].value == 30
        assert pipeline.statistics().messages_total == 30


async def test_the_log_is_told_what_is_in_the_store_and_keeps_the_rest(site: Site) -> None:
    """Segments go up to the published cursor, never beyond; a restart publishes where the store is."""
    path = site.folder / "log" / "cursors" / "pipeline"
    said = PublishedCursor(path)
    site.write(3)
    async with site.running(on_cursor=said.publish) as pipeline:
        await until(lambda: read_cursor(OsDisk(), path) == 4)
        assert pipeline.statistics().cursor.next_seq == 4
    said.close()
    site.write(5)
    assert read_cursor(OsDisk(), path) == 4, "what nobody has stored is still needed"
    path.unlink()
    again = PublishedCursor(path)
    async with site.running(on_cursor=again.publish):
        await until(lambda: read_cursor(OsDisk(), path) == 9)
    again.close()


async def test_a_cursor_that_can_not_be_published_is_shown_and_nothing_stops(site: Site) -> None:
    problem = StorageError("The cursor is stuck.", hint="Look at the disk.")
    async with site.running(on_cursor=lambda _next_seq: problem) as pipeline:
        site.write(2)
        await until(lambda: pipeline.statistics().messages_total == 2)
        await until(lambda: pipeline.statistics().incident == "The cursor is stuck.")
        site.write(2)
        await until(lambda: pipeline.statistics().messages_total == 4)


async def test_many_small_blocks_are_few_commits(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMIT_INTERVAL_MS_MIN", 100)
    async with site.running() as pipeline:
        for _ in range(50):
            site.write()
            pipeline.grew()
            await trio.sleep(0.004)
        await until(lambda: pipeline.statistics().messages_total == 50)
        assert pipeline.statistics().batches_total < 12
        assert site.stored() == [*range(1, 51)]


async def test_a_failing_store_is_waited_for_and_nothing_is_lost_or_doubled(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0
    original = writing.write_batch

    def fails(*args: Any) -> Any:
        nonlocal failures
        made = original(*args)
        failures += 1
        if failures <= 5:
            raise StoreUnavailable("No.", hint="Wait.")
        return made

    monkeypatch.setattr(store_module, "write_batch", fails)
    async with site.running() as pipeline:
        site.write(10)
        await until(lambda: pipeline.statistics().commit_failures_total == 2)
        statistics = pipeline.statistics()
        assert statistics.state is PipelineState.WAITING
        assert statistics.behind_records == 10
        assert statistics.incident == "No."
        site.write(10)
        await until(lambda: pipeline.statistics().messages_total == 20)
        statistics = pipeline.statistics()
        assert (statistics.breaker, statistics.incident) == (BreakerState.CLOSED, "")
        assert statistics.breaker_opened_total == 5
        assert site.stored() == [*range(1, 21)]


async def test_a_commit_past_its_deadline_is_interrupted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = True
    original = writing.write_batch

    def slow(connection: Any, *args: Any) -> Any:
        nonlocal hangs
        if hangs:
            hangs = False
            run(connection, "SELECT count(*) FROM range(1000000000) a, range(1000000) b")
        return original(connection, *args)

    monkeypatch.setattr(store_module, "write_batch", slow)
    async with site.running(commit_deadline_ms=100) as pipeline:
        site.write(10)
        await until(lambda: pipeline.statistics().messages_total == 10)
        assert pipeline.statistics().commit_failures_total == 1
        assert site.stored() == [*range(1, 11)]


async def test_a_store_damaged_while_it_runs_is_rebuilt_from_the_log(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site.running() as pipeline:
        site.write(20)
        await until(lambda: pipeline.statistics().messages_total == 20)
        original, path = writing.write_batch, site.store.path

        def damaged(*args: Any) -> Any:
            monkeypatch.setattr(store_module, "write_batch", original)
            shutil.copy(__file__, path)  # not what was in it
            raise StoreDamaged("Bad block.", hint="Rebuild.")

        monkeypatch.setattr(store_module, "write_batch", damaged)
        site.write(5)
        await until(lambda: pipeline.statistics().messages_total == 25)
        assert site.stored() == [*range(1, 26)]
        assert site.store.set_aside_path is not None
        assert pipeline.statistics().state is PipelineState.RUNNING


async def test_a_store_that_is_gone_says_rebuilding(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = trio.Event()

    class Held(EveryDevice):
        async def known(self, device_ids: Sequence[str]) -> Collection[str]:
            await gate.wait()
            return device_ids

    site.write(50)
    async with site.running(Held()) as pipeline:
        assert pipeline.statistics().state is PipelineState.REBUILDING
        gate.set()
        await until(lambda: pipeline.statistics().state is PipelineState.RUNNING)
        assert len(site.stored()) == 50


async def test_strangers_are_refused_or_kept_as_the_directory_says(site: Site) -> None:
    class Directory:
        contacts: list[str] = []  # noqa: RUF012

        async def known(self, device_ids: Sequence[str]) -> Collection[str]:
            return [device for device in device_ids if device == "dev-1"]

        async def of_site(self, device_ids: Sequence[str]) -> Collection[str]:
            return device_ids

        async def first_contact(self, device_ids: Sequence[str]) -> Collection[str]:
            self.contacts += device_ids
            return [device for device in device_ids if device == "waiting"]

    site.write(1)
    site.write(1, topic=b"dm/waiting/telemetry")
    site.write(1, topic=b"dm/stranger/telemetry")
    async with site.running(Directory()) as pipeline:
        await until(lambda: pipeline.statistics().behind_records == 0)
        assert site.stored() == [1, 2]
        assert (pipeline.statistics().dead_letters_total, pipeline.statistics().dead_letters) == (1, 1)
        assert set(Directory.contacts) == {"waiting", "stranger"}
        pipeline.forget_devices()
        site.write(1)
        await until(lambda: pipeline.statistics().messages_total == 3)


@pytest.mark.parametrize("error", [Unavailable("Busy.", hint="Wait."), StorageError("Busy.", hint="Wait.")])
async def test_a_directory_that_cannot_say_is_asked_again(site: Site, error: Exception) -> None:
    class Directory(EveryDevice):
        asked = 0

        async def known(self, device_ids: Sequence[str]) -> Collection[str]:
            Directory.asked += 1
            if Directory.asked < 3:
                raise error
            return device_ids

    Directory.asked = 0
    site.write(3)
    async with site.running(Directory()) as pipeline:
        await until(lambda: pipeline.statistics().messages_total == 3)
        assert pipeline.statistics().incident == ""


async def test_a_cursor_beyond_the_head_is_shown_and_nothing_is_touched(site: Site) -> None:
    async with site.running() as pipeline:
        site.write(5)
        await until(lambda: pipeline.statistics().messages_total == 5)
    site.writer.close()
    shutil.rmtree(site.folder / "log")
    site.writer = open_log(site.folder / "log")
    async with site.running() as pipeline:
        await until(lambda: pipeline.statistics().state is PipelineState.STOPPED)
        assert "ends at" in pipeline.statistics().incident
        assert pipeline.statistics().hint
        site.write(10)  # another log, now longer than the cursor: still not the one that was read
        await until(lambda: "does not go on" in pipeline.statistics().incident)
        assert site.stored() == [1, 2, 3, 4, 5]


async def test_a_damaged_range_is_skipped_and_counted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        site.write(5)
    original = LogReader.read

    def damaged(self: LogReader, seq: int, *, bytes_max: int = 1 << 22) -> list[Block]:
        blocks = [block for block in original(self, seq, bytes_max=bytes_max) if block.first_seq != 6]
        if seq == 6:
            raise LogDamaged("Flipped.", first_seq=6, next_seq=11, hint="Restore it.")
        return blocks[:1] if seq == 1 else blocks

    monkeypatch.setattr(LogReader, "read", damaged)
    async with site.running() as pipeline:
        await until(lambda: pipeline.statistics().behind_records == 0)
        assert site.stored() == [*range(1, 6), *range(11, 21)]
        assert pipeline.statistics().skipped_total == 5


async def test_a_block_that_cannot_be_decoded_is_skipped_alone(site: Site) -> None:
    site.write(5)
    site.writer.append(b"not columns", 3, NOW, NOW)
    site.sent += 3
    site.write(5)
    async with site.running() as pipeline:
        await until(lambda: pipeline.statistics().behind_records == 0)
        assert site.stored() == [*range(1, 6), *range(9, 14)]
        assert pipeline.statistics().skipped_total == 3


async def test_expired_records_are_skipped_and_counted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from appliance.core.errors import CursorExpired

    site.write(5)
    site.write(5)
    original = LogReader.read

    def expired(self: LogReader, seq: int, *, bytes_max: int = 1 << 22) -> list[Block]:
        if seq < 6:
            raise CursorExpired("Gone.", hint="Go on.")
        return original(self, seq, bytes_max=bytes_max)

    monkeypatch.setattr(LogReader, "read", expired)
    monkeypatch.setattr(LogReader, "first_seq", lambda _: 6)
    async with site.running() as pipeline:
        await until(lambda: pipeline.statistics().behind_records == 0)
        assert site.stored() == [*range(6, 11)]
        assert pipeline.statistics().skipped_total == 5


async def test_quiet_time_tidies_the_store(site: Site) -> None:
    async with site.running() as pipeline:
        site.write(5)
        await until(lambda: pipeline.statistics().messages_total == 5)
        await until(lambda: site.store.statistics().checkpoints_total == 1)
        assert site.store.statistics().wal_bytes == 0
        site.write(1)
        await until(lambda: pipeline.statistics().messages_total == 6)


async def test_cancelling_finishes_the_commit_under_way(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    original = writing.write_batch
    entered, go_on = threading.Event(), threading.Event()

    def held(*args: Any) -> Any:
        entered.set()
        go_on.wait(5)
        return original(*args)

    monkeypatch.setattr(store_module, "write_batch", held)
    async with site.running():
        site.write(5)
        await until(entered.is_set)
        threading.Timer(0.1, go_on.set).start()
    monkeypatch.undo()
    async with site.running() as pipeline:
        assert pipeline.statistics().cursor.next_seq == 6
        assert pipeline.statistics().cursor != Cursor()
