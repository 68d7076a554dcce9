"""Trying again what failed of a rollout, from its page."""

from __future__ import annotations

from pathlib import Path

from appliance.management.executions import State
from tests.people_kit import audit_of, person
from tests.rollout_kit import made, node_with_updates, prepare, put_execution, started


async def test_the_button_is_there_for_what_failed_and_does_it(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        rollout_id = await started(node, client, 3)
        url = f"/firmware/rollouts/{rollout_id}"
        assert "Retry the failed" not in (await client.get(url)).text
        failed = await put_execution(node, "d000", State.FAILED, ended_at_ms=1)
        assert "Retry the failed" in (await client.get(url)).text
        done = await client.post(f"{url}/retry-failed")
        assert (done.status_code, done.headers["location"]) == (303, f"{url}?done=retried")
        assert "are tried again" in (await client.get(f"{url}?done=retried")).text
        answer = (await client.get(f"/api/v1/executions/{failed}")).json()
        assert answer["state"] == "queued"
        assert (await audit_of(node, "rollout.retry_failed"))[0][0] == "operator"


async def test_what_has_not_started_or_is_not_there_says_why_not(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 2)
        rollout_id = (await made(client))["rollout_id"]
        page = await client.post(f"/firmware/rollouts/{rollout_id}/retry-failed")
        assert page.status_code == 409
        assert "nothing of it is tried again together" in page.text
        assert (await client.post("/firmware/rollouts/unknown/retry-failed")).status_code == 404
