"""Rollouts over the API: drafts, previews, a second person, starting, stopping; and who may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.core.limits_updates import ROLLOUT_LARGE_DEVICE_COUNT
from appliance.management.executions import State
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import NOW_MS, Node, running_node
from tests.people_kit import person
from tests.rollout_kit import ARTIFACT, NEW, act, add_devices, made, names, prepare


async def set_states(node: Node, states: dict[str, State]) -> None:
    """Put executions where a test wants them, by device."""

    def write(catalog: Catalog) -> None:
        for device_id, state in states.items():
            catalog.execute(
                "UPDATE executions SET state = ?, started_at_ms = 1, origin = ?, hlc = ? WHERE device_id = ?",
                (state, catalog.origin, catalog.hlc, device_id),
            )

    await node.catalog.write(write, by=ACT)


async def test_a_draft_is_made_changed_submitted_and_started(tmp_path: Path) -> None:
    woken = []
    async with (
        running_node(tmp_path, wake_updates=lambda: woken.append(1)) as node,
        person(node, "operator") as client,
    ):
        await prepare(node, 20)
        rollout = await made(
            client, plan={"waves": ["2", "100%"], "window": {"from": "22:00", "to": "04:00"}}
        )
        path = f"/api/v1/rollouts/{rollout['rollout_id']}"
        assert (rollout["state"], rollout["created_by"], rollout["may"]) == (
            "draft", "operator", ["submit", "abort"],
        )  # fmt: skip
        assert rollout["artifact"] == {
            "artifact_id": ARTIFACT, "name": "fw", "version": "2.0", "sha256": NEW, "size_bytes": 1000,
        }  # fmt: skip
        assert rollout["plan"]["window"]["days"] == ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        got = await client.get(path)
        assert got.json() == rollout
        edit = await client.patch(
            path, json={"name": "June", "plan": {"waves": ["1", "50%", "100%"]}}, headers={"if-match": got.headers["etag"]}
        )  # fmt: skip
        assert (edit.status_code, edit.json()["name"], edit.json()["plan"]["window"]) == (200, "June", None)
        stale = await client.patch(path, json={"name": "x"}, headers={"if-match": got.headers["etag"]})
        assert (stale.status_code, stale.json()["code"]) == (412, "version_differs")
        submitted = await act(client, rollout["rollout_id"], "submit")
        assert (submitted["state"], submitted["may"]) == ("ready", ["refuse", "start", "abort"])
        started = await act(client, rollout["rollout_id"], "start")
        assert (started["state"], started["wave"], started["started_at_ms"]) == ("running", 0, NOW_MS)
        assert started["deadline_at_ms"] == NOW_MS + 14 * 86_400_000
        assert [wave["device_count"] for wave in started["waves"]] == [1, 9, 10]
        assert started["waves"][0]["by_state"] == {"queued": 1}
        assert (started["device_count"], started["abort_count"]) == (20, 20)
        assert len(woken) == 4
        listed = (await client.get("/api/v1/rollouts?state=running")).json()
        assert [each["rollout_id"] for each in listed["rollouts"]] == [rollout["rollout_id"]]
        assert (await client.get("/api/v1/rollouts?state=draft")).json()["rollouts"] == []


async def test_a_preview_says_who_and_who_not_and_why(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await prepare(node, 30)

        def write(catalog: Catalog) -> None:
            add_devices(catalog, ["same"], groups=("hall",), digest=NEW)
            catalog.execute(
                "INSERT INTO known_bad (known_bad_id, device_id, digest, execution_id, reason, created_at_ms, origin, hlc) "
                "VALUES ('d004', 'd004', ?, 'e', 'fell back', 1, ?, ?)",
                (NEW, catalog.origin, catalog.hlc),
            )

        await node.catalog.write(write, by=ACT)
        answer = await client.get(
            f"/api/v1/rollouts/preview?artifact_id={ARTIFACT}&group=hall&except=d001&except=d002&wave=3&wave=100%25"
        )
        found = answer.json()
        assert answer.status_code == 200, found
        assert (found["device_count"], found["already_count"]) == (27, 1)
        assert found["wave_sizes"] == [3, 24]
        assert found["needs_approval"] is True
        assert found["devices"][:2] == ["d000", "d003"]
        left_out = {each["reason"]: (each["device_count"], each["devices"]) for each in found["left_out"]}
        assert left_out == {"excluded": (2, ["d001", "d002"]), "known_bad": (1, ["d004"])}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"artifact_id": "none"}, 404, "artifact_unknown"),
        ({"targets": {"groups": ["nowhere"]}}, 404, "group_unknown"),
        ({"targets": {"tags": ["nothing"]}}, 404, "tag_unknown"),
        ({"targets": {"devices": ["d999"]}}, 404, "device_unknown"),
        ({"targets": {}}, 422, "targets_invalid"),
        ({"plan": {"waves": ["5%"]}}, 422, "wave_invalid"),
        ({"plan": {"window": {"from": "25:00", "to": "04:00"}}}, 422, "window_invalid"),
        ({"plan": {"concurrency_max": 0}}, 422, "plan_invalid"),
        ({"policy": {"max_attempts": 0}}, 422, "plan_invalid"),
        ({"plan": {"speed": 9}}, 422, "body_unusable"),
        ({"name": "two\nlines"}, 422, "rollout_name"),
    ],
)
async def test_what_no_rollout_is(tmp_path: Path, change: dict[str, Any], status: int, code: str) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await prepare(node, 2)
        wish = {"name": "May", "artifact_id": ARTIFACT, "targets": {"groups": ["hall"]}, **change}
        answer = await client.post("/api/v1/rollouts", json=wish)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.json()["hint"]


async def test_a_second_person_approves_a_large_one(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path) as node,
        person(node, "operator") as maker,
        person(node, "installer") as other,
        person(node, "admin") as admin,
    ):
        await prepare(node, ROLLOUT_LARGE_DEVICE_COUNT + 1)
        rollout_id = (await made(other))["rollout_id"]
        assert (await act(maker, rollout_id, "submit"))["state"] == "awaiting_approval"
        path = f"/api/v1/rollouts/{rollout_id}"
        assert (await maker.post(path + "/start")).json()["code"] == "rollout_state"
        assert (await maker.post(path + "/approve")).json()["code"] == "role_too_low"
        own = await other.post(path + "/approve")
        assert (own.status_code, own.json()["code"]) == (403, "own_rollout")
        sent_back = await act(admin, rollout_id, "refuse", {"reason": "Not on a Friday."})
        assert (sent_back["state"], sent_back["reason"]) == ("draft", "Not on a Friday.")
        # Whoever changes it is its maker: the one of before may approve it now, and they may not.
        assert (await admin.patch(path, json={"name": "Monday"})).json()["created_by"] == "admin"
        await act(maker, rollout_id, "submit")
        assert (await admin.post(path + "/approve")).json()["code"] == "own_rollout"
        read = await other.get(path)
        changed = await other.post(path + "/approve", headers={"if-match": '"1-x"'})
        assert changed.json()["code"] == "version_differs"
        approved = await other.post(path + "/approve", headers={"if-match": read.headers["etag"]})
        assert (approved.json()["state"], approved.json()["approved_by"]) == ("ready", "installer")
        assert (await act(maker, rollout_id, "start"))["state"] == "running"


async def test_an_api_token_counts_as_its_owner(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as owner:
        await prepare(node, ROLLOUT_LARGE_DEVICE_COUNT + 1)
        rollout_id = (await made(owner))["rollout_id"]
        await act(owner, rollout_id, "submit")
        body = {"name": "script", "role": "installer", "expires_in_s": 600}
        token = (await owner.post("/api/v1/api-tokens", json=body)).json()["token"]
        async with node.client() as script:
            script.headers["authorization"] = f"Bearer {token}"
            answer = await script.post(f"/api/v1/rollouts/{rollout_id}/approve")
            assert (answer.status_code, answer.json()["code"]) == (403, "own_rollout")


async def test_who_grew_since_then_needs_an_approval_at_the_start(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await prepare(node, 2)
        rollout_id = (await made(client))["rollout_id"]
        assert (await act(client, rollout_id, "submit"))["state"] == "ready"
        more = [f"more{n}" for n in range(ROLLOUT_LARGE_DEVICE_COUNT)]
        await node.catalog.write(lambda catalog: add_devices(catalog, more, groups=("hall",)), by=ACT)
        answer = await client.post(f"/api/v1/rollouts/{rollout_id}/start")
        assert (answer.status_code, answer.json()["code"]) == (409, "rollout_needs_approval")
        assert (await act(client, rollout_id, "refuse", {}))["state"] == "draft"


async def test_nobody_left_to_update_is_said_at_once(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await prepare(node, 2, digest=NEW)
        rollout_id = (await made(client))["rollout_id"]
        answer = await client.post(f"/api/v1/rollouts/{rollout_id}/submit")
        assert (answer.status_code, answer.json()["code"]) == (409, "targets_none")
        assert "2 run it already" in answer.json()["detail"]


async def test_pause_resume_abort_and_rollback_with_their_counts(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await prepare(node, 10)
        rollout_id = (await made(client))["rollout_id"]
        await act(client, rollout_id, "submit")
        await act(client, rollout_id, "start")
        paused = await act(client, rollout_id, "pause", {"reason": "Lightning."})
        assert (paused["state"], paused["reason"]) == ("paused", "Lightning.")
        await set_states(node, {"d000": State.SUCCEEDED, "d001": State.ROLLED_BACK, "d002": State.TESTING})
        resumed = await act(client, rollout_id, "resume")
        assert (resumed["state"], resumed["accepted_failures"], resumed["reason"]) == ("running", 1, "")
        path = f"/api/v1/rollouts/{rollout_id}"
        wrong = await client.post(path + "/abort", json={"confirm_count": 3})
        assert (wrong.status_code, wrong.json()["code"]) == (409, "confirmation_differs")
        assert "8 devices" in wrong.json()["detail"]
        stopping = await act(client, rollout_id, "abort", {"confirm_count": 8})
        assert (stopping["state"], stopping["reason"], stopping["ended_at_ms"]) == (
            "stopping", "Stopped by hand.", None,
        )  # fmt: skip
        assert (await client.post(path + "/rollback", json={"confirm_count": 2})).json()[
            "code"
        ] == "rollout_state"


async def test_a_rollback_is_of_a_wave_or_of_all(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await prepare(node, 10)
        rollout_id = (await made(client))["rollout_id"]
        await act(client, rollout_id, "submit")
        await act(client, rollout_id, "start")
        await set_states(node, dict.fromkeys(names(10), State.SUCCEEDED))
        path = f"/api/v1/rollouts/{rollout_id}"
        found = (await client.get(path)).json()
        assert [wave["rollback_count"] for wave in found["waves"]] == [10, 9, 7]
        wrong = await client.post(path + "/rollback", json={"from_wave": 1, "confirm_count": 10})
        assert "9 devices go back" in wrong.json()["detail"]
        back = await act(client, rollout_id, "rollback", {"from_wave": 1, "confirm_count": 9})
        assert (back["state"], back["rollback_from_wave"]) == ("rolling_back", 1)


async def test_a_draft_that_is_given_up_has_ended(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await prepare(node, 1)
        rollout_id = (await made(client))["rollout_id"]
        stopped = await act(client, rollout_id, "abort", {"confirm_count": 0})
        assert (stopped["state"], stopped["ended_at_ms"]) == ("stopped", NOW_MS)


async def test_the_same_start_sent_again_starts_nothing(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await prepare(node, 3)
        rollout_id = (await made(client))["rollout_id"]
        await act(client, rollout_id, "submit")
        key = {"idempotency-key": "k1"}
        first = await client.post(f"/api/v1/rollouts/{rollout_id}/start", headers=key)
        again = await client.post(f"/api/v1/rollouts/{rollout_id}/start", headers=key)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json() == first.json()
        rows = await node.catalog.read(lambda catalog: catalog.rows("SELECT count(*) FROM executions"))
        assert rows[0][0] == 3


async def test_whoever_is_limited_to_groups_sees_their_own_devices_only(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await prepare(node, 3)
        await node.catalog.write(
            lambda catalog: add_devices(catalog, ["n1", "n2"], groups=("north",)), by=ACT
        )
        wish = {"targets": {"all": True}, "plan": {"canaries": ["d000"]}}
        rollout_id = (await made(client, **wish))["rollout_id"]
        await act(client, rollout_id, "submit")
        await act(client, rollout_id, "start")
        async with person(node, "viewer", frozenset({"north"})) as limited:
            seen = (await limited.get(f"/api/v1/rollouts/{rollout_id}")).json()
            assert seen["device_count"] == 2
            assert (seen["targets"]["all"], seen["plan"]["canaries"]) == (False, [])
            answer = await limited.post(f"/api/v1/rollouts/{rollout_id}/pause", json={})
            assert answer.json()["code"] == "role_too_low"


async def test_no_such_rollout(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        assert (await client.get("/api/v1/rollouts/none")).json()["code"] == "rollout_unknown"
        assert (await client.post("/api/v1/rollouts/none/start")).status_code == 404
