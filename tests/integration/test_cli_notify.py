"""`homeport notify` against a node with a real catalog and a real receiver: as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli_kit import typed
from tests.webhook_receiver import WebhookReceiver


async def test_from_a_target_to_the_log(tmp_path: Path) -> None:
    async with typed(tmp_path, "notify") as ask:
        with WebhookReceiver() as receiver:
            added = await ask(
                "target", "add-webhook", "Hook", receiver.url, "--secret", "--json", stdin="s3cret\n"
            )
            assert added.exit_code == 0, added.output
            assert "s3cret" not in added.output
            target_id = json.loads(added.stdout)["target_id"]
            tried = await ask("target", "test", target_id)
            assert tried.exit_code == 0
            assert tried.stdout.startswith("It was sent. HTTP 204")
            assert "homeport-signature" in receiver.requests[0].headers
        failed = await ask("target", "test", target_id)
        assert failed.exit_code == 1
        assert "It was not sent." in failed.stdout
        log = await ask("log", "--state", "sent", "--target", target_id)
        assert "HTTP 204" in log.stdout
        assert "test/" in log.stdout
        changed = await ask("target", "secret", target_id, stdin="another\n")
        assert changed.exit_code == 0
        assert " off " in (await ask("target", "disable", target_id)).stdout
        assert " on " in (await ask("target", "enable", target_id)).stdout

        made = await ask("list", "add", "Site", "--target", target_id, "--json")
        assert made.exit_code == 0, made.output
        list_id = json.loads(made.stdout)["list_id"]
        shown = await ask("list", "show", list_id)
        assert '"repeat_s": 900' in shown.stdout
        definition = tmp_path / "list.json"
        found = json.loads((await ask("list", "show", list_id, "--json")).stdout)["definition"]
        definition.write_text(json.dumps({**found, "P3": None}))
        edited = await ask(
            "list", "edit", list_id, "--name", "North", "--definition", str(definition), "--off"
        )
        assert "P1, P2 " in edited.stdout
        assert "North" in (await ask("list", "list")).stdout
        assert (await ask("target", "remove", target_id, "--yes")).exit_code != 0
        assert (await ask("list", "remove", list_id, "--yes")).exit_code == 0
        assert (await ask("target", "remove", target_id, "--yes")).exit_code == 0
        assert (await ask("target", "list")).stdout == "(none)\n"


async def test_mail_and_mqtt(tmp_path: Path) -> None:
    async with typed(tmp_path, "notify") as ask:
        mail = await ask(
            *("target", "add-email", "Anna", "a@example.org", "--from", "b@example.org"),
            *("--server", "smtp.example.org", "--security", "tls", "--username", "box", "--json"),
            stdin="hunter2\n",
        )
        settings = json.loads(mail.stdout)["settings"]
        assert (settings["port"], settings["security"]) == (465, "tls")
        assert "hunter2" not in mail.output
        board = await ask("target", "add-mqtt", "Board", "alarms/board", "--retained")
        assert "alarms/board" in board.stdout
        assert "homeport notify target test" in board.stdout


async def test_what_is_refused(tmp_path: Path) -> None:
    async with typed(tmp_path, "notify") as ask:
        for arguments, says in (
            (("target", "add-mqtt", "X", "dm/x"), "own"),
            (("list", "add", "X"), "Give --target or --definition"),
            (("list", "add", "X", "--target", "none"), "no notification target"),
            (("list", "edit", "none"), "Say what is to change"),
            (("list", "add", "X", "--definition", str(tmp_path / "none")), "can't be read"),
            (("target", "remove", "none"), "was not confirmed"),
        ):
            result = await ask(*arguments)
            assert result.exit_code != 0
            assert says in result.output, arguments
        nonsense = tmp_path / "list.json"
        for text, says in (("{", "no JSON"), ("[]", "no JSON object"), ("x" * 1_048_577, "larger than")):
            nonsense.write_text(text)
            result = await ask("list", "add", "X", "--definition", str(nonsense))
            assert says in result.output
        result = await ask("list", "add", "X", "--definition", "-", stdin='{"members": []}')
        assert "1 to 50 members" in result.output
