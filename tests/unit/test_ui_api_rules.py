"""Rules over the API: made, found, changed, carried over, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.node_kit import running_node
from tests.people_kit import person

DEFINITION: dict[str, Any] = {
    "severity": "P2",
    "scope": {"all": True},
    "metric": "t",
    "condition": {"kind": "threshold", "is": "above", "limit": 80},
}


async def test_a_rule_is_made_changed_and_removed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        made = await client.post("/api/v1/rules", json={"name": "Too warm", "definition": DEFINITION})
        assert made.status_code == 201, made.text
        rule = made.json()
        assert (rule["kind"], rule["enabled"], rule["definition_version"]) == ("threshold", True, 1)
        address = f"/api/v1/rules/{rule['rule_id']}"
        seen = await client.get(address)
        assert seen.json() == rule
        other = {**DEFINITION, "condition": {"kind": "stuck", "for_s": 60}}
        edited = await client.patch(
            address, json={"definition": other, "name": "Stuck"}, headers={"if-match": seen.headers["etag"]}
        )
        assert edited.status_code == 200, edited.text
        assert (edited.json()["kind"], edited.json()["definition_version"]) == ("stuck", 2)
        late = await client.patch(
            address, json={"enabled": False}, headers={"if-match": seen.headers["etag"]}
        )
        assert (late.status_code, late.json()["code"]) == (412, "version_differs")
        assert (await client.delete(address)).status_code == 204
        assert (await client.get(address)).json()["code"] == "rule_unknown"
        versions = (await client.get(f"{address}/versions")).json()["versions"]
        assert [(each["definition_version"], each["definition"] is None) for each in versions] == [
            (2, True),
            (2, False),
            (1, False),
        ]
        assert {(each["from_epoch"], each["from_seq"]) for each in versions} == {(1, 4_711)}
        assert (await client.get("/api/v1/rules/none/versions")).status_code == 404


async def test_rules_are_found_page_by_page(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        for name in ("Alpha", "Beta", "Gamma"):
            await client.post("/api/v1/rules", json={"name": name, "definition": DEFINITION})
        anomaly = {"severity": "P3", "scope": {"all": True}, "condition": {"kind": "anomaly"}}
        await client.post("/api/v1/rules", json={"name": "Odd", "enabled": False, "definition": anomaly})

        async def names(query: str) -> tuple[list[str], int, str | None]:
            page = (await client.get(f"/api/v1/rules?{query}")).json()
            return [each["name"] for each in page["rules"]], page["count"], page["next_cursor"]

        assert await names("limit=2") == (["Alpha", "Beta"], 4, "Beta")
        assert await names("limit=2&cursor=Beta") == (["Gamma", "Odd"], 4, None)
        assert await names("kind=anomaly&kind=stuck") == (["Odd"], 1, None)
        assert await names("severity=P2&q=ALPH") == (["Alpha"], 1, None)
        assert await names("enabled=false") == (["Odd"], 1, None)


async def test_rules_are_carried_over(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        await client.post("/api/v1/rules", json={"name": "Too warm", "definition": DEFINITION})
        file = (await client.get("/api/v1/rules/export")).json()
        assert [each["name"] for each in file["rules"]] == ["Too warm"]
        file["rules"].append({**file["rules"][0], "name": "Much too warm"})
        done = await client.post("/api/v1/rules/import", json=file)
        assert done.json() == {"made": ["Much too warm"], "changed": [], "unchanged": ["Too warm"]}
        file["rules"].append(file["rules"][0])
        refused = await client.post("/api/v1/rules/import", json=file)
        assert (refused.status_code, refused.json()["code"]) == (422, "rule_file_invalid")


async def test_what_makes_no_sense_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        wish = {"name": "x", "definition": {**DEFINITION, "metric": ""}}
        refused = await client.post("/api/v1/rules", json=wish)
        assert (refused.status_code, refused.json()["code"]) == (422, "rule_invalid")
        assert "names no metric" in refused.json()["detail"]
        odd = {"name": "x", "definition": {**DEFINITION, "condition": {"kind": "magic"}}}
        assert (await client.post("/api/v1/rules", json=odd)).json()["code"] == "body_unusable"
        await client.post("/api/v1/rules", json={"name": "x", "definition": DEFINITION})
        taken = await client.post("/api/v1/rules", json={"name": "x", "definition": DEFINITION})
        assert (taken.status_code, taken.json()["code"]) == (409, "rule_name_taken")
