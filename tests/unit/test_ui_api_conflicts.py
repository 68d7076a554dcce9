"""Conflicts over the API: seen with all their values, decided once, by whoever may."""

from __future__ import annotations

from pathlib import Path

from tests.acts import ACT
from tests.merge_kit import contradict
from tests.node_kit import running_node
from tests.people_kit import person


async def test_a_conflict_is_listed_looked_at_and_decided(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "admin") as client:
        assert (await client.get("/api/v1/conflicts")).json() == {
            "conflicts": [],
            "open_count": 0,
            "next_cursor": None,
        }
        await node.catalog.write(contradict, by=ACT)
        listed = (await client.get("/api/v1/conflicts?limit=1")).json()
        (found,) = listed["conflicts"]
        assert listed["open_count"] == 1
        assert (found["table"], found["key"], found["register"], found["state"]) == (
            "devices",
            "d1",
            "tags",
            "open",
        )
        assert [each["values"] for each in found["values"]] == [{"tags": '["there"]'}, {"tags": '["here"]'}]
        assert found["values"][0]["node"] == "0b" * 16
        address = f"/api/v1/conflicts/{found['conflict_id']}"
        assert (await client.get(address)).json() == found
        wrong = await client.post(f"{address}/resolve", json={"value": 2})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "conflict_choice")
        decided = (await client.post(f"{address}/resolve", json={"value": 1})).json()
        assert (decided["state"], decided["resolved_by"]) == ("resolved", "admin")
        again = await client.post(f"{address}/resolve", json={"value": 1})
        assert (again.status_code, again.json()["code"]) == (409, "conflict_resolved")
        assert (await client.get("/api/v1/devices/d1")).json()["tags"] == ["here"]
        resolved = (await client.get("/api/v1/conflicts?state=resolved")).json()
        assert (len(resolved["conflicts"]), resolved["open_count"]) == (1, 0)
        assert (await client.get("/api/v1/conflicts/none")).json()["code"] == "conflict_unknown"


async def test_an_installer_sees_them_and_decides_nothing(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        conflict = await node.catalog.write(contradict, by=ACT)
        assert (await client.get("/api/v1/conflicts")).json()["open_count"] == 1
        refused = await client.post(f"/api/v1/conflicts/{conflict.conflict_id}/resolve", json={"value": 0})
        assert refused.status_code == 403
