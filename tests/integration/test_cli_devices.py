"""`homeport device`, `group` and `tag`: the same through a running node and on the catalog of a stopped one."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from click.testing import CliRunner, Result

from appliance.cli import main
from appliance.core.clock import SystemClock
from appliance.core.config import Config, load
from appliance.identity.authenticator import DeviceAuthenticator
from appliance.identity.keys import SiteKeys
from appliance.run import layout
from appliance.run.first_run import prepare_folders
from storage.catalog import Catalog, DeviceAuthReader
from tests.node_kit import running_node
from ui.auth import LocalTrust

Run = Callable[..., Result]
DEADLINE_S = 60


def _invoke(config_path: Path, *arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(
        main,
        [*(str(each) for each in arguments), "--config", str(config_path)],
        input=stdin,
        catch_exceptions=False,
    )


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "homeport.toml"
    path.write_text('[node]\ndata_dir = "data"\nrun_dir = "run"\n[logging]\nformat = "json"\n')
    return path


def _config(config_path: Path) -> Config:
    return load(config_path, {})


async def _serve(config_path: Path, work: Callable[[], None]) -> None:
    """Run blocking work beside a node that serves its API on the socket of the configuration."""
    from hypercorn.config import Config as ServerConfig
    from hypercorn.trio import serve

    config = _config(config_path)
    prepare_folders(config)
    server = ServerConfig()
    server.bind = [f"unix:{layout.node_socket(config)}"]
    server.loglevel = "CRITICAL"
    server.graceful_timeout = 1
    done = trio.Event()
    async with running_node(config.node.data_dir) as node, trio.open_nursery() as nursery:

        async def serving(task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
            await serve(
                cast(Any, LocalTrust(node.app)), server, shutdown_trigger=done.wait, task_status=task_status
            )

        await nursery.start(serving)
        with trio.fail_after(DEADLINE_S):
            await trio.to_thread.run_sync(work)
        done.set()


@pytest.fixture(params=["running", "stopped"])
def with_run(request: pytest.FixtureRequest, config_path: Path) -> Callable[[Callable[[Run], None]], None]:
    """Calls a story with a function that runs the command, beside a running node or without one."""

    def play(story: Callable[[Run], None]) -> None:
        def run(*arguments: str | Path, stdin: str | None = None) -> Result:
            return _invoke(config_path, *arguments, stdin=stdin)

        if request.param == "stopped":
            story(run)
        else:
            trio.run(_serve, config_path, lambda: story(run))

    return play


def _json(result: Result, exit_code: int = 0) -> Any:
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


Play = Callable[[Callable[[Run], None]], None]


def test_a_device_s_life(with_run: Play, config_path: Path) -> None:
    def story(run: Run) -> None:
        made = _json(run("group", "add", "north", "--name", "North", "--json"))
        assert isinstance(made["version"], str), "more than a JSON number holds everywhere"
        added = _json(run("device", "add", "d1", "--tag", "a", "--group", "north", "--serial", "7", "--json"))
        assert added["token"]
        assert isinstance(added["version"], str)
        edited = _json(run("device", "edit", "d1", "--name", "Pump", "--no-tags", "--json"))
        assert (edited["name"], edited["tags"], edited["groups"], edited["serial"]) == (
            "Pump",
            [],
            ["north"],
            "7",
        )
        assert _json(run("device", "edit", "d1", "--json"), 2)["error"]["code"] == "usage"
        newer = _json(run("device", "token", "d1", "--overlap-h", "1", "--json"))["token"]
        shown = _json(run("device", "show", "d1", "--json"))
        newest, older = shown["tokens"]
        assert newest["expires_at_ms"] is None
        text = run("device", "show", "d1").stdout
        assert newest["token_id"] in text
        assert newer not in text
        assert run("device", "revoke-token", "d1", older["token_id"]).exit_code == 0
        assert run("device", "revoke-token", "d1", older["token_id"]).exit_code == 3
        refused = run("device", "replace", "d1", "--json")
        assert _json(refused, 2)["error"]["code"] == "not_confirmed"
        replaced = _json(run("device", "replace", "d1", "--serial", "8", "--yes", "--json"))
        assert replaced["serial"] == "8"
        assert replaced["replaced_at_ms"]
        assert [token["token_id"] for token in _json(run("device", "show", "d1", "--json"))["tokens"]] != [
            newest["token_id"]
        ]
        assert _json(run("device", "decommission", "d1", "--json"), 2)["error"]["code"] == "not_confirmed"
        assert _json(run("device", "decommission", "d1", "--yes", "--json"))["state"] == "decommissioned"
        assert "Replaced" in run("device", "show", "d1").stdout

    with_run(story)


def test_several_at_once_each_by_itself(with_run: Play, config_path: Path) -> None:
    config = _config(config_path)
    prepare_folders(config)
    keys = SiteKeys.load_or_create(config.node.data_dir)
    catalog = Catalog.open(layout.catalog(config), clock=SystemClock(), node_id=keys.node_id)
    catalog.note_first_contact(["w1", "w2", "w3"], at_ms=1)
    catalog.close()

    def story(run: Run) -> None:
        adopted = _json(run("device", "adopt", "w1", "w2", "--json"))["devices"]
        assert [row["state"] for row in adopted] == ["active", "active"]
        assert len({row["token"] for row in adopted}) == 2
        partly = run("device", "reject", "w3", "w1")
        assert partly.exit_code == 2
        assert "1 of 2 devices" in partly.output
        listed = _json(run("device", "list", "--state", "rejected", "--json"))["devices"]
        assert [row["device_id"] for row in listed] == ["w3"]

    with_run(story)


def test_lists_in_and_out(with_run: Play, config_path: Path, tmp_path: Path) -> None:
    source, out, tokens = tmp_path / "in.csv", tmp_path / "out.csv", tmp_path / "tokens.csv"
    source.write_text("device_id;name;tags\nd1;Pump;a|b\nbad/id;;\nd2;;\n")

    def story(run: Run) -> None:
        dry = _json(run("device", "import", source, "--dry-run", "--json"))
        assert (dry["created_count"], dry["refused_count"]) == (2, 1)
        assert run("device", "list").stdout == "(none)\n"
        report = _json(run("device", "import", source, "--tokens", tokens, "--json"))
        assert (report["created_count"], report["refused_count"], report["tokens_file"]) == (
            2,
            1,
            str(tokens),
        )
        assert "tokens" not in report
        assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
        again = run("device", "import", source, "--tokens", tokens, "--json")
        assert _json(again, 4)["error"]["code"] == "file_exists"
        text = run("device", "import", "-", stdin=source.read_text()).stdout
        assert "0 created, 0 updated, 2 unchanged, 0 differs, 1 refused" in text
        assert "bad/id" in text
        changed = "device_id,name\nd1,Other\n"
        twice = _json(run("device", "import", "-", "--json", stdin="device_id\nd1\nbad/id\nd1\nbad/2\n"))
        assert [each["line"] for each in twice["problems"]] == [3, 4, 5], "in the order of the list"
        assert "1 updated" in run("device", "import", "-", "--update", stdin=changed).stdout
        assert run("device", "export", out).exit_code == 0
        assert out.read_text().splitlines()[1].startswith("d1,Other,device,own,,a|b,")
        assert run("device", "export").stdout.splitlines() == out.read_text().splitlines()
        assert run("device", "export", "--json").exit_code == 2
        assert run("device", "import", tmp_path / "nowhere.csv").exit_code == 3
        unused = tmp_path / "unused.csv"
        bad = _json(run("device", "import", "-", "--tokens", unused, "--json", stdin="name\nx\n"), 2)
        assert not unused.exists()
        assert bad["error"]["code"] == "csv_column_missing"

    with_run(story)
    keys = SiteKeys.load_or_create(_config(config_path).node.data_dir)
    device_id, token = tokens.read_text().splitlines()[1].split(",")
    reader = DeviceAuthReader(layout.catalog(_config(config_path)), clock=SystemClock())
    authenticator = DeviceAuthenticator(reader, keys, clock=SystemClock())
    assert authenticator.authenticate(device_id, token.encode(), "", "").name == "d1"
    reader.close()


def test_groups_and_tags(with_run: Play) -> None:
    def story(run: Run) -> None:
        run("group", "add", "north")
        run("group", "add", "south")
        run("device", "add", "d1", "--group", "north", "--tag", "a")
        run("device", "add", "d2", "--tag", "a", "--tag", "b")
        assert _json(run("group", "edit", "north", "--name", "N", "--json"))["name"] == "N"
        assert run("group", "edit", "north").exit_code == 2
        groups = _json(run("group", "list", "--json"))["groups"]
        assert [(row["group_id"], row["device_count"]) for row in groups] == [("north", 1), ("south", 0)]
        listed = _json(run("device", "list", "--group", "north", "--tag", "a", "--json"))["devices"]
        assert [row["device_id"] for row in listed] == ["d1"]
        assert _json(run("group", "remove", "north", "--json"), 4)["error"]["code"] == "group_has_devices"
        assert run("group", "remove", "north", "--force").exit_code == 2
        assert run("group", "remove", "north", "--force", "--yes").exit_code == 0
        assert _json(run("tag", "rename", "a", "c", "--json")) == {"device_count": 2}
        assert _json(run("tag", "remove", "b", "--json")) == {"device_count": 1}
        assert _json(run("tag", "list", "--json"))["tags"] == [{"tag": "c", "device_count": 2}]

    with_run(story)
