"""`homeport log missing` and `homeport log lost`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.cli import log as log_verbs
from appliance.cli import main

NODE = "a" * 32
RANGE = f"{NODE}/telemetry:2:221-260"
FIELDS = {"node_id": NODE, "name": "telemetry", "epoch": 2, "first_seq": 221, "next_seq": 261}
LOST = {**FIELDS, "by": "anna", "reason": "both cards", "at_ms": 1_700_000_000_000, "key_id": "k"}


class Api:
    """A node that says this."""

    def __init__(self, state: dict[str, Any] | None) -> None:
        self.state = state
        self.posted: list[tuple[str, dict[str, Any]]] = []

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/api/v1/replication"
        return {"state": self.state}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.posted.append((path, body))
        return LOST


def run(tmp_path: Path, *words: str, text: str | None = None) -> Any:
    config = tmp_path / "homeport.toml"
    config.write_text(f'[node]\ndata_dir = "{tmp_path / "data"}"\nrun_dir = "{tmp_path / "run"}"\n')
    return CliRunner().invoke(main, ["log", *words, "--config", str(config)], input=text)


def test_missing_lists_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api({"missing": [FIELDS], "lost": [LOST]})
    monkeypatch.setattr(log_verbs, "running_node", lambda config: api)
    found = run(tmp_path, "missing")
    assert found.exit_code == 9
    assert f"missing: {RANGE}" in found.output
    assert f"lost: {RANGE}, marked by anna at 2023-11-14" in found.output
    api.state = None
    nothing = run(tmp_path, "missing")
    assert (nothing.exit_code, "Nothing is missing" in nothing.output) == (0, True)


def test_lost_marks_what_missing_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api({})
    monkeypatch.setattr(log_verbs, "running_node", lambda config: api)
    done = run(tmp_path, "lost", RANGE, "--reason", "both cards", "--yes")
    assert done.exit_code == 0, done.output
    assert f"{RANGE} is marked lost" in done.output
    assert api.posted == [("/api/v1/replication/lost", {**FIELDS, "reason": "both cards"})]
    for wrong in ("nonsense", RANGE.upper(), f"{RANGE}-1", f"{NODE}/telemetry:2:-1"):
        refused = run(tmp_path, "lost", wrong, "--yes")
        assert refused.exit_code != 0
        assert "no range of records" in refused.output
    branch = run(tmp_path, "lost", f"{NODE}/telemetry.fork-0a1b2c3d:2:5-5", "--yes")
    assert branch.exit_code == 0, branch.output
    assert (api.posted[-1][1]["name"], api.posted[-1][1]["next_seq"]) == ("telemetry.fork-0a1b2c3d", 6)
    assert len(api.posted) == 2


def test_homeport_has_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_verbs, "running_node", lambda config: None)
    for words in (["missing"], ["lost", RANGE, "--yes"]):
        refused = run(tmp_path, *words)
        assert refused.exit_code != 0
        assert "does not run" in refused.output
