"""Maintenance on its page: begun, planned, ended, and what is wrong with a form."""

from __future__ import annotations

import re
from pathlib import Path

from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import NOW_MS, running_node
from tests.people_kit import audit_of, person

URL = "/alarms/maintenance"
HOUR_MS = 3_600_000


async def test_it_is_begun_planned_and_ended(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:

        def write(catalog: Catalog) -> None:
            catalog.add_device("press-1")

        await node.catalog.write(write, by=ACT)
        assert 'devices">press-1</textarea>' in (await client.get(f"{URL}?device=press-1")).text.replace(
            '" rows="2" autocomplete="off" autocapitalize="none" spellcheck="false', ""
        )
        form = {"reason": "New <fan>", "lasts": "90 min", "devices": "press-1"}
        assert (await client.post(URL, data=form)).headers["location"] == f"{URL}?done=made"
        later = {**form, "reason": "Roof", "begins": "2026-03-01 10:00", "devices": "", "all": "1"}
        assert (await client.post(URL, data=later)).status_code == 303
        found = await node.catalog.read(lambda catalog: catalog.list_maintenances())
        running = next(each for each in found if each.reason == "New <fan>")
        assert (running.from_at_ms, running.until_at_ms) == (NOW_MS, NOW_MS + HOUR_MS * 3 // 2)
        assert running.created_by == "operator"
        page = (await client.get(f"{URL}?done=made")).text
        assert page.index("Running") < page.index("New &lt;fan&gt;") < page.index("Roof")
        assert "device press-1" in page
        assert "2026-03-01 10:00:00 UTC" in page
        ends = re.findall(rf'action="({URL}/[0-9a-f]+/end)"', page)
        assert len(ends) == 2
        assert (await client.post(ends[0])).status_code == 303
        assert (await client.post(ends[0])).status_code == 409
        assert "Ended." in (await client.get(f"{URL}?done=ended")).text
        assert await audit_of(node, "maintenance.end")
        assert (await client.post(f"{URL}/nothing/end")).status_code == 404


async def test_a_mistake_is_said_with_what_was_typed(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        form = {"reason": "New fan", "lasts": "2 h", "all": "1"}
        for changes, says in (
            ({"reason": ""}, "The reason has 1 to"),
            ({"lasts": "long"}, "“long” in “Lasts” is no time"),
            ({"lasts": "40 d"}, "It would last longer than"),
            ({"begins": "tomorrow"}, "tomorrow"),
            ({"all": ""}, "It must be for all devices"),
        ):
            answer = await client.post(URL, data={**form, **changes})
            assert answer.status_code == 422, says
            assert says in answer.text


async def test_who_may_only_look_has_no_form(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "viewer") as client:
        assert "New maintenance" not in (await client.get(URL)).text
        assert (await client.post(URL, data={})).status_code == 403
