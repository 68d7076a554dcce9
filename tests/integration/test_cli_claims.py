"""`homeport claim` while the node is stopped: made, listed, revoked. The way through the node is in tests/interop/test_enrolment.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import main


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "homeport.toml"
    path.write_text('[node]\ndata_dir = "data"\nrun_dir = "run"\n[logging]\nformat = "json"\n')
    return path


def claim(config_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        main, ["claim", *arguments, "--config", str(config_path)], catch_exceptions=False
    )


def answer(config_path: Path, *arguments: str) -> Any:
    result = claim(config_path, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_claim_is_made_listed_and_revoked(config_path: Path) -> None:
    batch = answer(config_path, "create", "--count", "40", "--life", "12h", "--tag", "new", "--adopt")
    assert batch["token"].startswith("hpc_")
    assert (batch["use_count_max"], batch["adopt"], batch["tags"], batch["created_by"]) == (
        40, True, ["new"], "local"
    )  # fmt: skip
    assert batch["expires_at_ms"] - batch["created_at_ms"] == 12 * 3_600_000
    shown = claim(config_path, "create", "--device", "pump-1", "--name", "Spare pump")
    assert "lets the device pump-1 come in, waiting for your adoption then, for 7d" in shown.stdout
    token = shown.stdout.splitlines()[-1]
    listed = claim(config_path, "list").stdout
    assert "0 of 40" in listed
    assert "Spare pump" in listed
    assert token not in listed
    rows = answer(config_path, "list", "--state", "valid")["claims"]
    assert [row["device_id"] for row in rows] == ["pump-1", ""]
    assert all("token" not in row for row in rows)
    assert answer(config_path, "revoke", batch["claim_id"])["state"] == "revoked"
    assert len(answer(config_path, "list", "--state", "valid")["claims"]) == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (["create", "--life", "7"], 2, "usage"),
        (["create", "--life", "0d"], 2, "usage"),
        (["create", "--life", "9999d"], 2, "claim_invalid"),
        (["create", "--device", "a", "--count", "2"], 2, "claim_invalid"),
        (["create", "--count", "100001"], 2, "claim_invalid"),
        (["create", "--group", "nowhere"], 3, "group_unknown"),
        (["revoke", "none"], 3, "claim_unknown"),
    ],
)
def test_what_can_not_be_done(config_path: Path, arguments: list[str], exit_code: int, code: str) -> None:
    refused = claim(config_path, *arguments, "--json")
    assert refused.exit_code == exit_code
    error = json.loads(refused.stdout)["error"]
    assert error["code"] == code
    assert error["hint"]
