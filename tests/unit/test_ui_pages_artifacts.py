"""The pages about artifacts, as they work without JavaScript."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from appliance.core.config import FirmwareConfig
from appliance.identity.artifact_signing import public_of
from appliance.run.artifacts_wiring import open_desk
from tests.artifact_api_kit import KEYS, SIGNERS, add, begin, key_set, send, signed
from tests.artifact_kit import PAYLOAD, esp32, swu
from tests.node_kit import Node, running_node
from ui.app import create_app

URL = "/firmware/artifacts"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with running_node(tmp_path, with_pages=True) as running:
        yield running


@pytest.fixture
async def client(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    async with node.admin() as signed_in:
        yield signed_in


async def upload(
    client: httpx.AsyncClient, data: bytes, filename: str = "pump.bin", **fields: str
) -> httpx.Response:
    form = {"csrf_token": client.headers["x-csrf-token"], "name": "pump", "format": "auto", **fields}
    bare = {name: value for name, value in client.headers.items() if name == "cookie"}
    return await client.post(f"{URL}/new", data=form, files={"file": (filename, data)}, headers=bare)


async def test_an_image_is_added_by_a_plain_form(node: Node, client: httpx.AsyncClient) -> None:
    assert "No images yet" in (await client.get(URL)).text
    answer = await upload(client, esp32(), hw="rev2, rev3", note="for the pumps")
    assert answer.status_code == 303, answer.text
    page = (await client.get(answer.headers["location"])).text
    for words in ("The image is here", "pump v5.1-2", "ESP32-S3", "rev2, rev3", "pump.bin", "not signed"):
        assert words in page
    assert node.services.artifacts.store.uploads.sizes() == {}
    assert "pump v5.1-2" in (await client.get(URL)).text


@pytest.mark.parametrize(
    ("data", "fields", "status", "says"),
    [
        (PAYLOAD, {}, 422, "does not say which version"),
        (swu(), {"format": "mender"}, 422, "but a SWUpdate image"),
        (swu(), {"version": "9"}, 422, "version 2.1.0, not 9"),
        (PAYLOAD, {"name": "a/b", "version": "1"}, 422, "can&#39;t be used"),
        (PAYLOAD, {"version": "1", "epoch": "x"}, 422, "can&#39;t be used"),
        (b"", {"version": "1"}, 422, "The file is empty"),
    ],
)
async def test_what_is_refused_is_said_above_the_form_and_leaves_nothing(
    node: Node, client: httpx.AsyncClient, data: bytes, fields: dict[str, str], status: int, says: str
) -> None:
    answer = await upload(client, data, note="kept", **fields)
    assert answer.status_code == status
    assert says in answer.text
    assert "kept" in answer.text
    assert node.services.artifacts.store.uploads.sizes() == {}
    assert node.services.artifacts.store.names() == {}


async def test_an_image_that_is_too_large_is_refused_before_it_is_kept(tmp_path: Path, node: Node) -> None:
    config = replace(node.services.config, firmware=FirmwareConfig(artifact_max_mib=1, artifact_quota_mib=2))
    services = replace(
        node.services, artifacts=open_desk(config, node.catalog, node.services.keys, node.clock)
    )
    small = replace(node, services=services, app=create_app(services))
    async with small.admin() as client:
        answer = await upload(client, bytes(1_500_000), version="1")
        assert (answer.status_code, "may have 1.0 MiB" in answer.text) == (413, True)
        assert (await upload(client, bytes(1 << 20), version="1")).status_code == 303


async def test_without_its_token_or_a_file_nothing_is_taken(client: httpx.AsyncClient) -> None:
    answer = await upload(client, PAYLOAD, version="1", csrf_token="wrong")
    assert answer.status_code == 403
    form = {"csrf_token": client.headers["x-csrf-token"], "name": "pump", "version": "1"}
    answer = await client.post(f"{URL}/new", data=form, files={"file": ("", b"")})
    assert "No file was chosen" in answer.text
    assert "No images yet" in (await client.get(URL)).text


async def test_unfinished_uploads_are_shown_and_removed(client: httpx.AsyncClient) -> None:
    begun = await begin(client, PAYLOAD, filename="big.bin")
    await send(client, begun["upload_id"], PAYLOAD[: len(PAYLOAD) // 2])
    page = (await client.get(URL)).text
    assert "Unfinished uploads" in page
    assert "50 %" in page
    assert (await client.post(f"{URL}/uploads/remove", data={"id": begun["upload_id"]})).status_code == 303
    assert "Unfinished uploads" not in (await client.get(URL)).text


async def test_an_artifact_is_signed_checked_noted_and_removed(node: Node, client: httpx.AsyncClient) -> None:
    made = await add(client, hw=["rev2"])
    one = f"{URL}/{made['artifact_id']}"
    assert "Sign with this box" not in (await client.get(one)).text
    assert "no signing key" in (await client.post(f"{one}/sign", data={})).text
    assert (await client.post("/firmware/keys/box", data={"act": "make"})).status_code == 303
    assert (await client.post(f"{one}/sign", data={"days": "x"})).status_code == 422
    assert (await client.post(f"{one}/sign", data={"days": "30"})).status_code == 303
    page = (await client.get(one)).text
    assert "1 good, 1 needed" in page
    assert "this box" in page
    assert (await client.post(f"{one}/check")).headers["location"].endswith("?done=checked")
    await client.post(f"{one}/note", data={"note": "<b>bold</b>"})
    assert "&lt;b&gt;bold" in (await client.get(one)).text
    content = await client.get(f"{one}/content")
    assert content.content == b"firmware"
    wrong = await client.post(f"{one}/remove", data={"confirm": "pump"})
    assert (wrong.status_code, "was not typed" in wrong.text) == (422, True)
    assert (await client.post(f"{one}/remove", data={"confirm": "pump 1"})).status_code == 303
    assert (await client.get(one)).status_code == 404


async def test_a_manifest_goes_out_and_comes_back_signed(client: httpx.AsyncClient) -> None:
    await client.put(KEYS, json={"document": key_set(0).text()})
    made = await add(client)
    one = f"{URL}/{made['artifact_id']}"
    file = await client.get(f"{one}/manifest")
    assert file.headers["content-disposition"] == 'attachment; filename="pump-1.manifest"'
    document = file.json()["document"]
    answer = await client.post(
        f"{one}/manifest", files={"file": ("m", json.dumps(signed(document, 1)).encode())}
    )
    assert (answer.status_code, "does not count here" in answer.text) == (409, True)
    assert "No file was chosen" in (await client.post(f"{one}/manifest", data={})).text
    answer = await client.post(
        f"{one}/manifest", files={"file": ("m", json.dumps(signed(document, 0)).encode())}
    )
    assert answer.status_code == 303
    assert "may be rolled out" not in (await client.get(one)).text


async def test_keys_are_changed_by_those_that_count(client: httpx.AsyncClient) -> None:
    url = "/firmware/keys"
    assert "Nobody is trusted yet" in (await client.get(url)).text
    anna, ben = (public_of(SIGNERS[n], name="") for n in (0, 1))
    assert (
        "no public Ed25519 key"
        in (await client.post(f"{url}/next", data={"name": "anna", "public": "x", "threshold": "1"})).text
    )
    first = {"name": "anna", "public": anna.public, "threshold": "1", "act": "apply"}
    assert (await client.post(f"{url}/next", data={**first, "threshold": "0"})).status_code == 422
    assert (await client.post(f"{url}/next", data=first)).status_code == 303
    page = (await client.get(url)).text
    assert "anna" in page
    assert "1 trusted key must sign" in page or "trusted key" in page
    second = {"name": "ben", "public": ben.public, "threshold": "2", "act": "apply"}
    refused = await client.post(f"{url}/next", data=second)
    assert (refused.status_code, "must have signed the new set" in refused.text) == (409, True)
    file = await client.post(f"{url}/next", data={**second, "act": "file"})
    body = json.dumps(signed(file.json()["document"], 0)).encode()
    assert (await client.post(f"{url}/apply", files={"file": ("k", body)})).status_code == 303
    assert "2 good signatures" in (await client.get(url)).text
    assert "No file was chosen" in (await client.post(f"{url}/apply", data={})).text
    assert (await client.post(f"{url}/policy", data={"unsigned": "allow"})).status_code == 303
    assert (await client.post(f"{url}/policy", data={"unsigned": "all"})).status_code == 422


async def test_the_box_s_key_is_removed_by_who_means_it(client: httpx.AsyncClient) -> None:
    url = "/firmware/keys/box"
    await client.post(url, data={"act": "make"})
    again = await client.post(url, data={"act": "make"})
    assert (again.status_code, "has a signing key already" in again.text) == (409, True)
    assert (await client.post(url, data={"act": "remove", "confirm": "yes"})).status_code == 422
    assert (await client.post(url, data={"act": "remove", "confirm": "remove the key"})).status_code == 303


async def test_a_vendor_s_version_is_no_command_to_paste(client: httpx.AsyncClient) -> None:
    made = await add(client, version='$(reboot);"x')
    page = (await client.get(f"{URL}/{made['artifact_id']}")).text
    assert "homeport artifact sign pump-__reboot___x.manifest --key KEY" in page
    file = await client.get(f"{URL}/{made['artifact_id']}/manifest")
    assert file.headers["content-disposition"] == 'attachment; filename="pump-__reboot___x.manifest"'
