"""Groups and tags on their page."""

from __future__ import annotations

from pathlib import Path

from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import running_node
from tests.people_kit import person

NORTH = frozenset({"north"})


async def test_a_group_is_made_changed_and_removed(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        made = await client.post("/groups", data={"group_id": "north", "name": "The <north>"})
        assert made.headers["location"] == "/groups?done=made"
        refused = await client.post("/groups", data={"group_id": "Not one"})
        assert refused.status_code == 422
        assert 'value="Not one"' in refused.text
        await node.catalog.write(lambda catalog: catalog.add_device("d1", groups=("north",)), by=ACT)
        assert "The &lt;north&gt;" in (await client.get("/groups")).text
        assert (await client.post("/groups/north", data={"name": "N", "description": "x"})).status_code == 303
        bad = await client.post("/groups/north", data={"name": "n" * 201})
        assert bad.status_code == 422
        asked = (await client.get("/groups/north")).text
        assert "1 device is in it" in asked
        assert (await client.post("/groups/north/remove", data={"confirm": "x"})).status_code == 422
        gone = await client.post("/groups/north/remove", data={"confirm": "north"})
        assert gone.headers["location"] == "/groups?done=removed"
        assert (await client.get("/groups/north")).status_code == 404
        device = await node.catalog.read(lambda catalog: catalog.get_device("d1"))
        assert device.groups == ()


async def test_a_group_that_an_account_names_stays_with_its_devices(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:

        def fill(catalog: Catalog) -> None:
            catalog.add_group("north")
            catalog.add_device("d1", groups=("north",))

        await node.catalog.write(fill, by=ACT)
        async with person(node, "viewer", NORTH) as limited:
            refused = await client.post("/groups/north/remove", data={"confirm": "north"})
            assert refused.status_code == 409
            assert "user “viewer”" in refused.text
            page = (await limited.get("/groups")).text
            assert "Make a group" not in page
        device = await node.catalog.read(lambda catalog: catalog.get_device("d1"))
        assert device.groups == ("north",)


async def test_tags_are_renamed_and_not_taken_off_by_mistake(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await node.catalog.write(lambda catalog: catalog.add_device("d1", tags=("a", "b")), by=ACT)
        assert 'href="/devices?tag=a"' in (await client.get("/groups")).text
        await client.post("/tags", data={"tag": "a", "new": "c"})
        assert (await client.post("/tags", data={"tag": "b", "new": " "})).status_code == 422
        device = await node.catalog.read(lambda catalog: catalog.get_device("d1"))
        assert device.tags == ("c", "b")
        assert (await client.post("/tags", data={"tag": "c", "new": "x" * 65})).status_code == 422


async def test_the_list_is_filtered_by_group_and_tag_in_the_url(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "viewer") as client:

        def fill(catalog: Catalog) -> None:
            catalog.add_group("north")
            catalog.add_device("both-1", groups=("north",), tags=("roof top",))
            catalog.add_device("group-1", groups=("north",))
            catalog.add_device("tag-1", tags=("roof top",))

        await node.catalog.write(fill, by=ACT)
        for query, shown in (
            ("group=north", {"both-1", "group-1"}),
            ("tag=roof%20top", {"both-1", "tag-1"}),
            ("group=north&tag=roof%20top", {"both-1"}),
            ("group=nowhere", set()),
        ):
            page = (await client.get(f"/devices?{query}")).text
            assert {each for each in ("both-1", "group-1", "tag-1") if f">{each}<" in page} == shown
