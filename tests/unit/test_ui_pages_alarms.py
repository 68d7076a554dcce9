"""The page of alarms: what wants somebody first, filters in the address, acknowledging and shelving by buttons, the history."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from appliance.management.rule_transition import Transition
from storage.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import MINUTE_MS, definition, found, id_of, put_rule
from tests.node_kit import NOW_MS, Node, running_node
from tests.people_kit import person

HOUR_MS = 60 * MINUTE_MS


@asynccontextmanager
async def a_node(tmp_path: Path, *transitions: Transition) -> AsyncIterator[Node]:
    """A node with a P2 rule `hot` and a P1 rule `burning`, press-1 in the group `hall`, and what the rules found."""
    async with running_node(tmp_path, with_pages=True) as node:

        def write(catalog: Catalog) -> None:
            catalog.add_group("hall")
            catalog.add_device("press-1", name="The <old> press", groups=("hall",), tags=("old",))
            catalog.add_device("press-2")
            put_rule(catalog)
            put_rule(catalog, "burning", definition(severity="P1"))
            node.services.alarms.book.apply(catalog, transitions)

        await node.catalog.write(write, by=ACT)
        yield node


def order_of(page: str) -> list[str]:
    """Alarm ids as they stand on the page."""
    return list(dict.fromkeys(re.findall(r'href="/alarms/([0-9a-f]{24})" data-alarm-link', page)))


async def see(client: httpx.AsyncClient, url: str = "/alarms") -> str:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_nothing_is_wrong(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node, person(node, "viewer") as client:
        page = await see(client)
        assert "Nothing is wrong." in page
        assert 'class="count"' not in page


async def test_what_wants_somebody_stands_first(tmp_path: Path) -> None:
    events = (
        found("press-1", at_ms=NOW_MS - 5_000),
        found("press-2", at_ms=NOW_MS - 9_000),
        found("press-1", "burning", at_ms=NOW_MS - HOUR_MS),
        found("press-3", at_ms=NOW_MS - 4_000),
        found("press-3", at_ms=NOW_MS - 2_000, is_raised=False),
    )
    async with a_node(tmp_path, *events) as node, person(node, "operator") as client:
        book = node.services.alarms.book
        await node.catalog.write(
            lambda catalog: book.acknowledge(catalog, [id_of("press-1")], actor="bert"), by=ACT
        )
        page = await see(client)
        assert order_of(page) == [
            id_of("press-1", "burning"),
            id_of("press-2"),
            id_of("press-1"),
            id_of("press-3"),
        ]
        assert "acknowledged by <b>bert</b>" in page
        assert "The &lt;old&gt; press" in page
        assert "81.5 °C above 80 °C" in page
        # In the navigation of any page: how many, and of which severity.
        assert "not acknowledged: 1 P1, 2 P2" in await see(client, "/devices")


async def test_the_address_narrows_them_down(tmp_path: Path) -> None:
    events = (found("press-1"), found("press-2"), found("press-2", "burning"))
    async with a_node(tmp_path, *events) as node, person(node, "viewer") as client:
        for query, ids in (
            ("severity=P1", [id_of("press-2", "burning")]),
            ("device=press-1", [id_of("press-1")]),
            ("group=hall", [id_of("press-1")]),
            ("tag=old", [id_of("press-1")]),
            ("rule=burning&state=active", [id_of("press-2", "burning")]),
            ("state=unacknowledged&severity=P2&device=press-2", [id_of("press-2")]),
            ("state=cleared", []),
            ("state=nonsense&severity=P9&device=press-1", [id_of("press-1")]),
        ):
            assert order_of(await see(client, f"/alarms?{query}")) == ids, query
        assert "No alarm matches." in await see(client, "/alarms?severity=P3")
        assert "severity P3" in await see(client, "/alarms?severity=P3")


async def test_acknowledging_is_a_button_and_goes_back_to_where_it_was(tmp_path: Path) -> None:
    async with a_node(tmp_path, found("press-1")) as node, person(node, "operator", user_id="anna") as client:
        url = f"/alarms/{id_of('press-1')}/acknowledge"
        answer = await client.post(url, data={"back": "/alarms?severity=P2", "note": "On my way"})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/alarms?severity=P2&done=acknowledge&count=1"
        page = await see(client, answer.headers["location"])
        assert "1 alarm acknowledged." in page
        assert "acknowledged by <b>anna</b>" in page
        assert "On my way" in page
        again = await client.post(url, data={"back": "https://elsewhere.example/"})
        assert again.headers["location"] == "/?done=acknowledge&count=0"


async def test_who_may_only_look_has_no_buttons(tmp_path: Path) -> None:
    async with a_node(tmp_path, found("press-1")) as node, person(node, "viewer") as client:
        assert "/acknowledge" not in await see(client)
        answer = await client.post(f"/alarms/{id_of('press-1')}/acknowledge")
        assert answer.status_code == 403


async def test_many_are_acknowledged_and_shelved_at_once(tmp_path: Path) -> None:
    async with (
        a_node(tmp_path, found("press-1"), found("press-2")) as node,
        person(node, "operator") as client,
    ):
        ids = [id_of("press-1"), id_of("press-2")]
        done = await client.post("/alarms/bulk", data={"op": "acknowledge", "ids": ids, "back": "/alarms"})
        assert done.headers["location"] == "/alarms?done=acknowledge&count=2"
        refused = await client.post("/alarms/bulk", data={"op": "shelve", "ids": ids, "for": "1h"})
        assert refused.status_code == 422
        assert "The reason has 1 to" in refused.text
        shelved = await client.post(
            "/alarms/bulk", data={"op": "shelve", "ids": ids, "for": "1h", "reason": "Known"}
        )
        assert shelved.headers["location"] == "/alarms?done=shelve&count=2"
        page = await see(client, "/alarms?state=shelved")
        assert order_of(page) == sorted(ids, key=order_of(page).index)
        assert "shelved by <b>operator</b>" in page
        assert (await client.post("/alarms/bulk", data={"op": "shelve"})).status_code == 400
        assert (await client.post("/alarms/bulk", data={"op": "burn", "ids": ids})).status_code == 400


async def test_a_shelf_ends_and_can_be_left(tmp_path: Path) -> None:
    async with a_node(tmp_path, found("press-1")) as node, person(node, "operator") as client:
        url = f"/alarms/{id_of('press-1')}"
        await client.post(f"{url}/shelve", data={"for": "1h", "reason": "Known"})
        assert "1 alarm shelved." in await see(client, "/alarms?done=shelve&count=1")
        assert "Take it off the shelf" in await see(client)
        node.clock.advance(HOUR_MS + 1)
        await node.services.alarms.settle()
        assert "Take it off the shelf" not in await see(client)
        await client.post(f"{url}/shelve", data={"for": "4h", "reason": "Known"})
        await client.post(f"{url}/unshelve", data={})
        assert "Take it off the shelf" not in await see(client)
        bad = await client.post(f"{url}/shelve", data={"for": "10y", "reason": "Known"})
        assert bad.status_code == 422


async def test_what_is_suppressed_says_by_what(tmp_path: Path) -> None:
    async with a_node(tmp_path, found("press-1")) as node, person(node, "operator") as client:
        made = await client.post(
            "/alarms/maintenance", data={"reason": "New fan", "lasts": "2 h", "devices": "press-1"}
        )
        assert made.status_code == 303
        await node.services.alarms.settle()
        page = await see(client, "/alarms?state=suppressed")
        assert order_of(page) == [id_of("press-1")]
        assert "in maintenance: New fan" in page


async def test_the_history_has_a_range_and_pages(tmp_path: Path) -> None:
    events = [
        found("press-1", at_ms=NOW_MS - HOUR_MS + number * 1_000, is_raised=number % 2 == 0, seq=10 + number)
        for number in range(120)
    ]
    old = found("press-2", at_ms=NOW_MS - 30 * HOUR_MS)
    async with a_node(tmp_path, old, *events) as node, person(node, "viewer") as client:
        page = await see(client, "/alarms?state=history")
        assert page.count("<tr><th") == 101  # and the head
        older = re.search(r'href="([^"]+)" rel="next"', page)
        assert older is not None
        rest = await see(client, older[1].replace("&amp;", "&"))
        assert 20 <= rest.count('<tr><th scope="row"') <= 22
        assert "press-2" not in page + rest
        assert "press-2" in await see(client, "/alarms?state=history&from=-2d&device=press-2")
        assert "Nothing happened" in await see(client, "/alarms?state=history&severity=P1")
        bad = await client.get("/alarms?state=history&from=yesterday")
        assert bad.status_code == 422
        assert "yesterday" in bad.text


async def test_a_scope_hides_what_is_elsewhere(tmp_path: Path) -> None:
    events = (found("press-1"), found("press-2"), found("", "hot", series="disk"))
    async with (
        a_node(tmp_path, *events) as node,
        person(node, "operator", frozenset({"hall"})) as client,
    ):
        assert order_of(await see(client)) == [id_of("press-1")]
        assert "press-2" not in await see(client, "/alarms?state=history")
        assert (await client.get(f"/alarms/{id_of('press-2')}")).status_code == 404
        assert (await client.post(f"/alarms/{id_of('press-2')}/acknowledge")).status_code == 404
        bulk = await client.post("/alarms/bulk", data={"op": "acknowledge", "ids": [id_of("press-2")]})
        assert bulk.headers["location"] == "/alarms?done=acknowledge&count=0"


async def test_very_many_are_counted_and_the_first_ones_shown(tmp_path: Path) -> None:
    events = [found(f"press-{number}", seq=10 + number) for number in range(230)]
    async with a_node(tmp_path, *events) as node, person(node, "viewer") as client:
        page = await see(client)
        assert len(order_of(page)) == 200
        assert "200 of 230 are shown" in page
