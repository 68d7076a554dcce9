"""A list of devices from a file on the page."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from tests.node_kit import running_node
from tests.people_kit import person

LIST = b"device_id;name\nd1;Pump\nbad/id;x\n<b>;y\n"


def _saved(text: str, name: str) -> str:
    found = re.search(rf'href="data:text/csv;charset=utf-8;base64,([^"]+)" download="{name}"', text)
    assert found
    return base64.b64decode(found.group(1)).decode()


async def test_a_dry_run_then_the_thing_itself(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        token = client.headers.pop("x-csrf-token")
        assert "device_id,name,kind" in (await client.get("/device-import")).text
        files = {"file": ("list.csv", LIST, "text/csv")}
        form = {"csrf_token": token, "dry_run": "1", "tokens": "1"}
        dry = await client.post("/device-import", data=form, files=files)
        assert dry.status_code == 200
        assert "Nothing was changed" in dry.text
        assert await node.catalog.read(lambda catalog: catalog.device_ids()) == []
        done = await client.post("/device-import", data={"csrf_token": token, "tokens": "1"}, files=files)
        assert "What was done" in done.text
        assert "<b></td>" not in done.text
        report = _saved(done.text, "import-report.csv").splitlines()
        assert report[1].startswith("3,bad/id,refused,device_id,device_id_invalid,")
        saved = _saved(done.text, "tokens.csv").splitlines()
        device_id, _, made = saved[1].partition(",")
        tokens = await node.catalog.read(lambda catalog: catalog.tokens_of("d1"))
        assert device_id == "d1"
        assert tokens[0].token_hash == node.services.keys.token_hash(made.encode())


async def test_what_is_no_list_is_told_on_the_form(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        none = await client.post("/device-import", data={"dry_run": "1"})
        assert none.status_code == 400
        assert "No file was chosen" in none.text
        files = {"file": ("list.csv", b"name\nx\n", "text/csv")}
        bad = await client.post("/device-import", data={}, files=files)
        assert bad.status_code == 422
        assert "no column device_id" in bad.text


async def test_it_needs_an_installer_and_a_form_of_ours(tmp_path: Path) -> None:
    files = {"file": ("list.csv", LIST, "text/csv")}
    async with (
        running_node(tmp_path, with_pages=True) as node,
        person(node, "operator") as operator,
        person(node, "installer") as installer,
    ):
        assert (await operator.get("/device-import")).status_code == 403
        del installer.headers["x-csrf-token"]
        assert (await installer.post("/device-import", files=files)).status_code == 403
        assert await node.catalog.read(lambda catalog: catalog.device_ids()) == []
