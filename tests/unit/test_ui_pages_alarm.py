"""The page of one alarm."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from msgspec.structs import replace

from tests.acts import ACT
from tests.alarm_kit import MINUTE_MS, definition, found, id_of, put_rule
from tests.node_kit import NOW_MS
from tests.people_kit import person
from tests.unit.test_ui_pages_alarms import a_node, see


async def test_it_says_what_is_wrong_since_when_and_what_to_do(tmp_path: Path) -> None:
    events = (
        found("press-1", at_ms=NOW_MS - 90 * MINUTE_MS),
        found("press-1", at_ms=NOW_MS - 80 * MINUTE_MS, is_raised=False),
        found("press-1", at_ms=NOW_MS - 79 * MINUTE_MS, text="<b>hotter</b>", unit="°C"),
    )
    async with a_node(tmp_path, *events) as node, person(node, "operator") as client:
        page = await see(client, f"/alarms/{id_of('press-1')}")
        for text in (
            "Rule hot",
            "&lt;b&gt;hotter&lt;/b&gt;",
            "81.5 °C",
            "2 times since then",
            "Acknowledge it, so that nobody else is called: within the hour.",
            "temperature is above 80, for all devices.",
            'data-limits="[80.0]"',
            "/telemetry/data?device=press-1&amp;metric=temperature",
        ):
            assert text in page
        assert page.count("It began") == 2
        assert page.count("It is over") == 1
        # The readings are drawn from well before it began.
        assert "from=2026-02-25T03%3A43" in page


async def test_a_value_has_the_unit_that_the_name_of_its_metric_says(tmp_path: Path) -> None:
    async with (
        a_node(tmp_path, found("press-1", series="oven_celsius")) as node,
        person(node, "viewer") as client,
    ):
        assert "81.5 °C" in await see(client, f"/alarms/{id_of('press-1', series='oven_celsius')}")
        assert "81.5 °C" in await see(client)


async def test_an_alarm_without_a_rule_or_a_series_is_shown_too(tmp_path: Path) -> None:
    async with a_node(tmp_path, found("", series="disk")) as node, person(node, "viewer") as client:
        url = f"/alarms/{id_of('', series='disk')}"
        assert "<figure" not in await see(client, url)
        await node.catalog.write(lambda catalog: catalog.execute("DELETE FROM rules"), by=ACT)
        page = await see(client, url)
        assert "It was removed." in page
        assert "this site" in page


async def test_a_runbook_is_a_link_only_where_it_is_one(tmp_path: Path) -> None:
    async with a_node(tmp_path, found("press-1")) as node, person(node, "operator") as client:
        for runbook, shown in (
            ("https://example.com/x", 'href="https://example.com/x"'),
            ("javascript:alert(1)", "javascript:alert(1)"),
        ):
            rule = replace(definition(), runbook=runbook)
            await node.catalog.write(partial(put_rule, what=rule), by=ACT)
            page = await see(client, f"/alarms/{id_of('press-1')}")
            assert shown in page
            assert 'href="javascript' not in page


async def test_an_unknown_one_says_so(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node, person(node, "viewer") as client:
        answer = await client.get("/alarms/nothing")
        assert answer.status_code == 404
        assert "There is no alarm “nothing”." in answer.text
