"""Each unsafe endpoint that succeeds leaves an entry in the audit, under the name of who asked: never Homeport's or nobody's.

An endpoint without a recipe here fails the test.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pyotp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.core.limits import TOTP_STEP_MS
from appliance.core.limits_updates import ROLLOUT_LARGE_DEVICE_COUNT
from appliance.identity import recovery_kit
from appliance.identity.recovery_kit import RecoveryKit
from appliance.management.artifact_keys import KeySet, PublicKey
from appliance.management.executions import State
from appliance.management.twin import SectionChange, TwinChange
from storage.catalog import Catalog
from storage.fleet.epoch_files import Doubt, write_doubt
from tests import alarm_kit, rollout_kit, tier_kit
from tests.acts import ACT
from tests.backup_kit import make_repository
from tests.broker_stand_in import client_row, retained_row
from tests.ca_kit import make_csr, sign_by_itself
from tests.fleet_act_kit import A_LOST_RANGE, a_cloud_node, a_peer, a_range_that_is_missing
from tests.merge_kit import contradict
from tests.node_kit import NOW_MS, PASSWORD, Node
from tests.people_kit import add_user, person, tokens_of
from ui.api.routes import ENDPOINTS

MAINTENANCE: Final = {"scope": {"all": True}, "reason": "new boiler", "until_at_ms": NOW_MS + 60_000}
TARGET: Final = {"name": "Board", "settings": {"kind": "mqtt", "topic": "alarms/board"}}
SUGGESTION: Final = "another sentence, about coffee"


@dataclass(frozen=True)
class Recipe:
    """How an endpoint is made to succeed.

    Attributes:
        path: With what stands for the {names}.
        prepare: What must be there; gives further members of the body, or of the path.
    """

    path: str = ""
    body: Any = None
    query: str = ""
    csv: str = ""
    octets: bytes = b""
    actor: tuple[str, str] = ("admin", "user")
    prepare: Callable[[Node, httpx.AsyncClient], Awaitable[dict[str, Any]]] | None = None


def _device(state: str = "active") -> Callable[[Node, httpx.AsyncClient], Awaitable[dict[str, Any]]]:
    async def prepare(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
        def write(catalog: Catalog) -> None:
            if state == "waiting":
                catalog.note_first_contact(["d1"], at_ms=1)
            else:
                catalog.add_device("d1", tags=("a",))
                catalog.set_token("d1", bytes(32))

        await node.catalog.write(write, by=ACT)
        return {}

    return prepare


def _twin(name: str = "") -> Callable[[Node, httpx.AsyncClient], Awaitable[dict[str, Any]]]:
    async def prepare(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
        await _device()(node, client)
        change = TwinChange(reported=SectionChange(values={"a": 1}))
        await node.catalog.write(lambda catalog: catalog.update_twin("d1", name, change), by=ACT)
        # Deleting what nobody desired changes nothing that people set; here somebody has.
        change = TwinChange(desired=SectionChange(values={"a": 1}))
        await node.catalog.write(lambda catalog: catalog.update_twin("d1", name, change), by=ACT)
        return {}

    return prepare


RULE: Final = {
    "name": "Stuck",
    "definition": {"severity": "P3", "scope": {"all": True}, "condition": {"kind": "stuck", "for_s": 60}},
}


async def _command(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    await _device()(node, client)
    made = await client.post("/api/v1/devices/d1/commands", json={"method": "reboot"})
    return {"{command_id}": made.json()["command_id"]}


async def _device_token(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    await _device()(node, client)
    (token,) = (await client.get("/api/v1/devices/d1/tokens")).json()["tokens"]
    return {"{token_id}": token["token_id"]}


async def _claim(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    made = (await client.post("/api/v1/claims", json={"name": "batch"})).json()
    return {"{claim_id}": made["claim_id"]}


async def _certificate(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    await _device()(node, client)
    wish = {"device_id": "d1", "csr": make_csr("d1").decode()}
    made = (await client.post("/api/v1/certificates", json=wish)).json()
    return {"{serial}": made["serial"]}


async def _retention_class(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    wish = {"metric": "v_*", "hot_days": 5, "archive_days": 9}
    assert (await client.put("/api/v1/retention/vib", json=wish)).status_code == 200
    return {}


async def _of_itself(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    sign_by_itself(node.services.config.node.data_dir)
    return {}


async def _invitation(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    made = await client.post("/api/v1/replication/invitations", json={"kind": "other"})
    return {"{invitation_id}": made.json()["invitation_id"]}


async def _group(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    await node.catalog.write(lambda catalog: catalog.add_group("g1"), by=ACT)
    return {}


async def _mapping(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    made = await client.post("/api/v1/mappings", json={"pattern": "old/{device}"})
    return {"{mapping_id}": made.json()["mapping_id"]}


def _alarm(*, is_shelved: bool = False) -> Callable[[Node, httpx.AsyncClient], Awaitable[dict[str, Any]]]:
    async def prepare(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
        def write(catalog: Catalog) -> None:
            book = node.services.alarms.book
            alarm_kit.put_rule(catalog)
            book.apply(catalog, [alarm_kit.found()])
            if is_shelved:
                until_ms = NOW_MS + 60_000
                book.shelve(catalog, [alarm_kit.id_of()], until_ms=until_ms, reason="part", actor="anna")

        await node.catalog.write(write, by=ACT)
        return {"alarm_ids": [alarm_kit.id_of()]}

    return prepare


async def _maintenance(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    made = await client.post("/api/v1/maintenances", json=MAINTENANCE)
    return {"{maintenance_id}": made.json()["maintenance_id"]}


async def _conflict(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    conflict = await node.catalog.write(contradict, by=ACT)
    return {"{conflict_id}": conflict.conflict_id}


async def _rule(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    made = await client.post("/api/v1/rules", json=RULE)
    return {"{rule_id}": made.json()["rule_id"]}


async def _target(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    made = await client.post("/api/v1/notification-targets", json=TARGET)
    return {"{target_id}": made.json()["target_id"]}


async def _members(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    made = await _target(node, client)
    return {"definition": {"members": [{"name": "Anna", "targets": list(made.values())}]}}


async def _on_call_list(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    made = await client.post("/api/v1/on-call-lists", json={"name": "Site", **await _members(node, client)})
    return {"{list_id}": made.json()["list_id"]}


async def _anna(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    await add_user(node, "anna")
    return {}


async def _anna_with_totp(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    await add_user(node, "anna")
    await node.catalog.write(lambda catalog: catalog.set_totp("anna", "00"), by=ACT)
    return {}


async def _begun_totp(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    made = (await client.post("/api/v1/account/totp")).json()
    code = pyotp.TOTP(made["secret"]).at(node.clock.now_ms() // 1000)
    return {"enrolment": made["enrolment"], "code": code}


async def _active_totp(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    begun = await _begun_totp(node, client)
    answer = await client.post("/api/v1/account/totp/confirm", json={**begun, "password": PASSWORD})
    assert answer.status_code == 204, answer.text
    node.clock.advance(TOTP_STEP_MS)
    return {}


async def _other_session(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    await tokens_of(node, "admin")
    sessions = (await client.get("/api/v1/sessions")).json()["sessions"]
    return {"{session_id}": next(each["session_id"] for each in sessions if not each["is_this_one"])}


async def _refresh_token(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    return {"refresh_token": (await tokens_of(node, "admin"))["refresh_token"]}


async def _access_token(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    return {"token": (await tokens_of(node, "admin"))["access_token"]}


async def _api_token(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    body = {"name": "x", "role": "viewer", "expires_in_s": 60}
    return {"{token_id}": (await client.post("/api/v1/api-tokens", json=body)).json()["token_id"]}


async def _broker_client(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    node.broker.clients = [client_row("c1")]
    node.broker.retained = [retained_row(1, "t")]
    return {}


_fleet = tier_kit.in_a_fleet


async def _drill(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    await _fleet(node, client)
    node.services.drills.reserve(by="somebody")
    return {}


async def _doubt(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    await _fleet(node, client)
    write_doubt(node.services.config.node.data_dir, Doubt(reason="ahead", since_ms=1))
    return {}


async def _kit(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    return {"recovery_kit": RecoveryKit.of(node.services.config.node.data_dir).text()}


async def _backup(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    directory, made = make_repository(node.services.config, node.services.keys)

    def write(catalog: Catalog) -> None:
        catalog.begin_backup("begun", str(directory))
        catalog.finish_backup("begun", backup_id=made.backup_id, file_count=0, bytes_count=0, new_bytes=0)

    await node.catalog.write(write, by=ACT)
    return {"{backup_id}": made.backup_id}


async def _upload(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    made = await client.post("/api/v1/artifact-uploads", json={"name": "fw", "version": "1", "size_bytes": 3})
    return {"{upload_id}": made.json()["upload_id"]}


async def _sent_upload(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    found = await _upload(node, client)
    where = f"/api/v1/artifact-uploads/{found['{upload_id}']}?offset=0"
    sent = await client.patch(where, content=b"abc", headers={"content-type": "application/octet-stream"})
    assert sent.status_code == 200, sent.text
    return found


async def _artifact(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    found = await _sent_upload(node, client)
    made = await client.post(f"/api/v1/artifact-uploads/{found['{upload_id}']}/finish")
    return {"{artifact_id}": made.json()["artifact_id"]}


async def _box_key(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    assert (await client.post("/api/v1/artifact-keys/box")).status_code == 201
    return {}


async def _signable(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    await _box_key(node, client)
    return await _artifact(node, client)


async def _signed_elsewhere(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    found = await _signable(node, client)
    one = f"/api/v1/artifacts/{found['{artifact_id}']}"
    await client.post(f"{one}/sign", json={})
    return {**found, **(await client.get(f"{one}/manifest")).json()}


async def _kept_kit(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    assert recovery_kit.confirm(node.services.config.node.data_dir)
    return {}


async def _setup_code(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    return {"code": node.services.setup_code.issue()}


def _rollout(*acts: str, count: int = 2) -> Callable[[Node, httpx.AsyncClient], Awaitable[dict[str, Any]]]:
    """A rollout for so many devices, with which some things were done already."""

    async def prepare(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
        await rollout_kit.prepare(node, count)
        made = await rollout_kit.made(client)
        for name in acts:
            body = {"reason": ""} if name == "pause" else None
            await rollout_kit.act(client, made["rollout_id"], name, body)
        return {"{rollout_id}": made["rollout_id"]}

    return prepare


async def _rollout_of_another(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    await rollout_kit.prepare(node, ROLLOUT_LARGE_DEVICE_COUNT + 1)
    async with person(node, "operator") as other:
        made = await rollout_kit.made(other)
        await rollout_kit.act(other, made["rollout_id"], "submit")
    return {"{rollout_id}": made["rollout_id"]}


def _execution(
    state: State, **columns: Any
) -> Callable[[Node, httpx.AsyncClient], Awaitable[dict[str, Any]]]:
    """An execution that is there."""

    async def prepare(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
        rollout_id = await rollout_kit.started(node, client)
        execution_id = await rollout_kit.put_execution(node, "d000", state, **columns)
        return {"{execution_id}": execution_id, "{rollout_id}": rollout_id}

    return prepare


async def _known_bad(node: Node, client: httpx.AsyncClient) -> dict[str, str]:
    """A device that went back from an image."""

    def write(catalog: Catalog) -> None:
        rollout_kit.add_devices(catalog, ["d1"])
        with catalog.transaction():
            catalog.add_known_bad("d1", rollout_kit.NEW, execution_id="e1", reason="It fell back.", now_ms=1)

    await node.catalog.write(write, by=ACT)
    return {}


async def _recovered(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    found = await _execution(State.MANUAL, from_digest=rollout_kit.OLD, state_since_ms=0)(node, client)
    return {"{execution_id}": found["{execution_id}"]}


async def _rollout_wish(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    await rollout_kit.prepare(node, 1)
    return {"artifact_id": rollout_kit.ARTIFACT}


LOCAL: Final = ("local", "local")
ANNA: Final = Ed25519PrivateKey.from_private_bytes(b"anna" * 8).public_key().public_bytes_raw()
FIRST_KEYS: Final = KeySet(
    version=1, threshold=1, keys=[PublicKey(name="anna", public=base64.b64encode(ANNA).decode())]
).text()
RECIPES: Final[dict[str, Recipe]] = {
    "POST /setup": Recipe(
        body={"password": PASSWORD, "user_id": "owner"}, actor=("owner", "user"), prepare=_setup_code
    ),
    "POST /setup/code": Recipe(actor=LOCAL),
    "POST /session": Recipe(body={"user_id": "admin", "password": PASSWORD}),
    "DELETE /session": Recipe(),
    "POST /archive/days/{day}/verify": Recipe("/archive/days/2026-02-23/verify"),
    "POST /archive/days/{day}/restore": Recipe("/archive/days/2025-11-17/restore", {"until": "2026-03-01"}),
    "PUT /retention/{class_id}": Recipe(
        "/retention/vib", {"metric": "v_*", "hot_days": 5, "archive_days": 9}
    ),
    "DELETE /retention/{class_id}": Recipe("/retention/vib", prepare=_retention_class),
    "POST /devices/{device_id}/erase-readings": Recipe("/devices/d1/erase-readings", {"confirm": "d1"}),
    "POST /devices/import": Recipe(csv="device_id\nd1\n"),
    "POST /devices/bulk": Recipe(body={"op": "tag", "ids": ["d1"], "tag": "b"}, prepare=_device()),
    "PATCH /devices/{device_id}/twin": Recipe("/devices/d1/twin", {"desired": {"a": 2}}, prepare=_twin()),
    "DELETE /devices/{device_id}/twin": Recipe("/devices/d1/twin", prepare=_twin()),
    "PATCH /devices/{device_id}/twins/{name}": Recipe(
        "/devices/d1/twins/config", {"desired": {"a": 2}}, prepare=_device()
    ),
    "DELETE /devices/{device_id}/twins/{name}": Recipe("/devices/d1/twins/config", prepare=_twin("config")),
    "POST /devices/{device_id}/traces": Recipe("/devices/d1/traces", prepare=_device()),
    "POST /twins/bulk": Recipe(
        body={"devices": {"ids": ["d1"]}, "device_count": 1, "edit": {"desired": {"a": 2}}}, prepare=_device()
    ),
    "POST /devices/{device_id}/commands": Recipe(
        "/devices/d1/commands", {"method": "reboot"}, prepare=_device()
    ),
    "POST /devices/{device_id}/commands/{command_id}/cancel": Recipe(
        "/devices/d1/commands/{command_id}/cancel", prepare=_command
    ),
    "POST /commands/bulk": Recipe(
        body={"devices": {"ids": ["d1"]}, "device_count": 1, "command": {"method": "reboot"}},
        prepare=_device(),
    ),
    "POST /devices": Recipe(body={"device_id": "d1"}),
    "PATCH /devices/{device_id}": Recipe("/devices/d1", {"name": "Pump"}, prepare=_device()),
    "POST /devices/{device_id}/adopt": Recipe("/devices/d1/adopt", prepare=_device("waiting")),
    "POST /devices/{device_id}/reject": Recipe("/devices/d1/reject", prepare=_device("waiting")),
    "POST /devices/{device_id}/decommission": Recipe("/devices/d1/decommission", prepare=_device()),
    "POST /devices/{device_id}/access": Recipe("/devices/d1/access", {"access": "site"}, prepare=_device()),
    "POST /devices/{device_id}/replace": Recipe("/devices/d1/replace", {"serial": "s2"}, prepare=_device()),
    "POST /devices/{device_id}/token": Recipe("/devices/d1/token", {}, prepare=_device()),
    "DELETE /devices/{device_id}/tokens/{token_id}": Recipe(
        "/devices/d1/tokens/{token_id}", prepare=_device_token
    ),
    "POST /claims": Recipe(body={"name": "batch"}),
    "POST /claims/{claim_id}/revoke": Recipe(prepare=_claim),
    "POST /certificates": Recipe(body={"device_id": "d1", "csr": make_csr("d1").decode()}, prepare=_device()),
    "POST /certificates/{serial}/revoke": Recipe(body={}, prepare=_certificate),
    "POST /devices/{device_id}/certificates/revoke": Recipe(
        "/devices/d1/certificates/revoke", {}, prepare=_certificate
    ),
    "POST /ca/box-certificate": Recipe(prepare=_of_itself),
    "POST /ca/renew": Recipe(body={}, actor=LOCAL, prepare=_kit),
    "POST /recovery-kit/confirm": Recipe(body={}, actor=LOCAL),
    "POST /dead-letters/replays": Recipe(body={"reason": "bad_json"}),
    "POST /alarms/acknowledge": Recipe(body={}, prepare=_alarm()),
    "POST /alarms/shelve": Recipe(body={"until_ms": NOW_MS + 60_000, "reason": "part"}, prepare=_alarm()),
    "POST /alarms/unshelve": Recipe(body={}, prepare=_alarm(is_shelved=True)),
    "POST /conflicts/{conflict_id}/resolve": Recipe(body={"value": 1}, prepare=_conflict),
    "POST /maintenances": Recipe(body=MAINTENANCE),
    "POST /maintenances/{maintenance_id}/end": Recipe(prepare=_maintenance),
    "POST /notification-targets": Recipe(body=TARGET),
    "PATCH /notification-targets/{target_id}": Recipe(body={"enabled": False}, prepare=_target),
    "DELETE /notification-targets/{target_id}": Recipe(prepare=_target),
    "POST /notification-targets/{target_id}/test": Recipe(prepare=_target),
    "POST /on-call-lists": Recipe(body={"name": "Site", "definition": {}}, prepare=_members),
    "PATCH /on-call-lists/{list_id}": Recipe(body={"enabled": False}, prepare=_on_call_list),
    "DELETE /on-call-lists/{list_id}": Recipe(prepare=_on_call_list),
    "POST /rules": Recipe(body=RULE),
    "PATCH /rules/{rule_id}": Recipe(body={"enabled": False}, prepare=_rule),
    "DELETE /rules/{rule_id}": Recipe(prepare=_rule),
    "POST /rules/import": Recipe(body={"homeport_rules": 1, "rules": [RULE]}),
    "POST /mappings": Recipe(body={"pattern": "new/{device}"}),
    "PATCH /mappings/{mapping_id}": Recipe(body={"note": "because"}, prepare=_mapping),
    "DELETE /mappings/{mapping_id}": Recipe(prepare=_mapping),
    "PATCH /artifacts/{artifact_id}": Recipe(body={"note": "for hall 4"}, prepare=_artifact),
    "DELETE /artifacts/{artifact_id}": Recipe(prepare=_artifact),
    "POST /artifacts/{artifact_id}/check": Recipe(prepare=_artifact),
    "PUT /artifacts/{artifact_id}/manifest": Recipe(body={}, prepare=_signed_elsewhere),
    "POST /artifacts/{artifact_id}/sign": Recipe(body={}, prepare=_signable),
    "POST /artifact-uploads": Recipe(body={"name": "fw", "version": "1", "size_bytes": 3}),
    "PATCH /artifact-uploads/{upload_id}": Recipe(query="?offset=0", octets=b"abc", prepare=_upload),
    "POST /artifact-uploads/{upload_id}/finish": Recipe(prepare=_sent_upload),
    "DELETE /artifact-uploads/{upload_id}": Recipe(prepare=_upload),
    "PUT /artifact-keys": Recipe(body={"document": FIRST_KEYS}),
    "PATCH /artifact-keys": Recipe(body={"unsigned": "allow"}),
    "POST /artifact-keys/reset": Recipe(body={"document": FIRST_KEYS}, actor=LOCAL),
    "POST /artifact-keys/box": Recipe(),
    "DELETE /artifact-keys/box": Recipe(prepare=_box_key),
    "POST /groups": Recipe(body={"group_id": "g1"}),
    "PATCH /groups/{group_id}": Recipe("/groups/g1", {"name": "Hall"}, prepare=_group),
    "DELETE /groups/{group_id}": Recipe("/groups/g1", prepare=_group),
    "POST /tags/rename": Recipe(body={"tag": "a", "new": "b"}, prepare=_device()),
    "DELETE /tags": Recipe(query="?tag=a", prepare=_device()),
    "POST /rollouts": Recipe(body={"name": "May", "targets": {"groups": ["hall"]}}, prepare=_rollout_wish),
    "PATCH /rollouts/{rollout_id}": Recipe(body={"name": "June"}, prepare=_rollout()),
    "POST /rollouts/{rollout_id}/submit": Recipe(prepare=_rollout()),
    "POST /rollouts/{rollout_id}/approve": Recipe(prepare=_rollout_of_another),
    "POST /rollouts/{rollout_id}/refuse": Recipe(body={"reason": "No."}, prepare=_rollout("submit")),
    "POST /rollouts/{rollout_id}/start": Recipe(prepare=_rollout("submit")),
    "POST /rollouts/{rollout_id}/pause": Recipe(body={}, prepare=_rollout("submit", "start")),
    "POST /rollouts/{rollout_id}/resume": Recipe(prepare=_rollout("submit", "start", "pause")),
    "POST /rollouts/{rollout_id}/abort": Recipe(
        body={"confirm_count": 2}, prepare=_rollout("submit", "start")
    ),
    "POST /rollouts/{rollout_id}/rollback": Recipe(
        body={"confirm_count": 0}, prepare=_rollout("submit", "start")
    ),
    "POST /rollouts/{rollout_id}/retry-failed": Recipe(prepare=_execution(State.FAILED, ended_at_ms=1)),
    "POST /firmware/forgive": Recipe(
        body={"known_bad_id": f"d1/{rollout_kit.NEW}", "reason": "mended"}, prepare=_known_bad
    ),
    "POST /executions/{execution_id}/retry": Recipe(body={}, prepare=_execution(State.MANUAL)),
    "POST /executions/{execution_id}/retry-rollback": Recipe(body={}, prepare=_execution(State.MANUAL)),
    "POST /executions/{execution_id}/mark-recovered": Recipe(body={}, prepare=_recovered),
    "POST /executions/{execution_id}/replace": Recipe(body={}, prepare=_execution(State.MANUAL)),
    "POST /executions/{execution_id}/ignore": Recipe(body={}, prepare=_execution(State.MANUAL)),
    "POST /executions/{execution_id}/accept": Recipe(body={}, prepare=_execution(State.REGRESSED)),
    "POST /executions/{execution_id}/cancel": Recipe(body={}, prepare=_execution(State.DOWNLOADING)),
    "POST /executions/{execution_id}/rollback": Recipe(body={}, prepare=_execution(State.SUCCEEDED)),
    "POST /firmware/raise-fence": Recipe(),
    "POST /broker/clients/{client_id}/kick": Recipe("/broker/clients/c1/kick", prepare=_broker_client),
    "DELETE /broker/clients/{client_id}": Recipe("/broker/clients/c1", prepare=_broker_client),
    "POST /query": Recipe(body={"sql": "SELECT 1"}),
    "DELETE /broker/retained": Recipe(query="?topic=t", prepare=_broker_client),
    "POST /replication/invitations": Recipe(body={"kind": "other"}),
    "DELETE /replication/invitations/{invitation_id}": Recipe(prepare=_invitation),
    "POST /replication/tier/rotate-key": Recipe(prepare=tier_kit.region_of),
    "POST /replication/nodes/{node_id}/decommission": Recipe(body={"reason": "sold"}, prepare=a_peer),
    "PUT /replication/readers/{node_id}": Recipe(prepare=a_cloud_node),
    "DELETE /replication/readers/{node_id}": Recipe(prepare=a_cloud_node),
    "POST /replication/lost": Recipe(body=A_LOST_RANGE, prepare=a_range_that_is_missing),
    "POST /replication/drills": Recipe(prepare=_fleet),
    "POST /replication/tier/drills": Recipe(body={}, prepare=tier_kit.region_and_fleet),
    "POST /replication/drills/stop": Recipe(prepare=_drill),
    "POST /replication/grants": Recipe(body={"reason": "burnt"}, prepare=_doubt),
    "PATCH /settings": Recipe(body={"values": {"site.name": "Plant 4"}}),
    "POST /users": Recipe(body={"user_id": "anna", "password": PASSWORD, "role": "viewer"}),
    "PATCH /users/{user_id}": Recipe("/users/anna", {"role": "operator"}, prepare=_anna),
    "DELETE /users/{user_id}": Recipe("/users/anna", prepare=_anna),
    "POST /users/{user_id}/password": Recipe("/users/anna/password", {"password": SUGGESTION}, prepare=_anna),
    "DELETE /users/{user_id}/totp": Recipe("/users/anna/totp", prepare=_anna_with_totp),
    "POST /users/{user_id}/sign-out": Recipe("/users/anna/sign-out", prepare=_anna),
    "PATCH /account": Recipe(body={"display_name": "Me"}),
    "POST /account/password": Recipe(body={"old_password": PASSWORD, "password": SUGGESTION}),
    "POST /account/totp": Recipe(),
    "POST /account/totp/confirm": Recipe(body={"password": PASSWORD}, prepare=_begun_totp),
    "POST /account/totp/remove": Recipe(body={"password": PASSWORD}, prepare=_active_totp),
    "DELETE /sessions/{session_id}": Recipe(prepare=_other_session),
    "POST /account/sign-out-others": Recipe(),
    "POST /tokens": Recipe(body={"user_id": "admin", "password": PASSWORD}),
    "POST /tokens/refresh": Recipe(body={}, prepare=_refresh_token),
    "POST /tokens/revoke": Recipe(body={}, prepare=_access_token),
    "POST /api-tokens": Recipe(body={"name": "x", "role": "viewer", "expires_in_s": 60}),
    "DELETE /api-tokens/{token_id}": Recipe(prepare=_api_token),
    "POST /keys/rotate": Recipe(),
    "POST /backups": Recipe(body={"directory": "/mnt/usb"}, prepare=_kept_kit),
    "PUT /backups/schedule": Recipe(body={"directory": "/mnt/usb"}),
    "POST /backups/{backup_id}/verify": Recipe(body={}, prepare=_backup),
    "DELETE /backups/{backup_id}": Recipe(prepare=_backup),
}


def test_every_unsafe_endpoint_has_a_recipe() -> None:
    assert {f"{each.method} {each.path}" for each in ENDPOINTS if each.method != "GET"} == set(RECIPES)


@pytest.mark.parametrize("row", RECIPES)
async def test_it_names_who_asked(tmp_path: Path, row: str) -> None:
    recipe = RECIPES[row]
    method, template = row.split(" ", 1)
    is_unclaimed = template in ("/setup", "/setup/code")
    async with (
        rollout_kit.node_with_updates(tmp_path) as node,
        node.client(local=recipe.actor == LOCAL) as client,
    ):
        if not is_unclaimed:
            await node.add_admin()
        if not is_unclaimed and recipe.actor != LOCAL:
            answer = await client.post("/api/v1/session", json={"user_id": "admin", "password": PASSWORD})
            client.headers["x-csrf-token"] = answer.json()["csrf_token"]
        found = await recipe.prepare(node, client) if recipe.prepare else {}
        path = recipe.path or template
        for name, value in found.items():
            path = path.replace(name, str(value)) if name.startswith("{") else path
        body = recipe.body
        if body is not None:
            body = {**body, **{name: value for name, value in found.items() if not name.startswith("{")}}
        before = await _last_seq(node)
        content: dict[str, Any] = {"json": body}
        if recipe.csv:
            content = {"content": recipe.csv, "headers": {"content-type": "text/csv"}}
        elif recipe.octets:
            content = {"content": recipe.octets, "headers": {"content-type": "application/octet-stream"}}
        answer = await client.request(method, f"/api/v1{path}{recipe.query}", **content)
        assert answer.status_code < 300, answer.text
        entries = await node.catalog.read(
            lambda catalog: catalog.rows(
                "SELECT actor, actor_kind, address, outcome, action FROM audit WHERE seq > ?", (before,)
            )
        )
        assert entries, "nothing in the audit"
        assert {(entry["actor"], entry["actor_kind"]) for entry in entries} == {recipe.actor}
        assert {entry["outcome"] for entry in entries} == {"done"}
        assert {entry["address"] for entry in entries} == {"" if recipe.actor == LOCAL else "192.0.2.7"}


async def _last_seq(node: Node) -> int:
    (row,) = await node.catalog.read(lambda catalog: catalog.rows("SELECT coalesce(max(seq), 0) FROM audit"))
    return int(row[0])
