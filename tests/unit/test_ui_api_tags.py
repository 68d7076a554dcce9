"""Tags over the API, on more devices than one transaction takes."""

from __future__ import annotations

from pathlib import Path

from appliance.core.limits import CATALOG_CHUNK_ROW_COUNT_MAX
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import running_node
from tests.people_kit import person

COUNT = 2 * CATALOG_CHUNK_ROW_COUNT_MAX + 3


async def test_a_tag_is_renamed_and_removed_on_every_device_in_short_transactions(tmp_path: Path) -> None:
    def fill(catalog: Catalog) -> None:
        for number in range(COUNT):
            catalog.add_device(f"d{number}", tags=("roof/old", "b"))

    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await node.catalog.write(fill, by=ACT)
        sizes: list[int] = []
        node.catalog.subscribe(lambda changes: sizes.append(sum(c.table == "devices" for c in changes)))
        renamed = await client.post("/api/v1/tags/rename", json={"tag": "roof/old", "new": "top"})
        assert renamed.json() == {"device_count": COUNT}
        assert [size for size in sizes if size] == [
            CATALOG_CHUNK_ROW_COUNT_MAX,
            CATALOG_CHUNK_ROW_COUNT_MAX,
            3,
        ]
        assert (await client.get("/api/v1/tags")).json()["tags"] == [
            {"tag": "b", "device_count": COUNT},
            {"tag": "top", "device_count": COUNT},
        ]
        assert (await client.delete("/api/v1/tags?tag=top")).json() == {"device_count": COUNT}
        assert (await client.get("/api/v1/devices/d5")).json()["tags"] == ["b"]


async def test_a_tag_that_can_not_be_one_is_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await node.catalog.write(lambda catalog: catalog.add_device("d", tags=("a",)), by=ACT)
        refused = await client.post("/api/v1/tags/rename", json={"tag": "a", "new": " "})
        assert (refused.status_code, refused.json()["code"]) == (422, "device_tags_invalid")
