"""Two nodes' catalogs over real streams: what is changed on one holds on the other, from a record of the other's own log on."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.core.clock import ManualClock, SystemClock
from appliance.core.config import Config, NodeConfig
from appliance.management.audit import Act
from appliance.management.mapping import TopicMapping
from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import Threshold
from appliance.management.twin import SectionChange, TwinChange
from appliance.pipeline.mapping_desk import MappingDesk
from appliance.pipeline.rule_set_desk import RuleSetDesk
from appliance.run import catalog_following
from appliance.run.catalog_following import CatalogFollowing
from appliance.run.catalog_streaming import CatalogStreaming
from appliance.run.writing_permit import WritingPermit
from storage.catalog import AsyncCatalog, Catalog, Change
from storage.catalog.merging import Arrived, Followed
from storage.log.reader import LogReader
from tests.storage_log_kit import NODE_ID, KitSigner
from tests.unit.test_storage_catalog_stream_histories import write as write_stream

ACT = Act(action="test")
ABOVE = RuleDefinition(
    severity="P2", scope=RuleScope(all=True), metric="t", condition=Threshold(is_="above", limit=80)
)


@dataclass
class Node:
    catalog: AsyncCatalog
    following: CatalogFollowing
    rules: RuleSetDesk
    mappings: MappingDesk
    wanted: list[str]


ALONE = WritingPermit(
    dataclasses.replace(Config(), node=NodeConfig(data_dir=Path("/nowhere"))), clock=SystemClock()
)
"""Nobody is asked: its data folder belongs to no fleet."""


@asynccontextmanager
async def node(folder: Path, number: int, others: tuple[int, ...]) -> AsyncIterator[Node]:
    """One of a site's nodes; the copies that it reads are the others' own streams."""
    node_id, here = bytes([number]) * 16, folder / str(number)
    (here / "fleet").mkdir(parents=True, exist_ok=True)
    clock = SystemClock()
    wanted: list[str] = []
    async with AsyncCatalog.opened(here / "catalog.db", clock=clock, node_id=node_id) as catalog:
        rules = await RuleSetDesk.opened(catalog, lambda: (1, 10 * number))
        mappings = await MappingDesk.opened(catalog, LogReader(here / "telemetry"), ())
        streaming = CatalogStreaming(
            catalog,
            here / "log",
            data_dir=here,
            node_id=node_id,
            signer=KitSigner(),
            clock=clock,
            permit=ALONE,
        )
        following = CatalogFollowing(
            catalog,
            lambda: {(bytes([other]) * 16).hex(): folder / str(other) / "log" for other in others},
            fleet=here / "fleet",
            rules=rules,
            mappings=mappings,
            head=lambda: (1, 10 * number),
            clock=clock,
            on_twins=wanted.extend,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(streaming.run)
            nursery.start_soon(following.run)
            yield Node(catalog, following, rules, mappings, wanted)
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - what is waited for is in files and numbers
            await trio.sleep(0.02)


async def holds(catalog: AsyncCatalog, found: Callable[[Catalog], object]) -> None:
    with trio.fail_after(30):
        while not await catalog.read(found):  # noqa: ASYNC110 - what is waited for is in a file
            await trio.sleep(0.02)


async def test_rules_mappings_and_erasures_of_one_node_hold_on_the_other(tmp_path: Path) -> None:
    async with node(tmp_path, 1, (2,)) as one, node(tmp_path, 2, (1,)) as two:
        async with one.rules.changing() as position:
            rule = await one.catalog.write(
                lambda catalog: catalog.add_rule("Warm", ABOVE, position=position, by="ada"), by=ACT
            )
        await until(lambda: two.rules.sets.newest_number == 1)
        (version,) = await two.catalog.read(lambda catalog: catalog.list_rule_versions())
        assert (version.rule_id, version.from_seq, version.changed_by) == (rule.rule_id, 20, "another node")
        async with one.mappings.changing() as record:

            def write(catalog: Catalog) -> None:
                catalog.add_mapping(TopicMapping(pattern="plant/{device}/raw", format="text", metric="raw"))
                record(catalog)

            await one.catalog.write(write, by=ACT)
        await until(lambda: any(each.metric == "raw" for each in two.mappings.sets.newest.mappings))
        await one.catalog.write(
            lambda catalog: catalog.request_erasure("pump-1", epoch=1, before_seq=7), by=ACT
        )
        await holds(two.catalog, lambda catalog: "pump-1" in catalog.erasures_for_pipeline())
        assert await two.catalog.read(lambda catalog: catalog.erasures_for_pipeline()) == {"pump-1": (1, 20)}
        # The one that follows it comes back, and is followed by nothing.
        await until(lambda: one.following.statistics()["lag_records"] == 0)
        await holds(one.catalog, lambda catalog: len(catalog.list_erasures()) == 2)
        assert await one.catalog.read(lambda catalog: catalog.erasures_for_pipeline()) == {"pump-1": (1, 7)}


async def test_who_tells_devices_hears_of_twins_that_were_changed_elsewhere(tmp_path: Path) -> None:
    async with node(tmp_path, 1, ()) as one, node(tmp_path, 2, (1,)) as two:
        change = TwinChange(desired=SectionChange(values={"a": 1}))

        def write(catalog: Catalog) -> None:
            catalog.add_device("pump-1")
            catalog.update_twin("pump-1", "tuning", change)

        await one.catalog.write(write, by=ACT)
        await until(lambda: two.wanted == ["pump-1"])


async def test_whoever_listens_hears_of_it_and_a_rule_that_is_removed_is_over(tmp_path: Path) -> None:
    heard: list[Change] = []
    async with node(tmp_path, 1, ()) as one, node(tmp_path, 2, (1,)) as two:
        two.catalog.subscribe(heard.extend)
        rule = await one.catalog.write(
            lambda catalog: catalog.add_rule("Warm", ABOVE, position=(1, 1), by="ada"), by=ACT
        )
        await until(lambda: two.rules.sets.newest_number == 1)
        assert Change("rules", rule.rule_id) in heard
        await one.catalog.write(
            lambda catalog: catalog.remove_rule(rule.rule_id, position=(1, 2), by="ada"), by=ACT
        )
        await until(lambda: two.rules.sets.newest_number == 2)
        last = (await two.catalog.read(lambda catalog: catalog.list_rule_versions()))[-1]
        assert last.definition is None
        numbers = two.following.statistics()
        assert numbers["nodes"] == 1
        assert numbers["applied_total"] > 0
        assert numbers["failures_total"] == 0


async def test_what_a_node_had_not_come_to_is_done_at_its_next_start(tmp_path: Path) -> None:
    async with node(tmp_path, 1, ()) as one:
        await one.catalog.write(
            lambda catalog: catalog.add_rule("Warm", ABOVE, position=(1, 1), by="ada"), by=ACT
        )
        rows = await one.catalog.read(lambda catalog: catalog.outbox_count() or 1)
        assert rows
        async with AsyncCatalog.opened(
            tmp_path / "2.db", clock=ManualClock(), node_id=bytes([2]) * 16
        ) as catalog:
            # Applied, and ended before anything followed from it.
            following = CatalogFollowing(
                catalog,
                lambda: {(bytes([1]) * 16).hex(): tmp_path / "1" / "log"},
                fleet=tmp_path / "1" / "fleet",
                rules=await RuleSetDesk.opened(catalog, lambda: (1, 5)),
                mappings=await MappingDesk.opened(catalog, LogReader(tmp_path / "telemetry"), ()),
                head=lambda: (1, 5),
                clock=SystemClock(),
            )
            newer = Arrived(seq=1, payload=b"\x91\x02", change=None, refused="newer", is_newer=True)
            stream = Followed(node_id=(bytes([1]) * 16).hex(), epoch=1, next_seq=1, hash=b"")
            await catalog.write(lambda writer: writer.apply_records(stream, [newer]), by=ACT)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(following.run)
                await holds(catalog, lambda reader: reader.list_rule_versions())
                nursery.cancel_scope.cancel()
            assert await catalog.read(lambda reader: reader.count_set_aside()) == 1


async def test_a_box_without_peers_follows_nobody(tmp_path: Path) -> None:
    async with AsyncCatalog.opened(tmp_path / "c.db", clock=ManualClock(), node_id=bytes(16)) as catalog:
        following = CatalogFollowing(
            catalog,
            lambda: {"ab" * 16: tmp_path},
            fleet=tmp_path / "fleet",
            rules=await RuleSetDesk.opened(catalog, lambda: (1, 5)),
            mappings=await MappingDesk.opened(catalog, LogReader(tmp_path / "telemetry"), ()),
            head=lambda: (1, 5),
            clock=SystemClock(),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(following.run)
            await trio.testing.wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()
        assert set(following.statistics().values()) == {0}


async def test_of_a_fork_the_other_history_is_taken_over_and_then_the_one_of_the_higher_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_following, "LOOK_INTERVAL_S", 0.05)
    whole = tmp_path / "copies" / "catalog"
    whole.parent.mkdir()
    (tmp_path / "fleet").mkdir()
    write_stream(whole, "a", "b")
    write_stream(whole.with_name("catalog.fork-0123abcd"), "a")
    write_stream(whole.with_name("catalog.fork-0123abcd"), "c", epoch=2)
    where = [whole]
    clock = SystemClock()
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=bytes([2]) * 16) as catalog:
        following = CatalogFollowing(
            catalog,
            lambda: {NODE_ID.hex(): where[-1]},
            fleet=tmp_path / "fleet",
            rules=await RuleSetDesk.opened(catalog, lambda: (1, 1)),
            mappings=await MappingDesk.opened(catalog, LogReader(tmp_path / "telemetry"), ()),
            head=lambda: (1, 1),
            clock=clock,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(following.run)
            await holds(catalog, lambda reader: len(reader.list_devices().devices) == 2)
            where.append(whole.with_name("catalog.fork-0123abcd"))
            await holds(catalog, lambda reader: len(reader.list_devices().devices) == 3)
            nursery.cancel_scope.cancel()
