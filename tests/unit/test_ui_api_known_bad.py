"""Known bad over the API: who sees which mark, and who may take it away."""

from __future__ import annotations

from pathlib import Path

from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node
from tests.people_kit import audit_of, person
from tests.rollout_kit import NEW, add_devices, node_with_updates

URL = "/api/v1/firmware/known-bad"
FORGIVE = "/api/v1/firmware/forgive"


async def two_fell_back(node: Node) -> None:
    """Both devices of the hall went back from an image, so it is known bad for their hardware too; another one has nothing to do with it."""

    def write(catalog: Catalog) -> None:
        add_devices(catalog, ["d1", "d2"], groups=["hall"])
        add_devices(catalog, ["other"], hw="rev9")
        with catalog.transaction():
            for device_id in ("d1", "d2"):
                catalog.add_known_bad(device_id, NEW, execution_id="e1", reason="It fell back.", now_ms=1)

    await node.catalog.write(write, by=ACT)


async def test_marks_are_listed_and_taken_away(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path) as node, person(node, "operator") as client:
        await two_fell_back(node)
        found = (await client.get(URL)).json()["known_bad"]
        assert {each["known_bad_id"] for each in found} == {f"d1/{NEW}", f"d2/{NEW}", f"hw:rev2/{NEW}"}
        of_one = (await client.get(URL, params={"device_id": "d1"})).json()["known_bad"]
        assert {each["known_bad_id"] for each in of_one} == {f"d1/{NEW}", f"hw:rev2/{NEW}"}
        assert (await client.get(URL, params={"device_id": "other"})).json() == {"known_bad": []}
        assert (await client.get(URL, params={"digest": "9" * 64})).json() == {"known_bad": []}
        order = {"known_bad_id": f"hw:rev2/{NEW}", "reason": "The bootloader is mended."}
        assert (await client.post(FORGIVE, json=order)).json()["hw"] == "rev2"
        again = await client.post(FORGIVE, json=order)
        assert (again.status_code, again.json()["code"]) == (404, "known_bad_unknown")
        assert (await client.post(FORGIVE, json={**order, "reason": ""})).status_code == 422
        assert {entry[0] for entry in await audit_of(node, "known_bad.forgive")} == {"operator"}
        assert len((await client.get(URL)).json()["known_bad"]) == 2


async def test_a_scope_holds(tmp_path: Path) -> None:
    async with (
        node_with_updates(tmp_path) as node,
        person(node, "operator", scope=frozenset({"hall"}), user_id="hall") as inside,
    ):
        await two_fell_back(node)
        async with person(node, "operator", scope=frozenset({"yard"}), user_id="yard") as outside:
            seen = (await outside.get(URL)).json()["known_bad"]
            assert [each["known_bad_id"] for each in seen] == [f"hw:rev2/{NEW}"]
            refused = await outside.post(FORGIVE, json={"known_bad_id": f"d1/{NEW}", "reason": "x"})
            assert (refused.status_code, refused.json()["code"]) == (404, "device_unknown")
        whole = await inside.post(FORGIVE, json={"known_bad_id": f"hw:rev2/{NEW}", "reason": "x"})
        assert (whole.status_code, whole.json()["code"]) == (403, "scope_too_narrow")
        mine = await inside.post(FORGIVE, json={"known_bad_id": f"d1/{NEW}", "reason": "x"})
        assert mine.json()["device_id"] == "d1"
