"""Twins on a device's page: what differs first, changing what is desired, and not overwriting each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.core.limits_twins import PAGE_TWIN_ROW_COUNT_MAX
from appliance.management.twin import SectionChange, Twin, TwinChange
from storage.catalog import Catalog
from storage.catalog.twins import KeptTwin, TwinChanged
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import person
from ui.pages.device_twin import AS_DESIRED, DIFFERS, ONLY_REPORTED, view_of_twin

NORTH = frozenset({"north"})


def kept(name: str = "", **sections: dict[str, object]) -> KeptTwin:
    change = TwinChange(
        desired=SectionChange(values=sections.get("desired", {})),
        reported=SectionChange(values=sections.get("reported", {})),
    )
    return KeptTwin(
        device_id="pump",
        name=name,
        twin=Twin().updated(change, 1_700_000_000),
        desired_version=1,
        desired_set_at_ms=1,
        reported_at_ms=1,
    )


async def _fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        catalog.add_group("north")
        catalog.add_device("pump", groups=("north",))
        catalog.add_device("fan")
        values = {"rate_s": 5, "mode": "eco", "net": {"ntp": "a"}}
        catalog.update_twin("pump", "", TwinChange(desired=SectionChange(values=values)))
        told = {"rate_s": 10, "mode": "eco", "up": [1, None]}
        catalog.update_twin("pump", "", TwinChange(reported=SectionChange(values=told)))

    await node.catalog.write(write, by=ACT)


def test_what_differs_stands_first() -> None:
    view = view_of_twin(
        kept(
            desired={"b": {"x": 1, "y": 2}, "a": 3, "e": {}},
            reported={"b": {"x": 1, "y": 9}, "z": "<&>"},
        )
    )
    assert [(row.path, row.look) for row in view.rows] == [
        ("a", DIFFERS),
        ("b.y", DIFFERS),
        ("e", DIFFERS),
        ("b.x", AS_DESIRED),
        ("z", ONLY_REPORTED),
    ]
    first, second = view.rows[:2]
    assert (first.desired, first.reported, first.desired_at_ms) == ("3", None, 1_700_000_000_000)
    assert (second.desired, second.reported) == ("2", "9")
    assert (view.differs_count, view.edit_url) == (3, "/devices/pump/twin")
    assert view.has_desired
    assert not view_of_twin(kept(reported={"a": 1})).has_desired
    assert view_of_twin(kept("a:b")).edit_url == "/devices/pump/twin?name=a%3Ab"


def test_what_is_shown_is_bounded() -> None:
    many = {f"k{number}": "x" * 5 for number in range(PAGE_TWIN_ROW_COUNT_MAX + 7)}
    view = view_of_twin(kept(reported={**many, "long": "y" * 300}))
    assert (len(view.rows), view.more) == (PAGE_TWIN_ROW_COUNT_MAX, 8)
    long = view_of_twin(kept(reported={"long": "y" * 300})).rows[0].reported
    assert long is not None
    assert (len(long), long[-1]) == (201, "…")


async def test_the_page_has_both_sides_and_changes_what_is_desired(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await _fill(node)
        heard: list[TwinChanged] = []
        node.services.twins.desk.subscribe(heard.append)
        page = (await client.get("/devices/pump")).text
        assert "<b>2 values</b> not as desired" in page
        assert page.index("net.ntp") < page.index("rate_s") < page.index("mode")
        form = (await client.get("/devices/pump/twin")).text
        assert "&#34;ntp&#34;: &#34;a&#34;" in form
        (seen,) = re.findall('name="seen" value="([0-9]+)"', form)
        node.clock.advance(60_000)
        done = await client.post(
            "/devices/pump/twin", data={"seen": seen, "desired": '{"rate_s": 10, "mode": "eco"}', "name": ""}
        )
        assert (done.status_code, done.headers["location"]) == (303, "/devices/pump?done=twin_set#twin")
        after = (await client.get("/devices/pump?done=twin_set")).text
        assert "Everything is as desired" in after
        assert "the device is told when it listens" in after
        (changed,) = heard
        times = changed.after.twin.desired_at
        assert times["rate_s"] == times["mode"] + 60, "what was not changed keeps its time"
        assert "It has said nothing of its state" in (await client.get("/devices/fan")).text


async def test_two_people_see_each_others_change_before_they_save(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await _fill(node)
        (seen,) = re.findall('name="seen" value="([0-9]+)"', (await client.get("/devices/pump/twin")).text)
        other = TwinChange(desired=SectionChange(values={"mode": "full"}))
        await node.catalog.write(lambda c: c.update_twin("pump", "", other), by=ACT)
        mine = {"seen": seen, "desired": '{"mode": "mine"}', "name": ""}
        refused = await client.post("/devices/pump/twin", data=mine)
        assert refused.status_code == 409
        assert "Somebody else has changed" in refused.text
        assert "Desired now" in refused.text
        assert "&#34;full&#34;" in refused.text
        assert "{&#34;mode&#34;: &#34;mine&#34;}" in refused.text, "what was typed stays"
        (seen,) = re.findall('name="seen" value="([0-9]+)"', refused.text)
        assert (await client.post("/devices/pump/twin", data={**mine, "seen": seen})).status_code == 303
        twin = await node.catalog.read(lambda c: c.get_twin("pump", ""))
        assert twin.twin.desired == {"mode": "mine"}


@pytest.mark.parametrize(
    ("name", "text", "status", "words"),
    [
        ("", '{"a": ', 422, "not well-formed JSON"),
        ("", '{"a": 1, "a": 2}', 422, "stands twice"),
        ("", "[1]", 422, "neither an object nor null. Send values by their names,"),
        ("a b", "{}", 422, "be a twin"),
        ("", '{"a": "' + "x" * 9_000 + '"}', 413, "a twin takes 8,192"),
    ],
)
async def test_what_makes_no_sense_comes_back_as_it_was_typed(
    tmp_path: Path, name: str, text: str, status: int, words: str
) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await _fill(node)
        seen = (
            "0" if name else str((await node.catalog.read(lambda c: c.find_twin("pump", ""))).desired_version)
        )
        answer = await client.post(
            "/devices/pump/twin",
            data={"seen": seen, "desired": text, "name": name, "new": "1" if name else ""},
        )
        assert answer.status_code == status
        assert words in answer.text
        assert text[:20].replace('"', "&#34;") in answer.text


async def test_one_more_twin_is_made_by_its_name(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await _fill(node)
        assert 'name="name" maxlength="64" value=""' in (await client.get("/devices/pump/twin?new=1")).text
        made = await client.post(
            "/devices/pump/twin", data={"seen": "0", "desired": '{"a": 1}', "name": "config", "new": "1"}
        )
        assert made.status_code == 303
        page = (await client.get("/devices/pump")).text
        assert '<h3 class="break">config</h3>' in page
        assert "/devices/pump/twin?name=config" in page
        assert (await client.get("/devices/pump/twin?name=a%20b")).status_code == 422


async def test_who_may_what(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        async with person(node, "operator", NORTH) as client:
            await _fill(node)
            assert (await client.get("/devices/fan/twin")).status_code == 404
            refused = await client.post("/devices/fan/twin", data={"seen": "0", "desired": "{}", "name": ""})
            assert refused.status_code == 404
        async with person(node, "viewer") as client:
            page = (await client.get("/devices/pump")).text
            assert "rate_s" in page
            assert "/devices/pump/twin" not in page
            assert "Send a command" not in page
            assert (await client.get("/devices/pump/twin")).status_code == 403
