"""Executions over the API: lists, history, the work queue with its acts, drift; and who sees whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.management.executions import State
from tests.acts import ACT
from tests.people_kit import audit_of, person
from tests.rollout_kit import OLD, act, add_devices, node_with_updates, put_execution, started

S = State


async def test_a_rollouts_devices_and_how_far_each_is(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path) as node, person(node, "operator") as client:
        rollout_id = await started(node, client, 3)
        execution_id = await put_execution(node, "d001", S.MANUAL, manual_reason="A third version.")
        listed = (await client.get(f"/api/v1/rollouts/{rollout_id}/executions?limit=2")).json()
        more = (
            await client.get(f"/api/v1/rollouts/{rollout_id}/executions?cursor={listed['next_cursor']}")
        ).json()
        rows = [*listed["executions"], *more["executions"]]
        assert [row["device_id"] for row in rows] == ["d000", "d001", "d002"]
        found = rows[1]
        assert (found["state"], found["manual_reason"], found["to_version"], found["from_digest"]) == (
            "manual", "A third version.", "2.0", OLD,
        )  # fmt: skip
        assert (found["rollback_attempt_count"], found["max_rollback_attempts"]) == (0, 3)
        assert "retry" in found["may"]
        by_state = (await client.get(f"/api/v1/executions?state=manual&rollout_id={rollout_id}")).json()
        assert [row["execution_id"] for row in by_state["executions"]] == [execution_id]
        of_device = (await client.get("/api/v1/devices/d002/executions")).json()["executions"]
        assert [row["device_id"] for row in of_device] == ["d002"]
        assert (await client.get("/api/v1/rollouts/none/executions")).status_code == 404
        assert (await client.get("/api/v1/devices/none/executions")).json()["code"] == "device_unknown"
        assert (await client.get("/api/v1/executions/none")).json()["code"] == "execution_unknown"


async def test_its_history(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path) as node, person(node, "operator") as client:
        rollout_id = await started(node, client, 2)
        execution_id = await put_execution(node, "d000", S.MANUAL)
        order = {"reason": "New antenna."}
        done = (await client.post(f"/api/v1/executions/{execution_id}/retry", json=order)).json()
        assert (done["state"], done["attempt"]) == ("queued", 1)
        found = (await client.get(f"/api/v1/executions/{execution_id}")).json()
        (event,) = found["events"]
        assert (event["event"], event["actor"], event["from_state"], event["to_state"]) == (
            "retry", "operator", "manual", "queued",
        )  # fmt: skip
        assert event["detail"] == {"reason": "New antenna."}
        moves = (await client.get(f"/api/v1/rollouts/{rollout_id}/events")).json()["events"]
        assert [(move["event"], move["actor"]) for move in moves] == [
            ("start", "operator"), ("submit_without_approval", "operator"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "state", "expected"),
    [
        ("retry", S.TIMED_OUT, "queued"),
        ("retry-rollback", S.ROLLBACK_FAILED, "rollback_pending"),
        ("replace", S.LOST, "removed"),
        ("cancel", S.DOWNLOADING, "canceled"),
        ("rollback", S.SUCCEEDED, "rollback_pending"),
    ],
)
async def test_each_act(tmp_path: Path, path: str, state: State, expected: str) -> None:
    async with node_with_updates(tmp_path) as node, person(node, "operator") as client:
        await started(node, client)
        execution_id = await put_execution(node, "d000", state)
        answer = await client.post(f"/api/v1/executions/{execution_id}/{path}", json={})
        assert (answer.status_code, answer.json()["state"]) == (200, expected), answer.text


async def test_all_that_failed_try_again(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path) as node, person(node, "operator") as client:
        rollout_id = await started(node, client, 4)
        for device_id, state in (("d000", S.FAILED), ("d001", S.TIMED_OUT), ("d002", S.SUCCEEDED)):
            await put_execution(node, device_id, state, ended_at_ms=1)
        outcome = await client.post(f"/api/v1/rollouts/{rollout_id}/retry-failed")
        assert outcome.json() == {"retried_count": 2, "left_count": 0}
        path = f"/api/v1/rollouts/{rollout_id}/executions"
        rows = (await client.get(path)).json()["executions"]
        # The stop rule has fired before: who tries again does so when the rollout goes on.
        assert [row["state"] for row in rows] == ["paused", "paused", "succeeded", "paused"]
        await act(client, rollout_id, "resume")
        await node.services.updates.engine.settle()  # type: ignore[union-attr]
        rows = (await client.get(path)).json()["executions"]
        assert [row["state"] for row in rows] == ["queued", "queued", "succeeded", "queued"]
        assert (await audit_of(node, "rollout.retry_failed"))[0][0] == "operator"
        await act(client, rollout_id, "abort", {"confirm_count": 3})
        await node.services.updates.engine.settle()  # type: ignore[union-attr]
        over = await client.post(f"/api/v1/rollouts/{rollout_id}/retry-failed")
        assert (over.status_code, over.json()["code"]) == (409, "rollout_state")


async def test_whoever_is_limited_to_groups_sees_and_does_nothing_elsewhere(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path) as node, person(node, "installer") as client:
        await node.catalog.write(lambda catalog: add_devices(catalog, ["n1"], groups=("north",)), by=ACT)
        rollout_id = await started(node, client, 2, targets={"all": True})
        other = await put_execution(node, "d000", S.MANUAL)
        own = await put_execution(node, "n1", S.MANUAL)
        async with person(node, "operator", frozenset({"north"})) as limited:
            rows = (await limited.get(f"/api/v1/rollouts/{rollout_id}/executions")).json()["executions"]
            assert [row["device_id"] for row in rows] == ["n1"]
            assert (await limited.get("/api/v1/work-queue")).json()["count"] == 1
            for path in (f"/api/v1/executions/{other}", "/api/v1/devices/d000/executions"):
                assert (await limited.get(path)).status_code == 404
            # An execution's id can be guessed from another one's: neither that it is there nor whose it is may be said.
            hidden = (await limited.get(f"/api/v1/executions/{other}")).json()
            nothing = (await limited.get("/api/v1/executions/none")).json()
            assert hidden["code"] == nothing["code"] == "execution_unknown"
            assert "d000" not in str(hidden)
            assert (await limited.post(f"/api/v1/executions/{other}/ignore", json={})).status_code == 404
            assert (await limited.post(f"/api/v1/executions/{own}/ignore", json={})).status_code == 200
            assert (await limited.post("/api/v1/firmware/raise-fence")).status_code == 403


async def test_before_the_engine_is_there(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path) as ready, person(ready, "admin") as client:
        await started(ready, client)
        execution_id = await put_execution(ready, "d000", S.MANUAL)
        node = ready.with_services(updates=None)
        async with person(node, "operator") as operator:
            answer = await operator.post(f"/api/v1/executions/{execution_id}/retry", json={})
            assert (answer.status_code, answer.json()["code"]) == (503, "updates_away")
