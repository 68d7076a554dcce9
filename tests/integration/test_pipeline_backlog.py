"""After a long time away new readings are stored at once, and the old ones follow; what is said meanwhile is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.pipeline import needed
from appliance.pipeline import pipeline as module
from appliance.pipeline.published_cursor import PublishedCursor
from appliance.pipeline.statistics import PipelineState
from storage.log import OsDisk
from storage.log.cursor_file import read_cursor
from storage.log.reader import LogReader
from storage.telemetry.database import run
from tests.integration.test_pipeline import NOW, Site, until

BLOCK = 25


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name, ms in (("POLL_MS", 10), ("COMMIT_INTERVAL_MS_MIN", 5), ("INCIDENT_POLL_MS", 20)):
        monkeypatch.setattr(module, name, ms)
    monkeypatch.setattr(module, "BACKLOG_BATCH_MESSAGES_MAX", BLOCK)
    return Site(tmp_path)


def newest(site: Site) -> object:
    found = site.live.newest("dev-1").get("n")
    return None if found is None else found.value


async def test_new_readings_go_first_and_the_old_ones_follow(site: Site) -> None:
    for _ in range(60):
        site.write(BLOCK)
    old = site.sent
    path = site.folder / "log" / "cursors" / "pipeline"
    said = PublishedCursor(path)
    async with site.running(
        backlog_records_min=100, batch_messages_max=BLOCK, on_cursor=said.publish
    ) as pipeline:
        await until(lambda: pipeline.statistics().backlog.total > 0)
        site.write(1)
        pipeline.grew()
        await until(lambda: newest(site) == old + 1)
        statistics = pipeline.statistics()
        assert statistics.backlog.records > 0, "the new one was stored before the old ones"
        assert statistics.behind_records == statistics.backlog.records
        assert statistics.state is PipelineState.REBUILDING, "the store was empty"
        assert old + 1 in site.stored()
        assert newest(site) == old + 1
        assert read_cursor(OsDisk(), path) <= old + 1 - statistics.backlog.records
        assert statistics.behind_since_ms is None or statistics.behind_since_ms >= NOW
        await until(lambda: pipeline.statistics().state is PipelineState.RUNNING, 30)
        assert site.stored() == [*range(1, old + 2)]
        statistics = pipeline.statistics()
        assert (statistics.behind_records, statistics.messages_total, statistics.records_total) == (
            0,
            old + 1,
            old + 1,
        )
        assert site.live.newest("dev-1")["n"].value == old + 1, (
            "an old value never takes the place of a new one"
        )
        await until(lambda: read_cursor(OsDisk(), path) == old + 2)
    said.close()


async def test_a_backlog_goes_on_after_a_restart(site: Site) -> None:
    site.write(5)
    async with site.running() as pipeline:
        await until(lambda: pipeline.statistics().behind_records == 0)
    for _ in range(60):
        site.write(BLOCK)
    for _ in range(3):
        async with site.running(backlog_records_min=100, batch_messages_max=BLOCK) as pipeline:
            before = pipeline.statistics().batches_total
            await until(lambda: pipeline.statistics().batches_total >= before + 3)  # noqa: B023
            assert pipeline.statistics().state is PipelineState.CATCHING_UP
        site.write(BLOCK)
    async with site.running(backlog_records_min=10_000) as pipeline:
        await until(lambda: pipeline.statistics().state is PipelineState.RUNNING, 30)
        assert site.stored() == [*range(1, site.sent + 1)]


async def test_a_log_that_does_not_fit_is_not_passed_over(site: Site) -> None:
    site.write(10)
    async with site.running() as pipeline:
        await until(lambda: pipeline.statistics().behind_records == 0)
    site.writer.close()
    import shutil

    from tests.log_kit import open_log

    shutil.rmtree(site.folder / "log")
    site.writer = open_log(site.folder / "log")
    for _ in range(20):
        site.write(BLOCK)
    async with site.running(backlog_records_min=100) as pipeline:
        await until(lambda: pipeline.statistics().state is PipelineState.STOPPED)
        assert pipeline.statistics().backlog.total == 0
        assert site.stored() == [*range(1, 11)]


async def test_what_expired_of_a_backlog_is_counted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from appliance.core.errors import CursorExpired
    from storage.log.block import Block

    for _ in range(60):
        site.write(BLOCK)
    original = LogReader.read
    gone = 0

    def expired(self: LogReader, seq: int, *, bytes_max: int = 1 << 22) -> list[Block]:
        if seq < gone:
            raise CursorExpired("Gone.", hint="Go on.")
        return original(self, seq, bytes_max=bytes_max)

    monkeypatch.setattr(LogReader, "read", expired)
    monkeypatch.setattr(LogReader, "first_seq", lambda _: max(1, gone))
    async with site.running(backlog_records_min=100, batch_messages_max=BLOCK) as pipeline:
        await until(lambda: pipeline.statistics().batches_total >= 2)
    gone = 1_001
    async with site.running(backlog_records_min=100, batch_messages_max=BLOCK) as pipeline:
        await until(lambda: pipeline.statistics().state is PipelineState.RUNNING, 30)
        statistics = pipeline.statistics()
        assert statistics.skipped_total > 0
        assert statistics.skipped_total + len(site.stored()) == site.sent
        assert site.stored()[-500:] == [*range(1_001, 1_501)]


async def test_what_others_changed_in_the_store_is_read_again(site: Site) -> None:
    payload = b'{"ts":%d,"seq":1,"boot_id":"b","v":{"n":1}}' % NOW
    site.write(1, payload)
    async with site.running() as pipeline:
        await until(lambda: pipeline.statistics().messages_total == 1)
        await pipeline.work.run(lambda store: store.erase("dev-1"))
        pipeline.start_anew()
        await until(lambda: site.live.newest("dev-1") == {})
        site.write(1, payload.replace(b'"seq":1', b'"seq":2'))
        await until(lambda: pipeline.statistics().messages_total == 2)
        assert site.stored() == [1], "the one that came after"


async def test_what_the_log_must_keep_is_said_also_while_nothing_comes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from appliance.core.clock import SystemClock
    from appliance.pipeline.rebuild import Rebuild
    from storage.telemetry.snapshot import snapshots

    monkeypatch.setattr(needed, "NEEDED_INTERVAL_MS", 20)
    said: list[int] = []
    folder = site.folder / "archive" / "state"
    rebuild = Rebuild(folder, published=lambda: 0, clock=SystemClock())
    site.write(5)
    async with site.running(rebuild=rebuild, on_cursor=lambda seq: said.append(seq)) as pipeline:
        await until(lambda: pipeline.statistics().behind_records == 0)
        assert len(snapshots(folder)) == 1
        await until(lambda: len(said) > 3)
        # The day is archived: nothing of it is needed any more, but the copy that a rebuild begins with.
        await pipeline.work.run(
            lambda store: run(
                store._connection,
                "UPDATE days SET generation = 1, first_seq = 6, archived_numbers = 99, archived_texts = 99",
            )
        )
        for path in folder.iterdir():
            path.rename(folder / "1-6.state")
        await until(lambda: said[-1] == 6)
