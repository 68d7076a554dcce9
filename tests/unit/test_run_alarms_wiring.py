"""The desk as a node has it: times from the configuration, open pages told."""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import ManualClock
from appliance.core.config_alarms import AlarmsConfig
from appliance.run.alarms_wiring import ALARMS_KEY, make_alarms
from storage.catalog import AsyncCatalog
from storage.catalog.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import NOW_MS, found, id_of, put_rule
from ui.live.hub import Hub


async def test_pages_look_again_and_flapping_is_of_the_configuration(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=b"n" * 16) as catalog:
        hub = Hub(clock=clock)
        desk = make_alarms(AlarmsConfig(flap_s=5), catalog, hub, clock=clock)
        before = hub.seq

        def write(writer: Catalog) -> None:
            put_rule(writer)
            desk.book.apply(writer, [found()])
            desk.book.acknowledge(writer, [id_of()], actor="anna")
            desk.book.apply(writer, [found(is_raised=False, at_ms=NOW_MS + 1), found(at_ms=NOW_MS + 5_002)])

        with hub.watch([ALARMS_KEY]):
            await catalog.write(write, by=ACT)
        assert hub.seq > before
        alarm = await catalog.read(lambda reader: reader.get_alarm(id_of()))
        assert alarm.episode == 2
