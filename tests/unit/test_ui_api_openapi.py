"""The API's description: valid, complete, and true to what endpoints do."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import msgspec
from openapi_spec_validator import validate

from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig
from appliance.core.config import Config, NodeConfig
from storage.catalog import Catalog
from tests.broker_stand_in import client_row, retained_row
from tests.node_kit import LiveDevice, Points, Value, running_node
from ui.api import ENDPOINTS
from ui.api.openapi import document

DOCS = Path(__file__).parents[2] / "docs" / "API.md"


def test_the_document_is_valid_openapi() -> None:
    validate(msgspec.json.decode(msgspec.json.encode(document(ENDPOINTS, version="1"))))


def test_every_endpoint_is_documented_for_people_and_nothing_else_is() -> None:
    text = DOCS.read_text("utf-8")
    documented = set(re.findall(r"^\| `(GET|POST|DELETE) (/[^`?]*)", text, re.MULTILINE))
    assert documented == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


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
        await node.catalog.write(_fill)
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
            answer = await client.get(path + query)
            schema = operations["get"]["responses"][str(answer.status_code)]["content"]["application/json"][
                "schema"
            ]
            jsonschema.validate(
                answer.json(),
                {**schema, "components": described["components"]},
                cls=jsonschema.Draft202012Validator,
            )
            asked += 1
        assert asked == sum(endpoint.method == "GET" for endpoint in ENDPOINTS)


def _fill(catalog: Catalog) -> None:
    catalog.add_device("d1", tags=("a",))


async def test_every_refusal_is_a_documented_one(tmp_path: Path) -> None:
    """Each endpoint, asked by a stranger without a body: the answer's status is in its description."""
    async with running_node(tmp_path) as node, node.client() as client:
        for endpoint in ENDPOINTS:
            path = f"/api/v1{endpoint.path}".replace("{device_id}", "d1")
            answer = await client.request(endpoint.method, path)
            assert answer.status_code in {*endpoint.all_errors(), endpoint.status}, endpoint.path
            assert answer.status_code < 500
