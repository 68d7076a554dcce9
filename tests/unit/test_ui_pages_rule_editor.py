"""The editor of a rule, the list of rules, and rules as a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.management.rule_conditions import Threshold
from storage.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import found, put_rule
from tests.node_kit import Node, running_node
from tests.people_kit import audit_of, person
from ui.pages.rule_kinds import KINDS

URL = "/alarms/rules"
FORM: dict[str, Any] = {
    "kind": "threshold",
    "name": "Oven <too> hot",
    "severity": "P1",
    "metric": "oven_celsius",
    "all": "1",
    "on_delay": "5 min",
    "off_delay": "0 s",
    "c.is": "above",
    "c.limit": "80",
    "c.limit_high": "",
    "c.hysteresis": "2",
    "text": "Look at the fan.",
    "runbook": "",
}


async def see(client: httpx.AsyncClient, url: str = URL) -> str:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.text


async def made(client: httpx.AsyncClient, **changes: Any) -> str:
    """A saved rule; its address."""
    answer = await client.post(URL, data={**FORM, **changes})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"]).partition("?")[0]


async def add_devices(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        catalog.add_group("hall", name="Hall 2")
        catalog.add_device("a", groups=("hall",), tags=("old",))
        catalog.add_device("b")

    await node.catalog.write(write, by=ACT)


async def test_there_is_no_rule_yet(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        page = await see(client)
        assert "There is no rule yet." in page
        assert "New rule" not in page
        assert (await client.post(URL, data=FORM)).status_code == 403


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_has_a_form_with_its_fields_and_what_is_usual(tmp_path: Path, kind: str) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        assert f'href="{URL}/new?kind={kind}"' in await see(client, f"{URL}/new")
        page = await see(client, f"{URL}/new?kind={kind}&device=a")
        names = set(re.findall(r'name="c\.(\w+)"', page))
        assert names == {field.name for field in KINDS[kind].fields}
        assert ('name="metric"' in page) == (KINDS[kind].metric != "none")
        assert ('name="groups"' in page or "There is no group." in page) == (kind != "node")


async def test_a_rule_is_made_shown_changed_and_removed(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        await add_devices(node)
        url = await made(client)
        (rule,) = await node.catalog.read(lambda catalog: catalog.list_rules())
        assert rule.definition.condition == Threshold(is_="above", limit=80.0, hysteresis=2.0)
        assert rule.definition.on_delay_s == 300
        page = await see(client)
        assert "Oven &lt;too&gt; hot" in page
        assert "oven_celsius is above 80 °C for 5 min; over when it is 2 °C back inside" in page
        page = await see(client, f"{url}?done=saved")
        assert "Saved. It holds for every reading from now on." in page
        assert 'value="5 min"' in page
        answer = await client.post(url, data={**FORM, "c.limit": "85", "all": "", "groups": "hall"})
        assert answer.status_code == 303
        page = await see(client, url)
        assert "P1: oven_celsius is above 85 °C" in page
        assert "P1: oven_celsius is above 80 °C" in page
        assert "for group hall" in page
        refused = await client.post(f"{url}/remove", data={"confirm": "yes"})
        assert refused.status_code == 422
        assert "remove" in refused.text
        assert (await client.post(f"{url}/remove", data={"confirm": "remove"})).status_code == 303
        assert (await client.get(url)).status_code == 404
        for action in ("rule.create", "rule.edit", "rule.remove"):
            assert await audit_of(node, action), action


async def test_a_mistake_is_said_with_what_was_typed(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        for changes, says in (
            ({"c.limit": "warm"}, "“Limit” is no number: “warm”"),
            ({"all": ""}, "The rule must be for all devices"),
            ({"on_delay": "a while"}, "“a while” in “Wait before it is raised” is no time"),
            ({"name": ""}, "A rule&#39;s name has 1 to"),
            ({"c.is": "outside"}, "outside needs two limits"),
        ):
            answer = await client.post(URL, data={**FORM, **changes})
            assert answer.status_code == 422, says
            assert says in answer.text
            assert 'value="oven_celsius"' in answer.text
        assert (await client.post(URL, data={**FORM, "kind": "magic"})).status_code == 422
        await made(client)
        taken = await client.post(URL, data=FORM)
        assert taken.status_code == 409
        assert "There is a rule “Oven &lt;too&gt; hot” already." in taken.text


async def test_it_is_switched_off_and_on(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        url = await made(client)
        answer = await client.post(f"{url}/disable")
        assert "It is off." in await see(client, answer.headers["location"])
        assert "Switch it on" in await see(client, url)
        assert ">Off<" in await see(client, url)
        answer = await client.post(f"{url}/enable")
        assert "It is on" in await see(client, answer.headers["location"])
        assert "Switch it off" in await see(client, url)
        assert (await client.post(f"{URL}/nothing/enable")).status_code == 404


async def test_active_alarms_are_counted_and_lead_to_the_list(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:

        def write(catalog: Catalog) -> None:
            put_rule(catalog)
            node.services.alarms.book.apply(catalog, [found("a"), found("b", seq=11)])

        await node.catalog.write(write, by=ACT)
        assert 'href="/alarms?rule=hot">2<' in await see(client)
        page = await see(client, f"{URL}/hot")
        assert "2 alarms are active" in page
        assert "Its 2 active alarms will be withdrawn." in page


async def test_what_homeport_brought_can_not_be_removed(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:

        def write(catalog: Catalog) -> None:
            put_rule(catalog)
            catalog.execute("UPDATE rules SET is_built_in = 1")

        await node.catalog.write(write, by=ACT)
        assert "came with Homeport" in await see(client)
        assert "Type “remove”" not in await see(client, f"{URL}/hot")
        refused = await client.post(f"{URL}/hot/remove", data={"confirm": "remove"})
        assert refused.status_code == 409
        assert "Switch it off instead" in refused.text


async def test_rules_come_as_a_file(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        await made(client)
        file = (await client.get("/api/v1/rules/export")).json()
        file["rules"].append({**file["rules"][0], "name": "Another"})
        file["rules"][0]["definition"]["severity"] = "P3"
        answer = await client.post(f"{URL}/import", data={"rules": json.dumps(file)})
        page = await see(client, answer.headers["location"])
        assert "1 rule made, 1 changed, 0 as they were." in page
        assert "Another" in page
        bad = await client.post(f"{URL}/import", data={"rules": "<nothing>"})
        assert bad.status_code == 422
        assert "The file can&#39;t be read" in bad.text
        assert "&lt;nothing&gt;</textarea>" in bad.text
        assert "The rules of the file are here." in await see(client, f"{URL}?done=imported&counts=x")


async def test_how_many_devices_are_meant_is_counted_live(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        await add_devices(node)
        for query, says in (
            ("", "No device is named yet."),
            ("all=1", '<b class="num">2</b> devices now'),
            ("groups=hall", '<b class="num">1</b> device now'),
            ("tags=old&devices=b", '<b class="num">2</b> devices now'),
            ("all=1&but=a", '<b class="num">1</b> device now'),
            ("devices=a%0Azz", "1 device now; 1 of those named are not in service."),
            ("all=1&groups=hall", "Either all devices, or some that are named"),
        ):
            assert says in " ".join((await see(client, f"/alarms/scope?{query}")).split()), query
        async with person(node, "operator", frozenset({"hall"})) as other:
            assert '<b class="num">1</b>' in await see(other, "/alarms/scope?all=1")


async def test_trying_says_what_it_would_have_raised_and_saves_nothing(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        await add_devices(node)
        answer = await client.post(f"{URL}/try", data={**FORM, "range": "7d", "name": ""})
        assert answer.status_code == 200
        assert "In the last 7 days it would have raised" in answer.text
        assert "There are no readings of its devices in this range" in answer.text
        assert 'value="oven_celsius"' in answer.text
        bad = await client.post(f"{URL}/try", data={**FORM, "c.limit": "warm"})
        assert bad.status_code == 422
        assert "“Limit” is no number" in bad.text
        never = await client.post(f"{URL}/try", data={**FORM, "kind": "connection"})
        assert never.status_code == 422
        assert "The store keeps no past" in never.text
        assert ">Try it<" not in never.text
        assert await node.catalog.read(lambda catalog: catalog.list_rules()) == []
