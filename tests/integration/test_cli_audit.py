"""`homeport audit` as a person or a script uses it, whether the node runs or not."""

from __future__ import annotations

import csv
import json
import sqlite3
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve

from appliance.cli import main
from appliance.run.first_run import lock
from tests.acts import ACT
from tests.audit_kit import falsify, rechain
from tests.node_kit import running_node
from ui.auth import LocalTrust

CODE_DAMAGED = 9
CODE_USAGE = 2
CODE_CONFLICT = 4
CODE_CONFIG = 78


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "homeport.toml"
    path.write_text('[node]\ndata_dir = "data"\nrun_dir = "run"\n[logging]\nformat = "json"\n')
    return path


def homeport(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def audit(*arguments: str | Path, config: Path) -> Result:
    return homeport("audit", *arguments, "--config", config)


def fill(config_path: Path) -> Path:
    """Three devices, as somebody at the box registers them; returns the catalog's file."""
    for name in ("pump-1", "pump-2", "pump-3"):
        assert homeport("device", "add", name, "--config", config_path).exit_code == 0
    return config_path.parent / "data" / "catalog.db"


def test_who_did_what_while_the_node_is_stopped(config_path: Path) -> None:
    fill(config_path)
    shown = audit("list", "--object-id", "pump-2", "--action", "device", config=config_path)
    assert shown.exit_code == 0
    assert "device.create" in shown.output
    assert "pump-1" not in shown.output
    assert "pump-2" in shown.output
    entries = json.loads(audit("list", "--limit", "2", "--json", config=config_path).stdout)["entries"]
    assert len(entries) == 2
    assert entries[0]["actor"] == "local"
    bad = audit("list", "--from", "yesterday", config=config_path)
    assert bad.exit_code == CODE_USAGE
    assert "is no point in time" in bad.output
    assert audit("list", "--trace-id", "zz", config=config_path).exit_code == CODE_USAGE


def test_verify_and_what_it_prints_to_be_noted(config_path: Path) -> None:
    path = fill(config_path)
    whole = audit("verify", config=config_path)
    assert whole.exit_code == 0, whole.output
    assert "Whole: 6 entries" in whole.output
    assert "signed up to 6" in whole.output, "a command signs what it wrote"
    noted = whole.output.strip().splitlines()[-1].rpartition(" ")[2]
    assert audit("verify", "--head", noted, config=config_path).exit_code == 0
    assert audit("verify", "--head", "7:nonsense", config=config_path).exit_code == CODE_USAGE

    falsify(path, lambda c: c.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 2"))
    broken = audit("verify", config=config_path)
    assert broken.exit_code == CODE_DAMAGED
    assert "BROKEN: entry " in broken.output
    assert "-2 at 20" in broken.output
    assert "(entry_changed)" in broken.output
    report = json.loads(audit("verify", "--json", config=config_path).stdout)
    assert (report["ok"], report["chains"][0]["fault"]["seq"]) == (False, 2)


def test_a_tail_that_was_cut_with_all_signatures_is_found_by_what_was_noted(config_path: Path) -> None:
    path = fill(config_path)
    noted = audit("verify", config=config_path).output.strip().splitlines()[-1].rpartition(" ")[2]

    def cut(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM audit WHERE seq > 4")
        connection.execute("DELETE FROM audit_heads")

    falsify(path, cut)
    (path.parent / "identity" / "audit.head").unlink()
    assert audit("verify", config=config_path).exit_code == 0, "the cut itself leaves no trace in the file"
    found = audit("verify", "--head", noted, config=config_path)
    assert found.exit_code == CODE_DAMAGED
    assert "(newest_missing)" in found.output


def test_an_export_while_the_node_is_stopped(config_path: Path, tmp_path: Path) -> None:
    fill(config_path)
    out = tmp_path / "audit.jsonl"
    assert audit("export", "-o", out, config=config_path).exit_code == 0
    *lines, last = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines[-1]["action"] == "audit.export"
    assert last["head"]["seq"] == len(lines) == last["entry_count"]
    assert audit("verify", "--file", out, config=config_path).exit_code == 0
    there = audit("export", "-o", out, config=config_path)
    assert there.exit_code == CODE_USAGE
    assert "can't be written" in there.output

    text = out.read_text()
    out.write_text(text.replace("pump-2", "pump-9", 1))
    changed = audit("verify", "--file", out, config=config_path)
    assert changed.exit_code == CODE_DAMAGED
    for broken in (text.rsplit("\n", 2)[0], "[]\n", "{}\n", '{"entry_count": 1}\n', "no json"):
        out.write_text(broken)
        assert audit("verify", "--file", out, config=config_path).exit_code == CODE_USAGE

    filtered = audit("export", "--object-id", "pump-1", config=config_path)
    part = tmp_path / "part.jsonl"
    part.write_bytes(filtered.stdout_bytes)
    refused = audit("verify", "--file", part, config=config_path)
    assert refused.exit_code == CODE_USAGE
    assert "everything" in refused.output

    as_csv = audit("export", "--format", "csv", config=config_path)
    rows = list(csv.DictReader(as_csv.stdout_bytes.decode().splitlines()))
    assert rows[0]["object_id"] == "pump-1"
    assert rows[-1]["entry_id"] == "(head)"


def test_going_on_after_a_catalog_was_put_back(config_path: Path) -> None:
    path = fill(config_path)

    def cut(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM audit WHERE seq > 4")
        connection.execute("DELETE FROM audit_heads")

    falsify(path, cut)
    assert audit("verify", config=config_path).exit_code == CODE_DAMAGED
    still = homeport("device", "add", "pump-4", "--config", config_path)
    assert still.exit_code == 0, "devices are registered whatever became of the audit"
    assert audit("verify", config=config_path).exit_code == CODE_DAMAGED
    assert audit("accept", config=config_path).exit_code == CODE_USAGE
    assert audit("accept", "--yes", config=config_path).exit_code == 0
    assert audit("verify", config=config_path).exit_code == 0
    (accepted,) = json.loads(audit("list", "--action", "audit.accept", "--json", config=config_path).stdout)[
        "entries"
    ]
    assert accepted["detail"].startswith("Signed heads that no longer count: 6:")


def test_hashes_that_do_not_fit_are_not_accepted(config_path: Path) -> None:
    path = fill(config_path)
    falsify(path, lambda c: c.execute("DELETE FROM audit WHERE seq = 2"))
    refused = audit("accept", "--yes", config=config_path)
    assert refused.exit_code == CODE_CONFLICT
    assert "is missing" in refused.output


def test_history_that_was_rewritten_is_not_signed_by_the_next_command(config_path: Path) -> None:
    path = fill(config_path)
    falsify(path, lambda c: rechain(c, lambda e: replace(e, actor="x") if e.seq == 2 else e))
    assert homeport("device", "add", "pump-4", "--config", config_path).exit_code == 0
    found = audit("verify", config=config_path)
    assert found.exit_code == CODE_DAMAGED
    assert "(history_rewritten)" in found.output


def test_a_box_without_identity_says_so(config_path: Path) -> None:
    refused = audit("verify", config=config_path)
    assert refused.exit_code == CODE_CONFIG
    assert "no identity" in refused.output


async def test_through_the_running_node(tmp_path: Path) -> None:
    config_path = tmp_path / "homeport.toml"
    config_path.write_text('[node]\ndata_dir = "."\nrun_dir = "."\n')
    server = ServerConfig()
    server.bind = [f"unix:{tmp_path / 'node.sock'}"]
    server.accesslog = server.errorlog = None

    async def run(*arguments: str | Path) -> Result:
        return await trio.to_thread.run_sync(partial(audit, *arguments, config=config_path))

    async with running_node(tmp_path) as node, trio.open_nursery() as nursery:
        await node.catalog.write(lambda c: c.add_device("pump-1"), by=ACT)
        ended = trio.Event()
        await nursery.start(partial(serve, LocalTrust(node.app), server, shutdown_trigger=ended.wait))  # type: ignore[arg-type]
        listed = await run("list", "--actor", "homeport", "--json")
        assert [e["object_id"] for e in json.loads(listed.stdout)["entries"]] == ["pump-1"]
        out = tmp_path / "out.jsonl"
        assert (await run("export", "-o", out)).exit_code == 0
        assert (await run("verify", "--file", out)).exit_code == 0
        assert (await run("verify")).exit_code == 0
        refused = await run("export", "--from", "yesterday")
        assert refused.exit_code == CODE_USAGE
        with lock(tmp_path / "node.lock", holder="the node"):
            assert (await run("accept", "--yes")).exit_code == CODE_CONFLICT
        ended.set()
