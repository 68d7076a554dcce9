"""Commands on a device's page: sending, what became of them, taking back."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.management.commands import CommandAnswer, CommandState, CommandWish
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import person
from ui.pages.device_commands import LOOKS, view_of_command

URL = "/devices/pump/commands"
FORM = {"method": "blink", "params": '{"times": 3}', "when_away": "queue", "expires_s": "600"}


async def _fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        catalog.add_device("pump")
        catalog.add_device("fan")
        catalog.add_group("north")

    await node.catalog.write(write, by=ACT)


async def _add(node: Node, command_id: str, method: str = "reboot") -> None:
    wish = CommandWish(method=method, params={"a": "<b>"})
    await node.catalog.write(lambda c: c.add_command(command_id, "pump", wish, created_by="ada"), by=ACT)


def test_every_state_has_a_look() -> None:
    assert set(LOOKS) == set(CommandState)
    assert len({look.word for look in LOOKS.values()}) == len(CommandState)


async def test_a_command_is_sent_and_taken_back(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await _fill(node)
        assert "Send a command" in (await client.get("/devices/pump")).text
        sent = await client.post(URL, data=FORM)
        assert (sent.status_code, sent.headers["location"]) == (
            303,
            "/devices/pump?done=command_sent#commands",
        )
        page = (await client.get("/devices/pump?done=command_sent")).text
        assert "on its way" in page
        assert "waits for the device" in page
        assert "{&#34;times&#34;: 3}" in page
        (command,) = (await node.catalog.read(lambda c: c.list_commands("pump"))).commands
        assert (command.created_by, command.expires_at_ms - command.created_at_ms) == ("operator", 600_000)
        taken = await client.post(f"{URL}/{command.command_id}/cancel")
        assert taken.headers["location"] == "/devices/pump?done=command_canceled#commands"
        assert "canceled" in (await client.get(URL)).text
        again = await client.post(f"{URL}/{command.command_id}/cancel")
        assert again.status_code == 409


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"method": "a b"}, 422, "be a method"),
        ({"params": "{"}, 422, "not well-formed JSON"),
        ({"expires_s": "soon"}, 422, "1 second at least"),
        ({"when_away": "drop"}, 422, "queued or refused"),
        ({"when_away": "refuse"}, 409, "not listening"),
    ],
)
async def test_what_can_not_be_sent_comes_back_as_it_was_typed(
    tmp_path: Path, change: dict[str, str], status: int, words: str
) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await _fill(node)
        answer = await client.post(URL, data={**FORM, **change})
        assert answer.status_code == status
        assert words in answer.text
        assert ("{&#34;times&#34;: 3}" in answer.text) is ("params" not in change)
        assert (await node.catalog.read(lambda c: c.list_commands("pump"))).commands == ()


async def test_answers_are_shown_as_text_late_ones_too(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "viewer") as client:
        await _fill(node)
        for command_id in ("done", "failed", "late"):
            await _add(node, command_id)
        await node.catalog.write(lambda c: c.send_due_commands(["pump"], limit=9), by=ACT)
        said = CommandAnswer(ok=True, result="<script>")
        await node.catalog.write(lambda c: c.answer_command("pump", "done", said), by=ACT)
        no = CommandAnswer(ok=False, error="valve stuck")
        await node.catalog.write(lambda c: c.answer_command("pump", "failed", no), by=ACT)
        node.clock.advance(90_000)
        await node.catalog.write(lambda c: c.end_overdue_commands(limit=9), by=ACT)
        await node.catalog.write(lambda c: c.answer_command("pump", "late", CommandAnswer(ok=True)), by=ACT)
        page = (await client.get("/devices/pump")).text
        assert "<script>&#34;" not in page
        assert "&lt;script&gt;" in page
        assert "valve stuck" in page
        assert "too late" in page
        assert "without words" in page
        assert "Send a command" not in page
        assert (await client.post(URL, data=FORM)).status_code == 403


async def test_all_commands_are_paged(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await _fill(node)
        for number in range(55):
            await _add(node, f"c{number}", f"m{number:02}")
        first = (await client.get(URL)).text
        assert "m54" in first
        assert "m04" not in first
        link = f"{URL}?before="
        before = first.split(link)[1].split('"')[0]
        older = (await client.get(link + before)).text
        assert "m04" in older
        assert "Older ones" not in older
        assert (await client.get(f"{URL}?before=x")).status_code == 400


async def test_a_scope_hides_them(tmp_path: Path) -> None:
    scope = frozenset({"north"})
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator", scope) as client:
        await _fill(node)
        await _add(node, "c1")
        assert (await client.get(URL)).status_code == 404
        assert (await client.post(URL, data=FORM)).status_code == 404
        assert (await client.post(f"{URL}/c1/cancel")).status_code == 404


async def test_long_answers_are_cut(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await _fill(node)
        await _add(node, "c1")
        await node.catalog.write(lambda c: c.send_due_commands(["pump"], limit=9), by=ACT)
        long = CommandAnswer(ok=True, result="x" * 500)
        command = await node.catalog.write(lambda c: c.answer_command("pump", "c1", long), by=ACT)
        assert len(view_of_command(command).answer) == 201
