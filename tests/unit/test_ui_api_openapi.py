"""The API's description: valid, complete, and true to what endpoints do."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import msgspec
from openapi_spec_validator import validate

from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig
from appliance.core.config import Config, NodeConfig
from appliance.management.permissions import RULES
from storage.catalog import Catalog
from tests.acts import ACT
from tests.broker_stand_in import client_row, retained_row
from tests.node_kit import LiveDevice, Points, Value, running_node
from ui.api.openapi import document
from ui.api.problem_codes import codes_of
from ui.api.routes import ENDPOINTS
from ui.problem import STATUS_OF_CODE

DOCS = Path(__file__).parents[2] / "docs" / "API.md"


def test_the_document_is_valid_openapi() -> None:
    validate(msgspec.json.decode(msgspec.json.encode(document(ENDPOINTS, version="1"))))


def test_every_endpoint_is_documented_for_people_and_nothing_else_is() -> None:
    text = DOCS.read_text("utf-8")
    documented = set(re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/[^`?]*)", text, re.MULTILINE))
    assert documented == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


def test_people_read_who_may_do_what() -> None:
    """The second column: the lowest role with the permission; a permission that every role has needs a sign-in only."""
    text = DOCS.read_text("utf-8")
    rows = re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/[^`?]*)[^`]*` \| ([^|]*) \|", text, re.MULTILINE)
    said = {(method, path): who for method, path, who in rows}
    for endpoint in ENDPOINTS:
        if endpoint.needs is not None:
            rule = RULES[endpoint.needs]
            is_for_all = rule.role == "viewer" and not rule.site_wide
            allowed = {rule.role, "signed in"} if is_for_all else {rule.role}
            assert said[endpoint.method, endpoint.path] in allowed, (endpoint.method, endpoint.path)


def test_operation_ids_are_unique_and_summaries_are_there() -> None:
    ids = [endpoint.operation_id for endpoint in ENDPOINTS]
    assert len(set(ids)) == len(ids)
    assert all(endpoint.summary for endpoint in ENDPOINTS)


async def test_it_is_served_to_everybody(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        answer = await client.get("/api/v1/openapi.json")
        assert answer.status_code == 200
        assert answer.json()["info"]["version"] == node.services.version


async def test_answers_are_what_the_document_says(tmp_path: Path) -> None:
    config = Config(
        node=NodeConfig(name="box", data_dir=tmp_path, run_dir=tmp_path),
        bridge=(BridgeConfig(name="b1"),),
        bridge_topic=(BridgeTopicConfig(bridge="b1"),),
    )
    async with running_node(tmp_path, config=config) as node, node.client(local=True) as client:
        described = (await client.get("/api/v1/openapi.json")).json()
        await node.catalog.write(_fill, by=ACT)
        node.live.by_id = {"d1": LiveDevice(device_id="d1")}
        node.live.values["d1"] = {"t": Value(metric="t", value=True)}
        node.broker.clients = [client_row("c1")]
        node.broker.retained = [retained_row(1, "t")]
        node.telemetry.points = [Points(metric="t", at_ms=(1,), value=(1.5,))]
        asked = 0
        for template, operations in described["paths"].items():
            if "get" not in operations:
                continue
            query = "?metric=t&from=0&to=9" if template.endswith("/telemetry") else ""
            path = template.replace("{device_id}", "d1").replace("{client_id}", "c1").replace("{name}", "b1")
            path = path.replace("{group_id}", "g1").replace("{user_id}", "anna")
            answer = await client.get(path + query)
            content = operations["get"]["responses"][str(answer.status_code)]["content"]
            media = answer.headers["content-type"].partition(";")[0]
            assert media in content, path
            asked += 1
            if media != "application/json":
                continue
            jsonschema.validate(
                answer.json(),
                {**content[media]["schema"], "components": described["components"]},
                cls=jsonschema.Draft202012Validator,
            )
        assert asked == sum(endpoint.method == "GET" for endpoint in ENDPOINTS)


def _fill(catalog: Catalog) -> None:
    catalog.add_group("g1")
    catalog.add_user("anna", role="viewer", password_hash="$argon2id$", scope=frozenset({"g1"}))
    catalog.add_device("d1", tags=("a",), groups=("g1",))
    catalog.set_token("d1", bytes(32))


async def test_every_refusal_is_a_documented_one(tmp_path: Path) -> None:
    """Each endpoint, asked by a stranger without a body: the answer's status is in its description."""
    async with running_node(tmp_path) as node, node.client() as client:
        for endpoint in ENDPOINTS:
            path = f"/api/v1{endpoint.path}".replace("{device_id}", "d1")
            answer = await client.request(endpoint.method, path)
            assert answer.status_code in {*endpoint.all_errors(), endpoint.status}, endpoint.path
            assert answer.status_code < 500


def test_each_operation_says_who_may_and_how_they_prove_it() -> None:
    described = document(ENDPOINTS, version="1")
    schemes = described["components"]["securitySchemes"]
    assert set(schemes) == {"session", "csrf", "bearer", "apiToken"}
    for endpoint in ENDPOINTS:
        operation = described["paths"][f"/api/v1{endpoint.path}"][endpoint.method.lower()]
        if endpoint.needs is None:
            assert "x-permission" not in operation
            assert operation["security"] == []
            continue
        assert operation["x-permission"] == endpoint.needs
        assert RULES[endpoint.needs].role in operation["description"]
        browser, *tokens = operation["security"]
        assert ("csrf" in browser) == (endpoint.method != "GET")
        assert tokens == [{"bearer": []}, {"apiToken": []}]
        assert "role_too_low" in operation["responses"]["403"]["x-codes"]


def test_every_code_belongs_to_the_status_that_it_is_documented_with() -> None:
    for endpoint in ENDPOINTS:
        for status, codes in codes_of(endpoint).items():
            for code in codes:
                assert STATUS_OF_CODE.get(code, status) == status, f"{endpoint.path}: {code}"
