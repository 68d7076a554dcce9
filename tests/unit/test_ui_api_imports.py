"""Lists of devices over the API: 10,000 rows with 37 bad ones, pieces, the end in the middle; and out again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from appliance.core.limits import CATALOG_CHUNK_ROW_COUNT_MAX, DEVICE_IMPORT_BYTES_MAX
from appliance.identity import DeviceAuthenticator
from storage.catalog import Catalog, DeviceAuthReader
from tests.acts import ACT
from tests.node_kit import running_node
from tests.people_kit import person
from ui import device_import

CSV = {"content-type": "text/csv"}
COUNT, BAD = 10_000, 37


def _list_of_devices() -> tuple[str, dict[int, str]]:
    """10,000 rows, and the codes of the 37 bad ones by line."""
    lines = ["device_id,name,tags,groups,serial"]
    bad: dict[int, str] = {}
    spoilt = [
        ("a/b{n},x,,,", "device_id_invalid"),
        ("ok{n},x,,west,", "group_unknown"),
        ("ok{n}," + "x" * 201 + ",,,", "device_name_invalid"),
        ('ok{n},"open,,,', "csv_quotes"),
        ("ok{n},x", "csv_value_count"),
        ("device-0,x,,,", "device_twice"),
    ]
    for number in range(COUNT):
        if number % 270 == 269:
            text, code = spoilt[number // 270 % len(spoilt)]
            lines.append(text.format(n=number))
            bad[number + 2] = code
        else:
            lines.append(f"device-{number},Pump {number},roof|row {number % 7},north,SN{number}")
    assert len(bad) == BAD
    return "\r\n".join(lines) + "\r\n", bad


async def test_ten_thousand_rows_with_37_bad_ones_and_again(tmp_path: Path) -> None:
    text, bad = _list_of_devices()
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await node.catalog.write(lambda catalog: catalog.add_group("north"), by=ACT)
        sizes: list[int] = []
        node.catalog.subscribe(lambda changes: sizes.append(sum(c.table == "devices" for c in changes)))
        url = "/api/v1/devices/import"
        dry = (await client.post(url + "?dry_run=true", content=text, headers=CSV)).json()
        assert (dry["dry_run"], dry["created_count"], dry["refused_count"]) == (True, COUNT - BAD, BAD)
        assert sizes == []
        first = await client.post(url, content=text, headers=CSV, timeout=60)
        assert first.status_code == 200
        report = first.json()
        assert (report["row_count"], report["created_count"], report["refused_count"]) == (
            COUNT,
            COUNT - BAD,
            BAD,
        )
        assert {each["line"]: each["code"] for each in report["problems"]} == bad
        assert [each["line"] for each in report["problems"]] == sorted(bad)
        assert all(each["reason"] and each["hint"] for each in report["problems"])
        assert max(sizes) <= CATALOG_CHUNK_ROW_COUNT_MAX
        written = len(sizes)
        again = (await client.post(url, content=text, headers=CSV, timeout=60)).json()
        assert (again["unchanged_count"], again["created_count"], again["refused_count"]) == (
            COUNT - BAD,
            0,
            BAD,
        )
        assert not any(sizes[written:])
        device = (await client.get("/api/v1/devices/device-5")).json()
        assert (device["tags"], device["groups"], device["serial"]) == (["roof", "row 5"], ["north"], "SN5")


async def test_new_tokens_are_in_the_answer_and_work(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        answer = await client.post(
            "/api/v1/devices/import?tokens=true", content="device_id\nd1\nd2\n", headers=CSV
        )
        tokens = {each["device_id"]: each["token"] for each in answer.json()["tokens"]}
        assert set(tokens) == {"d1", "d2"}
        reader = DeviceAuthReader(tmp_path / "catalog.db", clock=node.clock)
        authenticator = DeviceAuthenticator(reader, node.services.keys, clock=node.clock)
        assert authenticator.authenticate("d2", tokens["d2"].encode(), "", "").name == "d2"
        reader.close()


async def test_a_weak_token_is_refused_and_not_told(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        answer = await client.post(
            "/api/v1/devices/import", content="device_id,token\nd1,hunter2-hunter2\n", headers=CSV
        )
        assert [each["code"] for each in answer.json()["problems"]] == ["token_weak"]
        assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        ("name\nx\n", CSV, 422, "csv_column_missing"),
        ("", CSV, 422, "csv_header_missing"),
        ("device_id\nd\n", {"content-type": "application/json"}, 415, "body_type"),
        ("device_id\nd\n", {**CSV, "idempotency-key": "k"}, 400, "header_not_taken"),
        ("x", {**CSV, "content-length": str(DEVICE_IMPORT_BYTES_MAX + 1)}, 413, "body_too_large"),
    ],
)
async def test_what_is_no_list_is_refused_as_a_whole(
    tmp_path: Path, content: str, headers: dict[str, str], status: int, code: str
) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        answer = await client.post("/api/v1/devices/import", content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_it_is_for_installers(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        answer = await client.post("/api/v1/devices/import", content="device_id\nd\n", headers=CSV)
        assert (answer.status_code, answer.json()["code"]) == (403, "role_too_low")


async def test_a_list_that_breaks_off_has_done_what_came(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        rules = device_import.rules_of(node.services, scope=None, update=False, tokens=False, dry_run=False)

        async def pieces() -> AsyncGenerator[bytes, None]:
            yield b"device_id\nd1\nd2"
            yield b"\nd3"
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError):
            await device_import.import_devices(node.services, pieces(), rules, actor=ACT.actor)
        ids = await node.catalog.read(lambda catalog: catalog.device_ids())
        assert ids == ["d1", "d2"]
        assert node.services.imports.borrowed_tokens == 0


async def test_one_list_at_a_time(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        rules = device_import.rules_of(node.services, scope=None, update=False, tokens=False, dry_run=False)
        begun, go_on = trio.Event(), trio.Event()

        async def slow() -> AsyncGenerator[bytes, None]:
            begun.set()
            yield b"device_id\n"
            await go_on.wait()
            yield b"d1\n"

        async with trio.open_nursery() as nursery:

            async def first() -> None:
                await device_import.import_devices(node.services, slow(), rules, actor=ACT.actor)

            nursery.start_soon(first)
            await begun.wait()
            answer = await client.post("/api/v1/devices/import", content="device_id\nd2\n", headers=CSV)
            assert (answer.status_code, answer.json()["code"]) == (409, "import_running")
            go_on.set()
        assert await node.catalog.read(lambda catalog: catalog.device_ids()) == ["d1"]


async def test_more_rows_than_the_limit_are_refused_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_import, "DEVICE_IMPORT_ROW_COUNT_MAX", 2)
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        answer = await client.post(
            "/api/v1/devices/import", content="device_id\nd1\nd2\nd3\nd4\n", headers=CSV
        )
        assert answer.json()["created_count"] == 2
        assert [(each["line"], each["code"]) for each in answer.json()["problems"]] == [
            (4, "import_row_count"),
            (5, "import_row_count"),
        ]


async def test_what_goes_out_comes_in_again_unchanged(tmp_path: Path) -> None:
    def fill(catalog: Catalog) -> None:
        catalog.add_group("north")
        for number in range(1_005):
            catalog.add_device(
                f"d{number}", name='=HYPERLINK("x")', tags=("a|b", "c,d;"), groups=("north",), serial="-1"
            )
        catalog.note_first_contact(["@SUM(1)"], at_ms=5)

    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await node.catalog.write(fill, by=ACT, timeout_ms=30_000)
        answer = await client.get("/api/v1/devices.csv")
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["content-disposition"] == 'attachment; filename="devices.csv"'
        lines = answer.text.splitlines()
        assert len(lines) == 1_007
        assert not any(line.startswith(("=", "@", "+", "-")) for line in lines)
        assert lines[1].startswith("'@SUM(1),")
        active = (await client.get("/api/v1/devices.csv?state=active&group=north")).content
        report = (await client.post("/api/v1/devices/import", content=active, headers=CSV)).json()
        assert (report["unchanged_count"], report["problems"]) == (1_005, [])


async def test_an_export_keeps_to_a_scope_and_is_in_the_audit(tmp_path: Path) -> None:
    def fill(catalog: Catalog) -> None:
        catalog.add_group("north")
        catalog.add_device("mine", groups=("north",))
        catalog.add_device("theirs")

    async with running_node(tmp_path) as node, person(node, "viewer", frozenset({"north"})) as client:
        await node.catalog.write(fill, by=ACT)
        lines = (await client.get("/api/v1/devices.csv")).text.splitlines()
        assert [line.partition(",")[0] for line in lines] == ["device_id", "mine"]
        noted = await node.catalog.read(
            lambda catalog: catalog.rows("SELECT actor FROM audit WHERE action = 'device.export'")
        )
        assert [row["actor"] for row in noted] == ["viewer"]


async def test_a_list_that_goes_on_after_its_sender_was_signed_out_is_not_taken(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:

        async def pieces() -> AsyncGenerator[bytes, None]:
            yield b"device_id\nd1\n"
            await node.catalog.write(lambda catalog: catalog.close_sessions("installer"), by=ACT)
            yield b"d2\n"

        answer = await client.post("/api/v1/devices/import", content=pieces(), headers=CSV)
        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_required")
        assert await node.catalog.read(lambda catalog: catalog.device_ids()) == ["d1"]
        assert node.services.imports.borrowed_tokens == 0
