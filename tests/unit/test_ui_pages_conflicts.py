"""What two boxes have differently, on the page Sites."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acts import ACT
from tests.merge_kit import contradict
from tests.node_kit import running_node
from tests.people_kit import person
from tests.unit.test_ui_replication import STATE, with_state
from ui.pages.conflicts import text_of


async def test_both_values_are_shown_and_one_is_chosen(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        site = with_state(node, STATE)
        async with person(site, "admin") as client:
            assert "Written differently" not in (await client.get("/sites")).text
            conflict = await node.catalog.write(contradict, by=ACT)
            page = (await client.get("/sites")).text
            assert "1 value was changed on boxes that did not know of each other" in page
            assert "Device d1: tags" in page
            assert "<b>there</b>" in page
            assert "<b>here</b>" in page
            assert "in force now" in page
            refused = await client.post(
                "/sites/conflicts", data={"conflict_id": conflict.conflict_id, "choice": "x"}
            )
            assert "No value was chosen." in refused.text
            done = await client.post(
                "/sites/conflicts", data={"conflict_id": conflict.conflict_id, "choice": "1"}
            )
            assert done.status_code == 303
            page = (await client.get("/sites?done=resolved")).text
            assert "the other boxes take it over" in page
            assert "Written differently" not in page
        device = await node.catalog.read(lambda catalog: catalog.get_device("d1"))
        assert device.tags == ("here",)


async def test_who_may_not_see_them_sees_none(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        site = with_state(node, STATE)
        await node.catalog.write(contradict, by=ACT)
        async with person(site, "viewer") as client:
            assert "Written differently" not in (await client.get("/sites")).text
        async with person(site, "installer") as client:
            page = (await client.get("/sites")).text
            assert "Device d1: tags" in page
            assert "Use this value" not in page


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": None}, "nothing"),
        ({"tags": "[]"}, "none"),
        ({"tags": '["a", "b", 3]'}, "a, b, 3"),
        ({"definition": '{"severity": "P1"}'}, '{"severity": "P1"}'),
        ({"note": "[half"}, "[half"),
        ({"hot_days": 5, "archive_days": None}, "hot days 5; archive days nothing"),
    ],
)
def test_values_are_shown_as_people_read_them(values: dict[str, object], said: str) -> None:
    assert text_of(values) == said
