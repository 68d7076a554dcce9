"""Which devices have alarms."""

from __future__ import annotations

from pathlib import Path

from storage.catalog.alarm_devices import DeviceAlarms
from storage.catalog.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import a_site, definition, found, id_of


async def test_devices_with_active_alarms_and_the_worst_of_them(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.rule("burning", definition(severity="P1"))
        await site.device("press-1", groups=("hall",))
        await site.device("press-2")
        await site.device("press-3")
        await site.find(
            found("press-1"),
            found("press-1", "burning"),
            found("press-2"),
            found("press-3"),
            found("press-4"),
            found("", series="disk"),
        )

        def aside(catalog: Catalog) -> None:
            site.desk.book.acknowledge(catalog, [id_of("press-1")], actor="anna")
            site.desk.book.shelve(
                catalog,
                [id_of("press-3")],
                until_ms=site.clock.now_ms() + 60_000,
                reason="Known",
                actor="anna",
            )

        await site.catalog.write(aside, by=ACT)
        names = ["press-1", "press-2", "press-3", "press-9"]
        counted = await site.catalog.read(lambda catalog: catalog.alarms_by_device(names))
        assert counted == {"press-1": DeviceAlarms("P1", 2), "press-2": DeviceAlarms("P2", 1)}
        # press-4 is no device of this site.
        everywhere = await site.catalog.read(lambda catalog: catalog.devices_with_alarms())
        assert everywhere == ["press-1", "press-2"]
        within = await site.catalog.read(
            lambda catalog: catalog.devices_with_alarms(scope=frozenset({"hall"}))
        )
        assert within == ["press-1"]
