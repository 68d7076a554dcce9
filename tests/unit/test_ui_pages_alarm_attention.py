"""What alarms say on the Overview."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from storage.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import found, put_rule
from tests.node_kit import running_node
from tests.people_kit import person
from tests.unit.test_ui_pages_alarm_views import ALARM
from ui.pages.alarm_attention import NAMED_COUNT, alarm_attention

DEVICE = replace(ALARM, device_id="press-1", text="81 °C.")


def test_the_first_ones_are_named_with_their_severity() -> None:
    (line,) = alarm_attention([DEVICE], {"P1": 1})
    assert (line.tone, line.text) == ("bad", "P1: Hot, press-1. 81 °C.")
    assert (line.url, line.needs) == (DEVICE.url, "alarms.read")


def test_one_that_is_over_says_that_nobody_has_seen_it() -> None:
    (line,) = alarm_attention([replace(DEVICE, state="cleared_unacknowledged", text="")], {"P1": 1})
    assert line.text == "P1: Hot, press-1. It is over, and nobody has acknowledged it."


def test_more_than_a_few_are_counted() -> None:
    lines = alarm_attention([DEVICE] * (NAMED_COUNT + 2), {"P1": 4, "P3": 8})
    assert len(lines) == NAMED_COUNT + 1
    assert lines[-1].text == "12 alarms are not acknowledged: 4 P1, 8 P3."
    assert lines[-1].tone == "bad"
    assert alarm_attention([], {}) == ()


async def test_they_stand_on_top_of_the_overview_and_on_the_devices_page(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:

        def write(catalog: Catalog) -> None:
            catalog.add_device("press-1")
            catalog.add_device("press-2")
            put_rule(catalog)
            node.services.alarms.book.apply(catalog, [found("press-1"), found("press-1", series="", seq=11)])

        await node.catalog.write(write, by=ACT)
        page = (await client.get("/")).text
        notes = page[page.index('class="notes"') :]
        assert notes.index("P2: Rule hot, press-1 temperature.") < notes.index("This box")
        device = (await client.get("/devices/press-1")).text
        assert 'id="alarms-of-it"' in device
        assert device.count('class="alarm ') == 2
        assert "It has had no alarm." in (await client.get("/devices/press-2")).text
        listed = (await client.get("/devices")).text
        assert "P2 and 1 more" in listed
        chosen = (await client.get("/devices?state=with_alarms")).text
        assert "press-1" in chosen
        assert ">press-2<" not in chosen
