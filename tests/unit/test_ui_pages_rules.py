"""Rules on their page: brought from a file or pasted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.limits_alarms import RULE_FILE_BYTES_MAX
from tests.node_kit import running_node
from ui.app import create_app

RULE: dict[str, Any] = {
    "name": "Stuck",
    "definition": {"severity": "P3", "scope": {"all": True}, "condition": {"kind": "stuck", "for_s": 60}},
}
FILE = json.dumps({"homeport_rules": 1, "rules": [RULE]}).encode()
IMPORT = "/alarms/rules/import"


@pytest.mark.parametrize("way", ["chosen", "pasted"])
async def test_rules_are_brought(tmp_path: Path, way: str) -> None:
    async with running_node(tmp_path) as bare:
        node = replace(bare, app=create_app(bare.services))
        async with node.admin() as client:
            assert 'type="file"' in (await client.get("/alarms/rules")).text
            if way == "chosen":
                files = {"file": ("rules.json", FILE, "application/json")}
                done = await client.post(IMPORT, data={"rules": "not this"}, files=files)
            else:
                done = await client.post(IMPORT, data={"rules": FILE.decode()})
            assert done.headers["location"] == "/alarms/rules?done=imported&counts=1,0,0"
            assert "Stuck" in (await client.get("/alarms/rules")).text


async def test_what_is_no_file_of_rules_is_said(tmp_path: Path) -> None:
    async with running_node(tmp_path) as bare:
        node = replace(bare, app=create_app(bare.services))
        async with node.admin() as client:
            pasted = await client.post(IMPORT, data={"rules": "{half"})
            assert pasted.status_code == 422
            assert "{half" in pasted.text, "to be put right"
            for content in (b"\xff\xfe", b" " * (RULE_FILE_BYTES_MAX + 1)):
                refused = await client.post(IMPORT, files={"file": ("rules.json", content)})
                assert refused.status_code in (413, 422)
            assert (await client.post(IMPORT, files={"file": ("", b"")})).status_code == 422
