"""Verbs: options, exit codes, and no secret on a command line."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from device_fw_sim.cli import sim


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, held so that nobody can."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_every_verb_explains_itself() -> None:
    for verb in sim.commands:
        result = CliRunner().invoke(sim, [verb, "--help"])
        assert result.exit_code == 0
        assert "password" not in [option.name for option in sim.commands[verb].params]


@pytest.mark.parametrize(
    "arguments",
    [
        ["fleet", "--fault", "slient:3"],
        ["fleet", "--fault", "silent:3", "--devices", "2"],
        ["fleet", "--credentials", "/nowhere"],
        ["fleet", "--tls", "--ca", "/nowhere"],
        ["fleet", "--claim", "/nowhere"],
        ["fleet", "--claim", "/nowhere", "--identity", "/tmp/none"],
        ["fleet", "--claim", "/nowhere", "--identity", "/tmp/none", "--tls"],
        ["one", "--fault", "silent:1"],
        ["one", "--fault", "drop-out:1"],
        ["replay", __file__],
        ["replay", __file__, "--speed", "fast"],
        ["replay", __file__, "--speed", "-1"],
        ["load", "/nowhere"],
    ],
)
def test_wrong_options_exit_with_2_and_a_hint(arguments: list[str]) -> None:
    result = CliRunner().invoke(sim, arguments)
    assert result.exit_code == 2, result.output
    assert result.output.startswith("Error: ")


def test_more_devices_than_credentials_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.touch(mode=0o600)
    path.write_text('{"username": "a", "password": "b"}')
    result = CliRunner().invoke(sim, ["fleet", "--credentials", str(path), "--devices", "2"])
    assert (result.exit_code, "1 credentials" in result.output) == (2, True)


@pytest.mark.parametrize("verb", ["one", "fleet"])
def test_nobody_listens_exits_with_3(verb: str, closed_port: int) -> None:
    arguments = [
        verb,
        "--port",
        str(closed_port),
        "--duration",
        "0.3",
        "--drain",
        "0.1",
        "--rate",
        "20",
        "--json",
    ]
    result = CliRunner().invoke(sim, arguments)
    assert result.exit_code == 3, result.output
    assert json.loads(result.stdout)["connects"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [('{"windw": 1}', "windw"), ("[]", "array"), ('{"window": "x"}', "window"), ('{"window": 0}', "window")],
)
def test_load_options_are_checked(options: str, said: str) -> None:
    result = CliRunner().invoke(sim, ["load"], input=options)
    assert (result.exit_code, said in result.output) == (2, True), result.output


def test_load_without_a_broker_exits_with_3(closed_port: int) -> None:
    result = CliRunner().invoke(sim, ["load"], input=json.dumps({"port": closed_port}))
    assert result.exit_code == 3
