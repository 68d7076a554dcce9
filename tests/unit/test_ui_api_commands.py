"""Commands over the API: sending, waiting, listing, taking back, and who may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.device_requests.listeners import Listeners
from appliance.twins.room import TwinRoom
from broker.control_messages import SessionEvent
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import person
from tests.twin_kit import Pushes

URL = "/api/v1/devices/pump/commands"


async def _fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        catalog.add_group("north")
        catalog.add_device("pump")
        catalog.add_device("fan", groups=("north",))

    await node.catalog.write(write, by=ACT)


@asynccontextmanager
async def _at_work(node: Node) -> AsyncIterator[tuple[TwinRoom, Pushes]]:
    """The node's room with a device that listens and is told."""
    pushes, listeners = Pushes(), Listeners()
    listeners.link = pushes
    room = TwinRoom(node.catalog, listeners, clock=node.clock)
    object.__setattr__(node.services, "twins", room)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(room.run)
        await trio.testing.wait_all_tasks_blocked()
        listeners.take(
            [SessionEvent(principal="pump", client_id="c", what="listening")],
            False,
        )
        yield room, pushes
        nursery.cancel_scope.cancel()


async def test_a_command_is_queued_listed_and_taken_back(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator", user_id="ada") as client:
        await _fill(node)
        made = await client.post(URL, json={"method": "reboot", "params": {"in_s": 5}, "expires_s": 600})
        assert made.status_code == 201, made.text
        command = made.json()
        assert (command["state"], command["params"], command["created_by"]) == ("queued", {"in_s": 5}, "ada")
        assert command["expires_at_ms"] == command["created_at_ms"] + 600_000
        one = f"{URL}/{command['command_id']}"
        assert (await client.get(one)).json() == command
        canceled = await client.post(f"{one}/cancel")
        assert (canceled.status_code, canceled.json()["state"]) == (200, "canceled")
        again = await client.post(f"{one}/cancel")
        assert (again.status_code, again.json()["code"]) == (409, "command_ended")
        await client.post(URL, json={"method": "x"})
        page = (await client.get(URL, params={"limit": 1})).json()
        assert [each["method"] for each in page["commands"]] == ["x"]
        rest = (await client.get(URL, params={"before": page["next_before"]})).json()
        assert [each["state"] for each in rest["commands"]] == ["canceled"]
        queued = (await client.get(URL, params={"state": "queued"})).json()
        assert [each["method"] for each in queued["commands"]] == ["x"]


async def test_who_sends_may_wait_for_the_answer(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        async with _at_work(node) as (room, pushes):

            async def answer() -> None:
                with trio.fail_after(60):
                    while not pushes.said:  # noqa: ASYNC110 - what it waits for is told by nothing
                        await trio.sleep(0.005)
                command_id = pushes.said[0][1].rpartition("/")[2]
                await room.commands.answered("pump", command_id, b'{"ok": true, "r": {"up_s": 3}}')

            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer)
                done = await client.post(URL, json={"method": "reboot"}, params={"wait_s": 30})
            assert (done.status_code, done.json()["state"], done.json()["result"]) == (
                201,
                "succeeded",
                {"up_s": 3},
            )
            one = f"{URL}/{done.json()['command_id']}"
            assert (await client.get(one, params={"wait_s": 30})).json()["state"] == "succeeded"


async def test_one_that_is_not_to_wait_is_refused_while_the_device_is_away(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        answer = await client.post(URL, json={"method": "reboot", "when_away": "refuse"})
        assert (answer.status_code, answer.json()["code"]) == (409, "device_away")
        assert (await client.get(URL)).json()["commands"] == []


async def test_a_request_that_is_sent_again_sends_no_second_command(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        key = {"idempotency-key": "k1"}
        first = await client.post(URL, json={"method": "reboot"}, headers=key)
        second = await client.post(URL, json={"method": "reboot"}, headers=key)
        assert first.json() == second.json()
        assert len((await client.get(URL)).json()["commands"]) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"method": "a b"}, "body_unusable"),
        ({"method": "x", "expires_s": 0}, "body_unusable"),
        ({"method": "x", "when_away": "drop"}, "body_unusable"),
        ({"method": "x", "params": "y" * 9_000}, "command_params_invalid"),
    ],
)
async def test_what_no_device_can_be_asked_is_refused(
    tmp_path: Path, body: dict[str, Any], code: str
) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        answer = await client.post(URL, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_scope_hides_commands_too(tmp_path: Path) -> None:
    scope = frozenset({"north"})
    async with running_node(tmp_path) as node, person(node, "operator", scope=scope) as client:
        await _fill(node)
        assert (await client.post("/api/v1/devices/fan/commands", json={"method": "x"})).status_code == 201
        for method, url in (("GET", URL), ("POST", URL), ("GET", f"{URL}/c"), ("POST", f"{URL}/c/cancel")):
            body: dict[str, Any] = {"json": {"method": "x"}} if (method, url) == ("POST", URL) else {}
            answer = await client.request(method, url, **body)
            assert (answer.status_code, answer.json()["code"]) == (404, "device_unknown")
