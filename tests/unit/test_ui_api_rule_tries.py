"""Trying a rule over the API."""

from __future__ import annotations

import json
from pathlib import Path

from tests.node_kit import NOW_MS, running_node
from tests.people_kit import person

URL = "/api/v1/rules/try-out"
HOT = {
    "severity": "P2",
    "scope": {"all": True},
    "metric": "t",
    "condition": {"kind": "threshold", "is": "above", "limit": 80},
}


async def test_a_try_answers_what_it_would_have_raised(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        answer = await client.get(URL, params={"definition": json.dumps(HOT)})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["count"], found["alarms"], found["by_device"]) == (0, [], {})
        assert (found["from_ms"], found["to_ms"]) == (NOW_MS - 86_400_000, NOW_MS)
        assert await node.catalog.read(lambda catalog: catalog.list_rules()) == []


async def test_what_makes_no_sense_or_can_not_be_tried_is_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        lost = {**HOT, "metric": "", "condition": {"kind": "connection"}}
        for definition, more, code in (
            ("no JSON", {}, "rule_invalid"),
            (json.dumps({**HOT, "metric": ""}), {}, "rule_invalid"),
            (json.dumps(lost), {}, "rule_not_tried"),
            (json.dumps(HOT), {"from_ms": 5, "to_ms": 5}, "range_invalid"),
            (json.dumps(HOT), {"from_ms": 0, "to_ms": NOW_MS}, "range_invalid"),
        ):
            answer = await client.get(URL, params={"definition": definition, **more})
            assert answer.json()["code"] == code, answer.text
        async with person(node, "operator") as other:
            assert (await other.get(URL, params={"definition": json.dumps(HOT)})).status_code == 403
