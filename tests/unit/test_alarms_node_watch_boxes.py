"""A cloud node watches the boxes of all sites: an alarm for each, that ends by itself or when the box is gone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from appliance.alarms.book import AlarmBook
from appliance.alarms.node_watch import NodeWatcher
from appliance.core.clock import ManualClock
from appliance.management.alarm import Alarm
from appliance.management.node_watches import RULE_PREFIX, definition_of
from storage.catalog import AsyncCatalog, Catalog
from tests.acts import ACT

RULES = ("site_rpo", "site_rpo_long")
IDS = [RULE_PREFIX + name for name in RULES]
MILL, QUARRY = "mill/a1a1a1a1", "quarry/a2a2a2a2"


class World:
    """A cloud node's watcher over a real catalog; times in seconds."""

    def __init__(self, catalog: AsyncCatalog, clock: ManualClock) -> None:
        self.catalog, self.clock = catalog, clock
        self.risks: Mapping[str, float | None] | None = {}
        self.suffix = ""
        self.watcher = self.started()

    def started(self) -> NodeWatcher:
        book = AlarmBook(clock=self.clock, flap_ms=0, wait_ms=0)
        return NodeWatcher(
            self.catalog, book, self.none, clock=self.clock, suffix=lambda: self.suffix, boxes=self.boxes
        )

    async def none(self) -> Mapping[str, float | None]:
        return {}

    async def boxes(self) -> Mapping[str, Mapping[str, float | None]]:
        return {} if self.risks is None else dict.fromkeys(RULES, self.risks)

    async def alarms(self) -> list[Alarm]:
        found = await self.catalog.read(lambda reader: reader.active_alarms_of_rules(IDS))
        return sorted(found, key=lambda each: each.series)

    async def look(self, **risks: float | None) -> list[tuple[str, str]]:
        """Looks twice, 10 s apart; what is active then."""
        self.risks = {{"mill": MILL, "quarry": QUARRY}[name]: risk for name, risk in risks.items()}
        return await self.look_again()

    async def look_again(self) -> list[tuple[str, str]]:
        for _ in range(2):
            self.clock.advance(10_000)
            await self.watcher.look()
        return [(each.severity, each.series) for each in await self.alarms()]


async def world(catalog: AsyncCatalog, clock: ManualClock) -> World:
    def add(writer: Catalog) -> None:
        for name in RULES:
            writer.add_rule(name, definition_of(name), position=(0, 1), by="", built_in_id=RULE_PREFIX + name)

    await catalog.write(add, by=ACT)
    return World(catalog, clock)


async def test_each_box_has_an_alarm_of_its_own(tmp_path: Path) -> None:
    clock = ManualClock(now_ms=1_800_000_000_000)
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=bytes(16)) as catalog:
        cloud = await world(catalog, clock)
        assert await cloud.look(mill=1, quarry=150) == []
        assert await cloud.look(mill=1, quarry=151) == [("P2", f"site_rpo {QUARRY}")]
        (alarm,) = await cloud.alarms()
        assert alarm.explanation["text"] == (
            f"What {QUARRY} took in for the last 151 s is not known to be anywhere else; 150 s are the limit."
        )
        # A second one is told although one is there.
        both = [("P2", f"site_rpo {MILL}"), ("P2", f"site_rpo {QUARRY}"), ("P1", f"site_rpo_long {QUARRY}")]
        assert await cloud.look(mill=200, quarry=301) == both
        assert await cloud.look(mill=2, quarry=301) == both[1:]
        assert await cloud.look(mill=2, quarry=3) == []


async def test_what_is_not_known_leaves_alarms_over_a_restart_as_they_are(tmp_path: Path) -> None:
    clock = ManualClock(now_ms=1_800_000_000_000)
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=bytes(16)) as catalog:
        cloud = await world(catalog, clock)
        there = [("P2", f"site_rpo {QUARRY}")]
        assert await cloud.look(quarry=200) == there
        cloud.watcher = cloud.started()
        assert await cloud.look(quarry=None) == there
        cloud.risks = None
        assert await cloud.look_again() == there, "nobody says which boxes there are"
        assert await cloud.look(quarry=2) == []


async def test_of_a_box_that_is_gone_from_the_fleet_the_alarm_ends(tmp_path: Path) -> None:
    clock = ManualClock(now_ms=1_800_000_000_000)
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=bytes(16)) as catalog:
        cloud = await world(catalog, clock)
        assert len(await cloud.look(mill=200, quarry=200)) == 2
        assert await cloud.look(mill=200) == [("P2", f"site_rpo {MILL}")]


async def test_cloud_nodes_of_one_site_end_no_alarms_of_one_another(tmp_path: Path) -> None:
    clock = ManualClock(now_ms=1_800_000_000_000)
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=bytes(16)) as catalog:
        ours = await world(catalog, clock)
        theirs = World(catalog, clock)
        theirs.suffix = " bbbbbbbb"
        assert await ours.look(quarry=200) == [("P2", f"site_rpo {QUARRY}")]
        assert await theirs.look(quarry=2) == [], "of before it had a site; nobody speaks for it any more"
        ours.suffix = " aaaaaaaa"
        mine = [("P2", f"site_rpo {QUARRY} aaaaaaaa")]
        assert await ours.look(quarry=200) == mine
        assert await theirs.look(quarry=2) == mine, "it is no other node's to end"
        assert await ours.look(quarry=2) == []
