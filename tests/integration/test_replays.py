"""Dead letters read again: once, by the mappings that hold, whatever is killed when; and by a rebuild in the same way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.core.clock import SystemClock
from appliance.core.errors import StorageError
from appliance.management.audit import Act
from appliance.management.mapping import FieldRule, TopicMapping
from appliance.pipeline import replay_desk as module
from appliance.pipeline.kept_messages import KeptMessages
from appliance.pipeline.mapping_desk import MappingDesk
from appliance.pipeline.pipeline import Pipeline
from appliance.pipeline.replay_desk import ReplayDesk
from storage.catalog import AsyncCatalog
from storage.catalog.replays import PartDone, Replay
from storage.log.reader import LogReader
from storage.telemetry import letters, replaying
from storage.telemetry.database import run
from tests.integration.test_pipeline import Site, quick, site, until
from tests.log_kit import Record, append
from tests.pipeline_kit import EveryDevice

__all__ = ["quick", "site"]
pytestmark = pytest.mark.usefixtures("quick")
ACT = Act(action="dead_letters.replay")
TOPIC = b"plant/dev-1/level"
CONFIGURED = TopicMapping(pattern="plant/{device}/level")
"""A plain value has no name by it."""
MENDED = TopicMapping(pattern="plant/{device}/level", metric="level")


class Node:
    """What the node process is made of, as far as replays go; the catalog and the log outlive it."""

    def __init__(self, site: Site, catalog: AsyncCatalog) -> None:
        self.site, self.catalog = site, catalog
        self.desk: MappingDesk
        self.pipeline: Pipeline
        self.replays: ReplayDesk

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        folder = self.site.folder
        self.desk = await MappingDesk.opened(self.catalog, LogReader(folder / "log"), [CONFIGURED])
        async with self.site.built(mappings=self.desk.sets) as pipeline:
            self.pipeline = pipeline
            self.replays = ReplayDesk(
                catalog=self.catalog, pipeline=pipeline, store=self.site.store, sets=self.desk.sets, directory=EveryDevice(),
                kept=KeptMessages(LogReader(folder / "log"), SystemClock().mono_ms), poll_s=0.01,
            )  # fmt: skip
            await self.replays.prepare()
            async with trio.open_nursery() as nursery:
                await nursery.start(pipeline.run)
                nursery.start_soon(self.replays.run)
                yield
                nursery.cancel_scope.cancel()

    async def mend(self, mapping: TopicMapping = MENDED) -> None:
        async with self.desk.changing() as record:
            await self.catalog.write(lambda c: (c.add_mapping(mapping, position=1), record(c)), by=ACT)

    async def ask(self, **wish: Any) -> str:
        head = LogReader(self.site.folder / "log").head()
        made: Replay = await self.catalog.write(
            lambda c: c.request_replay(epoch=head.epoch, at_seq=head.next_seq, **wish), by=ACT
        )
        return made.replay_id

    async def done(self, replay_id: str) -> Replay:
        with trio.fail_after(60):
            while True:
                found = await self.catalog.read(lambda c: c.get_replay(replay_id))
                if found.state == "done":
                    return found
                await trio.sleep(0.01)

    def rows(self) -> list[tuple[Any, ...]]:
        with self.site.store.reading() as connection:
            return run(
                connection, "SELECT device, metric, observed_at, num, quality FROM v_readings ORDER BY ALL"
            )

    def letters(self) -> list[tuple[Any, ...]]:
        with self.site.store.reading() as connection:
            found = run(connection, "SELECT epoch, seq, reason, payload FROM dead_letters ORDER BY ALL")
        assert self.site.store.dead_letters == len(found), "what pages and status say of them"
        return found

    def totals(self) -> tuple[int, ...]:
        now = self.pipeline.statistics()
        return (
            now.records_total,
            now.messages_total,
            now.rows_total,
            now.duplicates_total,
            now.dead_letters_total,
        )


@pytest.fixture
async def node(site: Site, tmp_path: Path) -> AsyncIterator[Node]:
    async with AsyncCatalog.opened(
        tmp_path / "catalog.db", clock=SystemClock(), node_id=bytes(16)
    ) as catalog:
        yield Node(site, catalog)


def send(node: Node, *payloads: bytes, topic: bytes = TOPIC, at_ms: int = 1_700_000_000_000) -> None:
    append(
        node.site.writer,
        [Record(payload, topic=topic, at_ms=at_ms + n) for n, payload in enumerate(payloads)],
    )


def remove_store(folder: Path) -> None:
    for path in folder.glob("telemetry.duckdb*"):
        path.unlink()


async def has_read(node: Node) -> None:
    end = LogReader(node.site.folder / "log").head().next_seq
    await until(
        lambda: node.pipeline.reading.position is not None and node.pipeline.reading.position[1] == end
    )


async def test_letters_become_readings_by_a_mended_mapping_and_what_is_still_dead_stays(node: Node) -> None:
    async with node.running():
        send(node, b"1.5", b"2.5", b"{")
        await has_read(node)
        assert [letter[2] for letter in node.letters()] == ["no_metric", "no_metric", "bad_json"]
        await node.mend()
        send(node, b"9.5", at_ms=1_700_000_000_010)
        await has_read(node)
        done = await node.done(await node.ask(pattern="plant/{device}/level"))
        assert (done.letter_count, done.message_count, done.row_count, done.still_dead) == (3, 2, 2, 1)
        assert [row[3] for row in node.rows()] == [1.5, 2.5, 9.5]
        assert [(letter[1], letter[2]) for letter in node.letters()] == [(3, "bad_json")]
        assert node.site.live.newest("dev-1")["level"].value == 9.5
        assert node.totals() == (4, 3, 3, 0, 3)
        again = await node.done(await node.ask())
        assert (again.letter_count, again.message_count, again.still_dead) == (1, 0, 1)
        assert node.replays.statistics().messages_total == 2


async def test_only_letters_that_are_meant_are_read_again(node: Node) -> None:
    async with node.running():
        send(node, b"1")
        send(node, b"2", topic=b"plant/dev-2/level")
        await has_read(node)
        await node.mend()
        for wish in ({"device_id": "dev-2"}, {"reason": "no_metric", "pattern": "plant/{device}/level"}):
            done = await node.done(await node.ask(**wish))
            assert done.message_count == 1
        assert [row[0] for row in node.rows()] == ["dev-1", "dev-2"]
        assert (await node.done(await node.ask(reason="bad_ts"))).letter_count == 0


async def test_a_replay_waits_until_the_newest_mappings_hold_where_the_store_is(node: Node) -> None:
    async with node.running():
        send(node, b"1")
        await has_read(node)
    async with node.running():
        node.site.store.interrupt()
        await node.mend()
        replay_id = await node.ask()
        assert (await node.done(replay_id)).message_count == 1


async def test_what_was_sent_twice_is_stored_once_and_in_the_boot_it_was_sent_in(node: Node) -> None:
    """Numbers begin again with each boot: `seq` 1 of boot b is not that of boot a, and neither is a later one's."""
    status = b"dm/dev-1/status"

    def point(seq: int, level: int) -> bytes:
        return b'{"seq": %d, "ts": 1700000000000, "v": {"l": %d}}' % (seq, level)

    async with node.running():
        await node.mend(TopicMapping(pattern="plant/{device}/level", format="cbor"))
        for boot in (b"a", b"b", b"c"):
            send(node, b'{"state": "online", "boot_id": "%s"}' % boot, topic=status)
            for _ in range(2):
                send(node, point(1, boot[0]), point(2, boot[0] + 100))
        await has_read(node)
        assert len(node.letters()) == 12
        await node.mend()
        done = await node.done(await node.ask())
        assert (done.message_count, done.row_count, done.still_dead) == (6, 6, 0)
        assert [row[3] for row in node.rows()] == [97, 98, 99, 197, 198, 199]
        assert node.totals()[3] == 6
        send(node, point(2, 199))
        await has_read(node)
        assert node.totals()[3] == 7


async def test_a_message_refused_for_its_name_is_not_its_own_duplicate(node: Node) -> None:
    only = (FieldRule(path="nothing", metric="like_it"),)
    async with node.running():
        await node.mend(TopicMapping(pattern="plant/{device}/level", fields=only, only_fields=True))
        send(node, b'{"seq": 1, "boot_id": "a", "v": {"l": 1}}', b'{"seq": 1, "boot_id": "a", "v": {"l": 1}}')
        await has_read(node)
        assert [letter[2] for letter in node.letters()] == ["no_values"]
        assert (await node.done(await node.ask())).still_dead == 1
        await node.mend()
        assert (await node.done(await node.ask())).row_count == 1
        assert [row[1:4:2] for row in node.rows()] == [("level.l", 1)]


@pytest.mark.parametrize("point", ["before", "after"])
async def test_a_node_that_ends_around_a_part_goes_on_without_doing_it_twice(
    node: Node, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setattr(module, "REPLAY_PART_LETTER_COUNT_MAX", 2)
    whole = ReplayDesk._tell
    calls = 0

    async def torn(self: ReplayDesk, *args: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            # The store has the second part; the catalog hears of it, or not, before the process is gone.
            if point == "after":
                await whole(self, *args, **options)
            await trio.sleep_forever()
        await whole(self, *args, **options)

    async with node.running():
        send(node, *(b"%d" % n for n in range(7)))
        await has_read(node)
        await node.mend()
        monkeypatch.setattr(ReplayDesk, "_tell", torn)
        replay_id = await node.ask()
        await until(lambda: calls == 2)
    monkeypatch.setattr(ReplayDesk, "_tell", whole)
    async with node.running():
        done = await node.done(replay_id)
        assert (done.letter_count, done.row_count, len(done.parts)) == (7, 7, 4)
        assert sorted(row[3] for row in node.rows()) == [*range(7)]
        assert node.letters() == []


async def test_a_store_that_fails_while_letters_are_read_again_loses_and_doubles_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 2
    whole: Callable[..., None] = letters.note_part

    def failing(*args: Any) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise StorageError("torn", hint="")
        whole(*args)

    async with node.running():
        send(node, b"1", b"2")
        await has_read(node)
        await node.mend()
        monkeypatch.setattr(replaying, "note_part", failing)
        done = await node.done(await node.ask())
        assert (done.row_count, failures < 0) == (2, True)
        assert [row[3] for row in node.rows()] == [1, 2]


async def test_a_rebuild_reads_the_same_letters_again_at_the_same_place(node: Node, tmp_path: Path) -> None:
    async with node.running():
        send(node, b"1", b"2", b"{")
        await has_read(node)
        await node.mend()
        first = await node.done(await node.ask())
        send(node, b"3", b"[")
        await has_read(node)
        await node.mend(TopicMapping(pattern="plant/{device}/level", metric="renamed"))
        send(node, b"4")
        await has_read(node)
        await node.done(await node.ask())
        rows, dead, totals = node.rows(), node.letters(), node.totals()
    assert first.parts[0].at_seq == 4
    remove_store(tmp_path)
    async with node.running():
        await has_read(node)
        await until(lambda: node.totals() == totals)
        assert (node.rows(), node.letters()) == (rows, dead)
        assert [row[1] for row in rows] == ["level", "level", "level", "renamed"]


async def test_replays_of_a_log_that_is_gone_hold_nobody_up(node: Node) -> None:
    position = PartDone(epoch=1, at_seq=5_000, after=(-1, 0), through=(1, 4_000))
    old = await node.catalog.write(lambda c: c.request_replay(epoch=1, at_seq=5_000), by=ACT)
    await node.catalog.write(
        lambda c: c.note_replay(
            old.replay_id, parts=[position], letters=1, messages=1, rows=1, still_dead=0, state="done"
        ),
        by=ACT,
    )
    async with node.running():
        send(node, b"1")
        await has_read(node)
        await node.mend()
        assert (await node.done(await node.ask())).row_count == 1
