"""Readings as a file over the API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from starlette.types import Message, Scope

from appliance.core.errors import Unavailable
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import NOW_MS, PASSWORD, QUICK, Node, columns_of, running_node
from ui.api import telemetry_exports as module
from ui.auth import LocalTrust

BATCH = columns_of("d1", "t", [1, 2], [1.5, 2.5])
URL = "/api/v1/telemetry/export?from=-1h"
SCOPE: Scope = {
    "type": "http", "asgi": {"spec_version": "2.1", "version": "3.0"}, "http_version": "1.1", "method": "GET",
    "path": "/api/v1/telemetry/export", "raw_path": b"", "root_path": "", "scheme": "https", "headers": [],
    "query_string": b"from=-1h", "client": None, "server": None,
}  # fmt: skip
"""A request as a server hands it over, for what a client of HTTP can't do by itself."""


@asynccontextmanager
async def _node(tmp_path: Path) -> AsyncIterator[tuple[Node, httpx.AsyncClient]]:
    def write(catalog: Catalog) -> None:
        catalog.add_group("hall", name="")
        catalog.add_device("d1", groups=["hall"])
        catalog.add_device("d2")
        catalog.add_user("v", role="viewer", password_hash=QUICK.hash(PASSWORD), scope=frozenset({"hall"}))

    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await node.catalog.write(write, by=ACT)
        node.telemetry.batches = [BATCH, BATCH]
        yield node, client


async def test_csv_and_json_lines_come_batch_by_batch(tmp_path: Path) -> None:
    async with _node(tmp_path) as (node, client):
        answer = await client.get(f"{URL}&device=d*&metric=t")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"] == 'attachment; filename="homeport-telemetry.csv"'
        lines = answer.text.split("\r\n")
        assert lines[0].startswith("device_id,")
        assert lines[1] == "d1,t,1970-01-01T00:00:00.001Z,1,1.5,good"
        assert len(lines) == 6
        assert node.telemetry.asked == [
            {"devices": ["d1", "d2"], "metrics": ["t"], "from_ms": NOW_MS - 3_600_000, "to_ms": NOW_MS}
        ]
        answer = await client.get(f"{URL}&format=jsonl")
        assert answer.headers["content-type"] == "application/jsonl"
        assert [json.loads(line)["observed_at_ms"] for line in answer.text.splitlines()] == [1, 2, 1, 2]
        numbers = node.services.exports.statistics()
        assert (numbers.completed_total, numbers.broken_off_total, numbers.running) == (2, 0, 0)
        assert numbers.sent_bytes_total > 300


async def test_nothing_to_export_is_a_file_with_a_header(tmp_path: Path) -> None:
    async with _node(tmp_path) as (node, client):
        node.telemetry.batches = []
        assert (await client.get(URL)).text == "device_id,metric,observed_at,observed_at_ms,value,quality\r\n"
        assert (await client.get(f"{URL}&format=jsonl")).text == ""


async def test_a_scope_is_all_there_is(tmp_path: Path) -> None:
    async with _node(tmp_path) as (node, _), node.client() as client:
        await client.post("/api/v1/session", json={"user_id": "v", "password": PASSWORD})
        assert (await client.get(URL)).status_code == 200
        assert node.telemetry.asked[0]["devices"] == ["d1"]
        assert (await client.get(f"{URL}&device=d2")).json()["code"] == "device_unknown"
        await node.catalog.write(lambda catalog: catalog.edit_device("d1", groups=[]), by=ACT)
        # Nothing is within the scope any more: that is no readings, and never all of them.
        assert (await client.get(URL)).text.count("\n") == 1
        assert len(node.telemetry.asked) == 1


async def test_a_store_that_is_away_is_an_answer_before_the_file_begins(tmp_path: Path) -> None:
    async with _node(tmp_path) as (node, client):
        node.telemetry.batches = [Unavailable("The store is away.", hint="Wait.")]
        answer = await client.get(URL)
        assert answer.status_code == 503
        assert answer.json()["detail"] == "The store is away."
        assert node.services.exports.statistics().broken_off_total == 1


async def test_a_store_that_fails_later_stands_in_the_last_line(tmp_path: Path) -> None:
    async with _node(tmp_path) as (node, client):
        node.telemetry.batches = [BATCH, Unavailable("The store is away.", hint="Wait.")]
        assert (await client.get(URL)).text.splitlines()[-1] == (
            "(broken off),,,,The export broke off: The store is away.,"
        )
        numbers = node.services.exports.statistics()
        assert (numbers.completed_total, numbers.broken_off_total, numbers.running) == (0, 1, 0)


async def test_an_export_ends_with_the_right_to_it(tmp_path: Path) -> None:
    async with _node(tmp_path) as (node, _), node.client() as client:
        await client.post("/api/v1/session", json={"user_id": "v", "password": PASSWORD})

        async def take_away(number: int) -> None:
            if number == 1:
                await node.catalog.write(lambda catalog: catalog.disable_user("v"), by=ACT)

        node.telemetry.before_batch = take_away
        text = (await client.get(URL)).text
        assert text.count("d1,t,") == 2
        assert "The export broke off: " in text.splitlines()[-1]
        assert node.telemetry.streams_open == 0


async def test_a_parquet_file_is_sent_and_gone(tmp_path: Path) -> None:
    async with _node(tmp_path) as (node, client):
        path = node.telemetry.parquet_path = tmp_path / "export-1.parquet"
        path.write_bytes(b"PAR1" * 50_000)
        answer = await client.get(f"{URL}&format=parquet&device=d1&metric=t")
        assert answer.content == b"PAR1" * 50_000
        assert answer.headers["content-type"] == "application/vnd.apache.parquet"
        assert answer.headers["content-disposition"] == 'attachment; filename="homeport-telemetry.parquet"'
        assert not path.exists()
        assert node.telemetry.asked[0]["metrics"] == ["t"]
        assert node.services.exports.statistics().completed_total == 1


async def test_a_parquet_file_is_gone_too_when_the_right_to_it_ends(tmp_path: Path) -> None:
    async with _node(tmp_path) as (node, _), node.client() as client:
        await client.post("/api/v1/session", json={"user_id": "v", "password": PASSWORD})
        path = node.telemetry.parquet_path = tmp_path / "export-1.parquet"
        path.write_bytes(b"PAR1" * 50_000)
        whole = path.stat().st_size
        write = node.telemetry.write

        async def revoked_meanwhile(*asked: Any) -> Path:
            found = await write(*asked)
            await node.catalog.write(lambda catalog: catalog.disable_user("v"), by=ACT)
            return found

        node.telemetry.write = revoked_meanwhile  # type: ignore[method-assign, assignment]
        answer = await client.get(f"{URL}&format=parquet")
        assert len(answer.content) < whole
        assert not path.exists()
        assert node.services.exports.statistics().broken_off_total == 1


async def test_two_at_once_and_no_third(tmp_path: Path) -> None:
    async with _node(tmp_path) as (node, client):
        go_on = trio.Event()
        waiting = 0
        both = trio.Event()

        async def hold(number: int) -> None:
            nonlocal waiting
            if number == 1:
                waiting += 1
                if waiting == 2:
                    both.set()
                await go_on.wait()

        node.telemetry.before_batch = hold
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.get, URL)
                nursery.start_soon(client.get, URL)
                await both.wait()
                refused = await client.get(URL)
                assert (refused.status_code, refused.json()["code"]) == (429, "telemetry_export_count")
                go_on.set()
        assert node.services.exports.statistics().running == 0
        assert (await client.get(URL)).status_code == 200


async def test_who_takes_nothing_keeps_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXPORT_SEND_TIMEOUT_MS", 20)
    async with _node(tmp_path) as (node, _):
        app = LocalTrust(node.app)
        sent: list[str] = []

        async def send(message: Message) -> None:
            sent.append(message["type"])
            if len(sent) == 3:
                await trio.sleep_forever()

        async def receive() -> Message:
            await trio.sleep_forever()

        with trio.fail_after(60):
            await app(dict(SCOPE), receive, send)
        assert sent == ["http.response.start", "http.response.body", "http.response.body"]
        assert node.telemetry.streams_open == 0
        assert node.services.exports.statistics().broken_off_total == 1


async def test_a_client_that_goes_away_before_the_first_byte_ends_the_question(tmp_path: Path) -> None:
    async with _node(tmp_path) as (node, _):
        began, ended = trio.Event(), trio.Event()

        async def write(*_: Any) -> Path:
            began.set()
            try:
                await trio.sleep_forever()
            finally:
                ended.set()

        node.telemetry.write = write  # type: ignore[method-assign, assignment]
        messages: list[Message] = [
            {"type": "http.request", "body": b"", "more_body": False},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            if len(messages) == 1:
                await began.wait()
            return messages.pop(0)

        async def send(message: Message) -> None:
            raise AssertionError(f"nobody is there to take {message['type']}")

        with trio.fail_after(60):
            await LocalTrust(node.app)({**SCOPE, "query_string": b"from=-1h&format=parquet"}, receive, send)
            await ended.wait()
        assert node.services.exports.statistics().running == 0


async def test_a_device_that_leaves_the_scope_ends_the_export(tmp_path: Path) -> None:
    async with _node(tmp_path) as (node, _), node.client() as client:
        await client.post("/api/v1/session", json={"user_id": "v", "password": PASSWORD})

        async def move_away(number: int) -> None:
            if number == 0:
                await node.catalog.write(lambda catalog: catalog.edit_device("d1", groups=[]), by=ACT)

        node.telemetry.before_batch = move_away
        text = (await client.get(URL)).text
        assert text.count("d1,t,") == 2, "what was read already is sent, nothing after it"
        assert "not in your groups any more" in text.splitlines()[-1]


async def test_a_client_that_goes_away_ends_the_question(tmp_path: Path) -> None:
    async with _node(tmp_path) as (node, client):
        began = trio.Event()

        async def hold(number: int) -> None:
            if number == 1:
                began.set()
                await trio.sleep_forever()

        node.telemetry.before_batch = hold
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.get, URL)
                await began.wait()
                nursery.cancel_scope.cancel()
        assert node.telemetry.streams_open == 0
        assert node.services.exports.statistics().broken_off_total == 1
