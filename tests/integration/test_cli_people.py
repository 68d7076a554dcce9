"""`homeport user`, `token`, `session` and `key`, with the node stopped and through the real node's socket: the same either way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import main
from appliance.core.clock import SystemClock
from appliance.core.config import load
from appliance.core.errors import Unavailable
from appliance.run import layout
from appliance.run.local_api import LocalApi
from storage.catalog.catalog import Catalog
from tests.crash.rig import Rig, wait_for

PASSWORD = "a quiet sentence about tea"
START_S = 30.0


class Box:
    """A node that is stopped or runs, and the command line for it."""

    def __init__(self, config: Path) -> None:
        self.config = config

    def run(self, *arguments: str, text: str = "") -> Result:
        return CliRunner().invoke(
            main, [*arguments, "--config", str(self.config)], input=text, catch_exceptions=False
        )

    def answer(self, *arguments: str, text: str = "") -> Any:
        result = self.run(*arguments, "--json", text=text)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def refused(self, *arguments: str, text: str = "") -> tuple[int, str]:
        result = self.run(*arguments, "--json", text=text)
        return result.exit_code, json.loads(result.stdout)["error"]["code"]


@pytest.fixture(scope="module", params=["stopped", "running"])
def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    folder = tmp_path_factory.mktemp("box")
    rig = Rig(folder, folder / "run")
    config = folder / "run" / "homeport.toml"
    try:
        if request.param == "running":
            rig.start("broker")
            rig.wait_for_broker()
            rig.start("node")
            api = LocalApi(folder / "run" / "node.sock")

            def answers() -> bool:
                try:
                    api.get("/health/live")
                except Unavailable:
                    return False
                return True

            wait_for(answers, START_S, "the node answers")
        yield Box(config)
    finally:
        rig.close()


def test_users_from_the_first_to_the_last(box: Box) -> None:
    added = box.answer("user", "add", "root-anna", "--role", "admin", text=f"{PASSWORD}\n")
    assert (added["role"], added["scope"], added["has_second_factor"]) == ("admin", None, False)
    assert "password" not in json.dumps(added).replace("password_hash", "")
    box.answer("user", "add", "bob", "--role", "viewer", "--display-name", "Bob", text=f"{PASSWORD}\n")
    assert box.refused("user", "add", "bob", "--role", "viewer", text=f"{PASSWORD}\n") == (4, "user_exists")
    assert box.refused("user", "add", "carl", "--role", "viewer", text="short\n") == (2, "password_too_short")
    assert box.refused("user", "add", "carl", "--role", "viewer") == (2, "password_missing")
    assert box.refused("user", "set-role", "bob", "--role", "viewer") == (2, "usage")
    assert box.refused("user", "set-role", "bob", "--role", "viewer", "--group", "gone") == (
        2,
        "group_unknown",
    )
    assert box.answer("user", "set-role", "bob", "--role", "operator", "--site")["role"] == "operator"
    assert box.refused("user", "disable", "root-anna") == (4, "last_admin")
    assert box.answer("user", "disable", "bob")["disabled"] is True
    assert box.answer("user", "enable", "bob")["disabled"] is False
    box.answer("user", "set-password", "bob", text="another sentence, about coffee\n")
    box.answer("user", "reset-totp", "bob")
    assert box.answer("user", "sign-out", "bob")["ended"] == 0
    listed = box.run("user", "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["USER", "bob", "root-anna"]
    assert box.refused("user", "remove", "bob") == (2, "not_confirmed")
    box.answer("user", "remove", "bob", "--yes")
    assert box.refused("user", "sign-out", "bob") == (3, "user_unknown")


def test_tokens_sessions_and_the_brake(box: Box) -> None:
    box.answer("user", "add", "anna", "--role", "operator", text=f"{PASSWORD}\n")
    create = ("token", "create", "--user", "anna", "--name", "grafana")
    made = box.answer(*create, "--role", "viewer", "--days", "30")
    assert made["token"].startswith("hpa_")
    assert 0 <= 30 * 86_400_000 - (made["expires_at_ms"] - made["created_at_ms"]) < 5_000
    assert box.refused(*create, "--role", "admin") == (2, "api_token_role_too_high")
    assert box.refused(*create, "--role", "viewer") == (4, "api_token_exists")
    (listed,) = box.answer("token", "list", "--user", "anna")["api_tokens"]
    assert "token" not in listed
    assert made["token"] not in box.run("token", "list").stdout
    revoked = box.answer("token", "revoke", made["token_id"])
    assert revoked["revoked_at_ms"] is not None
    assert box.refused("token", "revoke", "nothing") == (3, "api_token_unknown")
    shown = box.run("token", "create", "--user", "anna", "--name", "b", "--role", "viewer")
    assert shown.stdout.splitlines()[-1].startswith("hpa_")
    assert box.answer("session", "list")["sessions"] == []
    assert box.refused("session", "end", "p0123456789abcdef") == (3, "session_unknown")
    assert box.refused("key", "rotate") == (2, "not_confirmed")
    first = box.answer("key", "rotate", "--yes")
    second = box.answer("key", "rotate", "--yes")
    assert first["api_tokens_ended"] == 1
    assert (second["api_tokens_ended"], second["key_id"] != first["key_id"]) == (0, True)


def test_what_was_done_is_in_the_audit_as_done_on_the_box(box: Box) -> None:
    catalog = Catalog.open_read_only(layout.catalog(load(box.config, {})), clock=SystemClock())
    try:
        entries = catalog.rows(
            "SELECT DISTINCT actor, actor_kind, action FROM audit WHERE actor != 'homeport' ORDER BY action"
        )
    finally:
        catalog.close()
    assert {tuple(row)[:2] for row in entries} == {("local", "local")}
    assert {row[2] for row in entries} >= {"user.create", "user.remove", "api_token.create", "key.rotate"}


def test_a_password_is_no_argument() -> None:
    """Whoever runs ps would read it."""
    for words in (["user", "add"], ["user", "set-password"]):
        help_text = subprocess.run(
            [sys.executable, "-m", "appliance", *words, "--help"], capture_output=True, text=True, check=True
        ).stdout
        assert "--password" not in help_text
