"""Uploads over the API: begun, cut, gone on with, finished, refused with the reason."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from starlette.requests import ClientDisconnect

from appliance.core.config import FirmwareConfig
from appliance.core.errors import NotFound
from appliance.core.limits_updates import UPLOAD_IDLE_MS_MAX
from appliance.run.artifacts_wiring import open_desk
from tests.acts import ACT as ACT_OF_TEST
from tests.artifact_api_kit import ARTIFACTS, UPLOADS, add, begin, send
from tests.artifact_kit import PAYLOAD, esp32, mcuboot, swu
from tests.node_kit import Node, running_node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with running_node(tmp_path) as running:
        yield running


@pytest.fixture
async def client(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    async with node.admin() as signed_in:
        yield signed_in


async def refused(answer: httpx.Response, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["hint"]
    return str(answer.json()["detail"])


async def test_an_image_arrives_in_pieces_of_any_size(client: httpx.AsyncClient) -> None:
    data = esp32()
    upload = await begin(
        client, data, version=None, sha256=hashlib.sha256(data).hexdigest(), filename="pump.bin"
    )
    one = f"{UPLOADS}/{upload['upload_id']}"
    assert (upload["offset"], upload["size_bytes"], upload["created_by"]) == (0, len(data), "admin")
    offset = 0
    for size in (1, 1000, len(data)):
        answer = await send(client, upload["upload_id"], data[offset : offset + size], offset)
        offset = min(len(data), offset + size)
        assert (answer.json()["offset"], answer.headers["upload-offset"]) == (offset, str(offset))
    head = await client.head(one)
    assert (head.status_code, head.headers["upload-offset"], head.content) == (200, str(len(data)), b"")
    assert [each["upload_id"] for each in (await client.get(UPLOADS)).json()["uploads"]] == [
        upload["upload_id"]
    ]
    made = await client.post(f"{one}/finish")
    assert made.status_code == 201, made.text
    found = made.json()
    assert (found["name"], found["version"], found["format"], found["epoch"]) == (
        "pump",
        "v5.1-2",
        "esp32",
        3,
    )
    assert found["sha256"] == hashlib.sha256(data).hexdigest()
    assert (await client.get(UPLOADS)).json()["uploads"] == []
    content = await client.get(f"{ARTIFACTS}/{found['artifact_id']}/content")
    assert content.content == data
    assert content.headers["etag"] == f'"{found["sha256"]}"'
    assert content.headers["content-disposition"] == 'attachment; filename="pump.bin"'


async def test_a_cut_connection_keeps_what_had_arrived(node: Node, client: httpx.AsyncClient) -> None:
    upload = await begin(client, PAYLOAD)

    async def cut() -> AsyncGenerator[bytes, None]:
        yield PAYLOAD[:5000]
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        await node.services.artifacts.uploads.receive(
            upload["upload_id"], 0, cut(), ACT_OF_TEST, still_allowed=trio.lowlevel.checkpoint
        )
    there = (await client.get(f"{UPLOADS}/{upload['upload_id']}")).json()["offset"]
    assert there == 5000
    answer = await send(client, upload["upload_id"], PAYLOAD[there:], there)
    assert answer.json()["offset"] == len(PAYLOAD)


async def test_bytes_for_another_place_are_refused(client: httpx.AsyncClient) -> None:
    upload = await begin(client, PAYLOAD)
    await send(client, upload["upload_id"], PAYLOAD[:100])
    detail = await refused(await send(client, upload["upload_id"], PAYLOAD, 0), 409, "upload_offset")
    assert "has 100 bytes" in detail
    await refused(await send(client, upload["upload_id"], PAYLOAD + b"x", 100), 413, "upload_too_long")
    await refused(await client.post(f"{UPLOADS}/{upload['upload_id']}/finish"), 409, "upload_incomplete")
    await refused(await send(client, "0123456789abcdef", b"x"), 404, "upload_unknown")


async def test_whoever_sends_takes_the_upload_over(node: Node, client: httpx.AsyncClient) -> None:
    """A phone that changes its network: the box has not noticed that the first connection is gone."""
    upload = await begin(client, PAYLOAD)
    first_is_there, answers = trio.Event(), []

    async def hangs() -> AsyncGenerator[bytes, None]:
        yield PAYLOAD[:300]
        first_is_there.set()
        await trio.sleep_forever()

    async def first() -> None:
        desk = node.services.artifacts
        with pytest.raises(Exception, match="goes on with this upload") as caught:
            await desk.uploads.receive(
                upload["upload_id"], 0, hangs(), ACT_OF_TEST, still_allowed=trio.lowlevel.checkpoint
            )
        answers.append(getattr(caught.value, "code", ""))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await first_is_there.wait()
            await refused(await send(client, upload["upload_id"], PAYLOAD, 0), 409, "upload_offset")
    assert answers == ["upload_taken_over"]
    answer = await send(client, upload["upload_id"], PAYLOAD[300:], 300)
    assert answer.json()["offset"] == len(PAYLOAD)


@pytest.mark.parametrize(
    ("data", "fields", "status", "code", "says"),
    [
        (swu(), {"format": "raucb"}, 422, "artifact_format", "a SWUpdate image"),
        (PAYLOAD, {"format": "esp32"}, 422, "artifact_format", "begins with 0x00"),
        (swu(), {"version": "9"}, 422, "artifact_version_differs", "version 2.1.0, not 9"),
        (swu(), {"version": "2.1.0", "hw": ["rev9"]}, 422, "artifact_compat_differs", "rev9"),
        (mcuboot(), {"version": "1.2.3", "epoch": 6}, 422, "artifact_epoch_differs", "counter 5"),
        (PAYLOAD, {"version": None}, 422, "artifact_version_missing", "which version"),
        (
            esp32()[:400] + b"x" + esp32()[401:],
            {"version": None},
            422,
            "artifact_content",
            "hash that it carries itself",
        ),
        (PAYLOAD, {"sha256": "ab" * 32}, 409, "artifact_sha256_differs", "was announced"),
    ],
)
async def test_an_image_that_is_something_else_is_refused_with_the_reason(
    client: httpx.AsyncClient, data: bytes, fields: dict[str, Any], status: int, code: str, says: str
) -> None:
    upload = await begin(client, data, **fields)
    await send(client, upload["upload_id"], data)
    assert says in await refused(await client.post(f"{UPLOADS}/{upload['upload_id']}/finish"), status, code)
    assert (await client.get(ARTIFACTS)).json()["artifacts"] == []
    assert (await client.delete(f"{UPLOADS}/{upload['upload_id']}")).status_code == 204
    await refused(await client.delete(f"{UPLOADS}/{upload['upload_id']}"), 404, "upload_unknown")


async def test_a_name_is_given_once_and_an_epoch_does_not_go_back(client: httpx.AsyncClient) -> None:
    await add(client, b"one", version="1", epoch=3)
    wish = {"name": "pump", "version": "1", "size_bytes": 3}
    await refused(await client.post(UPLOADS, json=wish), 409, "artifact_exists")
    older = {**wish, "version": "2", "epoch": 2}
    assert "epoch 2 is older than 3" in await refused(
        await client.post(UPLOADS, json=older), 409, "artifact_epoch_low"
    )
    upload = await begin(client, b"two", version="2")  # it says no epoch: 0
    await send(client, upload["upload_id"], b"two")
    await refused(await client.post(f"{UPLOADS}/{upload['upload_id']}/finish"), 409, "artifact_epoch_low")
    await refused(await client.post(UPLOADS, json={**wish, "version": "2"}), 409, "upload_exists")
    back = await add(client, b"old", version="0.9", epoch=2, is_rollback_image=True)
    assert back["epoch"] == 2


async def test_room_is_looked_at_before_the_first_byte(tmp_path: Path, node: Node) -> None:
    config = replace(node.services.config, firmware=FirmwareConfig(artifact_max_mib=2, artifact_quota_mib=3))
    desk = open_desk(config, node.catalog, node.services.keys, node.clock)
    async with node.with_services(artifacts=desk).admin() as client:
        wish = {"name": "pump", "version": "1", "size_bytes": 2_500_000}
        await refused(await client.post(UPLOADS, json=wish), 413, "artifact_too_large")
        half = {**wish, "size_bytes": 2_000_000}
        assert (await client.post(UPLOADS, json=half)).status_code == 201
        # Nothing of the first has arrived: what it is to have counts.
        answer = await client.post(UPLOADS, json={**half, "version": "2"})
        assert "of 3.0 MiB are left" in await refused(answer, 507, "artifact_quota")
        room = (await client.get(ARTIFACTS)).json()
        assert (room["used_bytes"], room["quota_bytes"], room["size_bytes_max"]) == (
            2_000_000,
            3 << 20,
            2 << 20,
        )


async def test_a_request_that_is_sent_again_begins_no_second_upload(client: httpx.AsyncClient) -> None:
    wish = {"name": "pump", "version": "1", "size_bytes": 3}
    answers = [await client.post(UPLOADS, json=wish, headers={"idempotency-key": "k1"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    "fields",
    [{"name": "../x"}, {"name": ""}, {"version": "a\nb"}, {"size_bytes": 0}, {"sha256": "AB" * 32}, {"format": "zip"},
     {"hw": ["x"] * 33}, {"filename": "a/b"}, {"epoch": -1}, {"more": 1}],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(client: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    wish = {"name": "pump", "version": "1", "size_bytes": 3, **fields}
    await refused(await client.post(UPLOADS, json=wish), 422, "body_unusable")


async def test_uploads_that_nobody_goes_on_with_end(node: Node, client: httpx.AsyncClient) -> None:
    desk = node.services.artifacts
    old, new = await begin(client, b"old", version="1"), await begin(client, b"new", version="2")
    lost = await begin(client, b"lost", version="3")
    desk.store.uploads.remove(lost["upload_id"])
    (desk.store._root / "uploads" / "0123456789abcdef").write_bytes(b"nobody's")
    node.clock.advance(UPLOAD_IDLE_MS_MAX)
    await node.catalog.write(lambda catalog: catalog.touch_artifact_upload(new["upload_id"]), by=ACT_OF_TEST)
    node.clock.advance(1)
    await desk.upkeep()
    assert [each.upload.upload_id for each in await desk.uploads.all()] == [new["upload_id"]]
    assert list(desk.store.uploads.sizes()) == [new["upload_id"]]
    with pytest.raises(NotFound):
        await desk.uploads.get(old["upload_id"])


async def test_bytes_that_nothing_names_are_removed(node: Node, client: httpx.AsyncClient) -> None:
    desk = node.services.artifacts
    kept = await add(client, b"kept", version="1")
    upload = await begin(client, b"orphan", version="2")
    await send(client, upload["upload_id"], b"orphan")
    with desk.store.finishing(upload["upload_id"], size_bytes=6, sha256=""):
        await desk.upkeep()  # its row may be written in this moment
        assert len(desk.store.names()) == 2
    await desk.upkeep()
    assert set(desk.store.names()) == {kept["sha256"]}


async def test_an_upload_that_begins_beside_the_upkeep_stays(node: Node, client: httpx.AsyncClient) -> None:
    """The files are listed and the rows read in one moment, as far as beginnings go."""
    desk = node.services.artifacts
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(desk.upkeep)
        begun = [await begin(client, b"x", version=str(number)) for number in range(10)]
    assert {each.upload.upload_id for each in await desk.uploads.all()} == {
        each["upload_id"] for each in begun
    }


async def test_the_same_bytes_are_removed_and_added_at_once(node: Node, client: httpx.AsyncClient) -> None:
    """Whoever is first: an artifact that is there has its bytes."""
    desk = node.services.artifacts
    for number in range(5):
        old = await add(client, b"same", version=f"{number}.0")
        upload = await begin(client, b"same", version=f"{number}.1")
        await send(client, upload["upload_id"], b"same")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.upkeep)
            nursery.start_soon(desk.remove, old["artifact_id"], ACT_OF_TEST)
            nursery.start_soon(desk.uploads.finish, upload["upload_id"], ACT_OF_TEST)
        assert desk.store.open_blob(old["sha256"]).read(0, 9) == b"same"
