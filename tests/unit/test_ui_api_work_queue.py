"""The work queue over the API: what to do next, and doing it until it is empty; drift; the fence."""

from __future__ import annotations

from pathlib import Path

from appliance.management.executions import State
from tests.node_kit import NOW_MS
from tests.people_kit import audit_of, person
from tests.rollout_kit import NEW, OLD, node_with_updates, put_execution, started

S = State


async def test_the_work_queue_says_what_to_do_and_is_emptied(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path) as node, person(node, "operator") as client:
        await started(node, client, 3)
        first = await put_execution(
            node, "d000", S.ROLLBACK_FAILED, needs_manual_intervention=1, state_since_ms=5
        )
        second = await put_execution(node, "d001", S.REGRESSED, state_since_ms=6)
        queue = (await client.get("/api/v1/work-queue")).json()
        assert queue["count"] == 2
        assert [(item["execution"]["execution_id"], item["since_ms"]) for item in queue["items"]] == [
            (first, 5), (second, 6),
        ]  # fmt: skip
        assert "retry the rollback" in queue["items"][0]["next_step"]
        assert "accept" in queue["items"][1]["execution"]["may"]
        refused = await client.post(f"/api/v1/executions/{first}/accept", json={})
        assert (refused.status_code, refused.json()["code"]) == (409, "execution_state")
        not_seen = await client.post(f"/api/v1/executions/{first}/mark-recovered", json={})
        assert not_seen.json()["code"] in ("execution_not_recovered", "execution_state")
        ignored = await client.post(f"/api/v1/executions/{first}/ignore", json={"reason": "Scrapped."})
        assert ignored.json()["state"] == "canceled"
        accepted = await client.post(f"/api/v1/executions/{second}/accept", json={})
        assert accepted.json()["state"] == "rolled_back"
        assert (await client.get("/api/v1/work-queue")).json() == {
            "items": [],
            "count": 0,
            "next_cursor": None,
        }
        assert [entry[0] for entry in await audit_of(node, "execution.ignore")] == ["operator"]


async def test_drift(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path) as node, person(node, "viewer") as client:
        async with person(node, "operator") as operator:
            await started(node, operator, 2)
        execution_id = await put_execution(node, "d000", S.SUCCEEDED, ended_at_ms=NOW_MS)
        found = (await client.get("/api/v1/firmware/drift")).json()["devices"]
        assert found == [
            {
                "device_id": "d000", "execution_id": execution_id, "version": "1.0", "digest": OLD,
                "expected_version": "2.0", "expected_digest": NEW, "reported_at_ms": 1,
            }
        ]  # fmt: skip


async def test_the_fence(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path) as node, person(node, "admin") as client:
        rollout_id = await started(node, client)
        fence = (await client.post("/api/v1/firmware/raise-fence")).json()["fence"]
        assert fence == NOW_MS // 1000
        assert (await client.get(f"/api/v1/rollouts/{rollout_id}")).json()["fence"] == fence
        assert (await audit_of(node, "firmware.raise_fence"))[0][0] == "admin"
