"""The audit over the API: reading, exporting, checking."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from appliance.core.errors import Unavailable
from appliance.identity.audit_check import AuditCheck
from appliance.management.audit import AuditEntry
from appliance.management.audit_chain import SignedHead
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import NOW_MS, QUICK, running_node
from ui.api import audit


async def test_who_did_what_from_where_with_before_and_after(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        made = await client.post("/api/v1/devices", json={"device_id": "d1"})
        await client.post("/api/v1/devices/d1/access", json={"access": "site"})
        answer = await client.get("/api/v1/audit", params={"object_kind": "device", "object_id": "d1"})
        changed, created = answer.json()["entries"]
        assert (changed["action"], changed["actor"], changed["address"]) == (
            "device.set_access",
            "admin",
            "192.0.2.7",
        )
        assert changed["before"]["access"] == "own"
        assert changed["after"]["access"] == "site"
        assert created["before"] is None
        assert created["trace_id"] == made.headers["x-trace-id"]
        assert created["at_ms"] == NOW_MS
        assert made.json()["token"] not in json.dumps((await client.get("/api/v1/audit")).json())
        by_trace = await client.get("/api/v1/audit", params={"trace_id": created["trace_id"]})
        assert {entry["object_kind"] for entry in by_trace.json()["entries"]} == {"device", "device_token"}


async def test_pages_and_filters(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await node.catalog.write(lambda c: [c.add_device(f"d{n}") for n in range(5)], by=ACT)
        first = (await client.get("/api/v1/audit?limit=2")).json()
        second = (await client.get(f"/api/v1/audit?limit=9&cursor={first['next_cursor']}")).json()
        assert [e["seq"] for e in first["entries"] + second["entries"]] == [5, 4, 3, 2, 1]
        assert second["next_cursor"] is None
        none = await client.get(
            "/api/v1/audit?from=2100-01-01T00:00:00Z&outcome=refused&actor=x&action=test.write"
        )
        assert none.json()["entries"] == []
        bad = await client.get("/api/v1/audit?from=tomorrow")
        assert (bad.status_code, bad.json()["code"]) == (422, "time_invalid")
        assert (await client.get("/api/v1/audit?cursor=x")).json()["code"] == "cursor_invalid"


async def test_only_an_admin_reads_it_and_a_refusal_is_in_it(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        for path in ("/audit", "/audit/export", "/audit/verify"):
            assert (await client.get(f"/api/v1{path}")).status_code == 401
        password_hash = QUICK.hash("a quiet sentence about tea")
        await node.catalog.write(
            lambda c: c.add_user("olga", role="operator", password_hash=password_hash), by=ACT
        )
        signed_in = await client.post(
            "/api/v1/session", json={"user_id": "olga", "password": "a quiet sentence about tea"}
        )
        assert signed_in.status_code == 201
        for path in ("/audit", "/audit/export", "/audit/verify", "/audit"):
            refused = await client.get(f"/api/v1{path}")
            assert (refused.status_code, refused.json()["code"]) == (403, "role_too_low")
        async with node.client(local=True) as local:
            found = (await local.get("/api/v1/audit?action=permission&outcome=refused")).json()["entries"]
        assert [entry["object_id"] for entry in found] == [
            "GET /api/v1/audit/verify",
            "GET /api/v1/audit/export",
            "GET /api/v1/audit",
        ]
        assert {entry["actor"] for entry in found} == {"olga"}


async def test_an_export_is_whole_signed_and_itself_in_the_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_BATCH_COUNT", 2)
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await node.catalog.write(lambda c: [c.add_device(f"d{n}") for n in range(7)], by=ACT)
        answer = await client.get("/api/v1/audit/export")
        assert answer.headers["content-type"].startswith("application/jsonl")
        assert 'filename="homeport-audit.jsonl"' in answer.headers["content-disposition"]
        *lines, last = [json.loads(line) for line in answer.text.splitlines()]
        entries = [AuditEntry(**line) for line in lines]
        assert (entries[-1].action, entries[-1].actor_kind) == ("audit.export", "local")
        head = SignedHead(**last["head"])
        assert (head.seq, head.hash, last["entry_count"]) == (8, entries[-1].hash, 8)
        check = AuditCheck(
            origin=node.services.keys.node_id.hex(), key_id=node.services.keys.signer.key_id, known=[head]
        )
        assert check.of_entries(entries, NOW_MS).fault is None
        assert check.of_entries(entries[:-1], NOW_MS).fault is not None
        # Places are given back.
        for _ in range(4):
            assert (await client.get("/api/v1/audit/export?format=csv&actor=nobody")).status_code == 200


async def test_an_export_as_csv_with_a_filter(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await node.catalog.write(lambda c: c.add_device("d1", name="=cmd|' /C calc'!A0"), by=ACT)
        answer = await client.get("/api/v1/audit/export?format=csv&object_kind=device")
        assert answer.headers["content-type"].startswith("text/csv")
        entry, head = csv.DictReader(io.StringIO(answer.text))
        assert (entry["object_id"], head["entry_id"]) == ("d1", "(head)")
        assert '{"object_kind": "device"}' in head["detail"]


async def test_an_export_that_breaks_off_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await node.catalog.write(lambda c: c.add_device("d1"), by=ACT)

        def fail(*_: object, **__: object) -> list[AuditEntry]:
            raise Unavailable("The catalog did not answer in time.", hint="", code="catalog_timeout")

        monkeypatch.setattr(Catalog, "audit_chain", fail)
        answer = await client.get("/api/v1/audit/export")
        last = json.loads(answer.text)
        assert last["head"] is None
        assert last["problem"].startswith("The export broke off")


async def test_a_broken_audit_can_be_exported(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await node.catalog.write(lambda c: [c.add_device("d1"), c.add_device("d2")], by=ACT)
        await node.services.audit.head()
        await node.catalog.write(lambda c: c.add_device("d3"), by=ACT)
        await node.catalog.write(lambda c: c.execute("DROP TRIGGER audit_no_delete"), by=ACT)
        await node.catalog.write(lambda c: c.execute("DELETE FROM audit WHERE seq = 2"), by=ACT)
        last = json.loads((await client.get("/api/v1/audit/export")).text.splitlines()[-1])
        assert last["head"] is None
        assert "is not what this node signed" in last["problem"]
        verdict = (await client.get("/api/v1/audit/verify")).json()
        assert (verdict["ok"], verdict["chains"][0]["fault"]["code"]) == (False, "entry_missing")


async def test_whether_it_is_whole(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await node.catalog.write(lambda c: c.add_device("d1"), by=ACT)
        verdict = (await client.get("/api/v1/audit/verify")).json()
        assert (verdict["ok"], verdict["entry_count"]) == (True, 1)
        assert verdict["key_id"] == node.services.keys.signer.key_id.hex()
        noted = await client.get(f"/api/v1/audit/verify?head=2:{'a' * 64}")
        assert noted.json()["chains"][0]["fault"]["code"] == "newest_missing"
        assert (await client.get("/api/v1/audit/verify?head=x")).json()["code"] == "audit_head_invalid"


async def test_what_changes_no_row_is_in_the_audit(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        assert (await client.post("/api/v1/setup/code")).status_code == 201
        assert (await client.post("/api/v1/broker/clients/nobody/kick")).status_code == 404
        await client.delete("/api/v1/broker/clients/nobody")
        await client.delete("/api/v1/broker/retained?topic=a/b")
        found = (await client.get("/api/v1/audit")).json()["entries"][::-1]
        assert [(e["action"], e["object_id"], e["outcome"]) for e in found][:3] == [
            ("setup_code.create", "box", "done"),
            ("client.kick", "nobody", "done"),
            ("client.kick", "nobody", "refused"),
        ]
        assert {e["action"] for e in found} == {
            "setup_code.create",
            "client.kick",
            "client.end_session",
            "retained.clear",
        }
