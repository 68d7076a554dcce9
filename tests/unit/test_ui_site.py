"""The site's settings in memory, and times at the site."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from appliance.core.errors import UsageError
from appliance.management.audit import LOCAL, Act
from tests.node_kit import running_node
from ui.site import CHANGE_ACTION, Site, SiteFacts, checked, time_zones, write_settings

AT_MS = 1_795_784_709_000
"""2026-11-27 13:05:09 UTC."""


@pytest.mark.parametrize(
    ("site", "text"),
    [
        (Site(), "2026-11-27 13:05:09 UTC"),
        (Site(time_zone="Europe/Vienna", date_format="dmy"), "27.11.2026 14:05:09 CET"),
        (Site(time_zone="America/New_York", date_format="mdy"), "11/27/2026 08:05:09 EST"),
        (Site(time_zone="Mars/Olympus", date_format="stardate"), "2026-11-27 13:05:09 UTC"),
    ],
)
def test_a_time_at_the_site(site: Site, text: str) -> None:
    assert site.local_text(AT_MS) == text


def test_a_time_no_calendar_holds_has_no_text() -> None:
    assert Site().local_text(10**18) == ""


def test_utc_comes_first_and_no_zone_twice() -> None:
    zones = time_zones()
    assert zones[0] == "UTC"
    assert "Europe/Vienna" in zones
    assert len(set(zones)) == len(zones)


async def test_a_change_is_seen_at_once_and_is_in_the_audit(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        facts = SiteFacts(node.catalog)
        assert await facts.get() == Site()
        wanted = checked({"site.name": " Sawmill ", "site.time_zone": "Europe/Vienna"})
        by = Act(action=CHANGE_ACTION, actor=LOCAL)
        after = await node.catalog.write(lambda catalog: write_settings(catalog, wanted), by=by)
        await node.catalog.write(lambda catalog: write_settings(catalog, wanted), by=by)
        assert after["site.name"] == "Sawmill"
        assert (await facts.get()).time_zone == "Europe/Vienna"
        rows = await node.catalog.read(
            lambda catalog: catalog.rows("SELECT action, actor, object_id FROM audit ORDER BY seq")
        )
        assert [tuple(row) for row in rows] == [
            ("setting.set", "local", "site.name"),
            ("setting.set", "local", "site.time_zone"),
        ]


def test_one_bad_value_is_refused_before_anything_is_written() -> None:
    with pytest.raises(UsageError):
        checked({"site.name": "Sawmill", "site.time_zone": "nowhere"})


async def test_while_the_catalog_can_t_be_read_what_was_known_last_holds(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        wanted = checked({"site.name": "Sawmill"})
        by = Act(action=CHANGE_ACTION, actor=LOCAL)
        await node.catalog.write(lambda catalog: write_settings(catalog, wanted), by=by)
        known, new = SiteFacts(node.catalog), SiteFacts(node.catalog)
        assert (await known.get()).name == "Sawmill"
        await node.catalog.write(
            lambda catalog: write_settings(catalog, checked({"site.name": "Mill"})), by=by
        )
        await node.catalog.aclose()
        assert (await known.get()).name == "Sawmill"
        assert await new.get() == Site()


async def test_many_pages_at_once_ask_once(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        facts = SiteFacts(node.catalog)
        before = node.catalog.statistics().pools["api"].served_total
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(facts.get)
        assert node.catalog.statistics().pools["api"].served_total == before + 1
