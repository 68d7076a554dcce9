"""The command line as a person or a script uses it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import main
from appliance.core.clock import SystemClock
from appliance.core.config import load
from appliance.identity.ca import SiteCa
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import PENDING, RecoveryKit
from appliance.run import layout
from appliance.run.first_run import lock, prepare_folders
from storage.catalog.catalog import Catalog
from storage.log.writer import LogWriter

DEADLINE_S = 60.0


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "homeport.toml"
    path.write_text('[node]\ndata_dir = "data"\nrun_dir = "run"\n[logging]\nformat = "json"\n')
    return path


def homeport(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def answer(*arguments: str | Path) -> Any:
    result = homeport(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_devices_are_registered_listed_and_adopted_while_the_node_is_stopped(config_path: Path) -> None:
    added = answer("device", "add", "pump-1", "--name", "Pump", "--tag", "hall", "--config", config_path)
    assert (added["device_id"], added["state"], added["tags"]) == ("pump-1", "active", ["hall"])
    config = load(config_path, {})
    keys = SiteKeys.load_or_create(config.node.data_dir)
    catalog = Catalog.open(layout.catalog(config), clock=SystemClock(), node_id=keys.node_id)
    (token,) = catalog.tokens_of("pump-1")
    catalog.note_first_contact(["newcomer"], at_ms=1)
    catalog.close()
    assert token.token_hash == keys.token_hash(added["token"].encode())

    waiting = answer("device", "list", "--state", "waiting", "--config", config_path)["devices"]
    assert [device["device_id"] for device in waiting] == ["newcomer"]
    assert answer("device", "adopt", "newcomer", "--config", config_path)["state"] == "active"
    listed = answer("device", "list", "--config", config_path)["devices"]
    assert [device["device_id"] for device in listed] == ["newcomer", "pump-1"]
    assert all("token" not in device for device in listed)


def test_a_role_is_given_and_taken_while_the_node_is_stopped(config_path: Path) -> None:
    with config_path.open("a") as file:
        file.write('\n[[broker_role]]\nname = "board"\nsubscribe = ["dm/#"]\n')
    added = answer("device", "add", "b1", "--kind", "application", "--role", "board", "--config", config_path)
    assert (added["access"], added["role"]) == ("own", "board")
    refused = homeport("device", "add", "b2", "--access", "site", "--role", "board", "--config", config_path)
    assert refused.exit_code == 2
    changed = answer("device", "access", "b1", "--access", "site", "--config", config_path)
    assert (changed["access"], changed["role"]) == ("site", "")
    shown = homeport("device", "access", "b1", "--role", "board", "--config", config_path)
    assert shown.stdout == "Device b1 has access own with the role board.\n"
    (listed,) = answer("device", "list", "--config", config_path)["devices"]
    assert (listed["device_id"], listed["role"]) == ("b1", "board")


def test_for_people_a_token_is_printed_once_and_lists_are_tables(config_path: Path) -> None:
    added = homeport("device", "add", "pump-1", "--config", config_path)
    assert "shown only now" in added.stdout
    token = added.stdout.splitlines()[-1]
    listed = homeport("device", "list", "--config", config_path)
    assert listed.stdout.splitlines()[0].split() == [
        "DEVICE",
        "STATE",
        "KIND",
        "ACCESS",
        "ROLE",
        "NAME",
        "TAGS",
        "GROUPS",
        "SERIAL",
    ]
    assert "pump-1" in listed.stdout
    assert token not in listed.stdout
    assert homeport("device", "list", "--state", "rejected", "--config", config_path).stdout == "(none)\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (["device", "adopt", "nobody"], 3, "device_unknown"),
        (["device", "add", "a/b"], 2, "device_id_invalid"),
        (["device", "add", "a", "--role", "x"], 2, "role_unknown"),
        (["device", "access", "a", "--role", "x"], 2, "role_unknown"),
        (["device", "access", "a"], 2, "usage"),
        (["device", "access", "a", "--access", "site"], 3, "device_unknown"),
        (["status"], 7, "node_stopped"),
        (["setup-code"], 7, "node_stopped"),
        (["log", "verify"], 3, "not_found"),
        (["run", "--demo"], 2, "usage"),
    ],
)
def test_errors_have_an_exit_code_a_code_and_a_hint(
    config_path: Path, arguments: list[str], exit_code: int, code: str
) -> None:
    as_json = homeport(*arguments, "--config", config_path, "--json")
    assert as_json.exit_code == exit_code
    error = json.loads(as_json.stdout)["error"]
    assert error["code"] == code
    assert error["hint"]
    for_people = homeport(*arguments, "--config", config_path)
    assert for_people.exit_code == exit_code
    assert for_people.stdout == ""
    assert for_people.stderr.splitlines() == [error["message"], error["hint"]]


def test_registering_twice_is_a_conflict(config_path: Path) -> None:
    homeport("device", "add", "pump-1", "--config", config_path)
    again = homeport("device", "add", "pump-1", "--config", config_path, "--json")
    assert again.exit_code == 4
    assert json.loads(again.stdout)["error"]["code"] == "device_exists"


def test_the_catalog_is_left_alone_while_another_process_holds_it(config_path: Path) -> None:
    config = load(config_path, {})
    prepare_folders(config)
    with lock(layout.node_lock(config), holder="node"):
        refused = homeport("device", "list", "--config", config_path)
    assert refused.exit_code == 4
    assert "held by node" in refused.stderr


def test_a_bad_configuration_is_told_by_every_verb_with_its_line(config_path: Path) -> None:
    config_path.write_text("[broker]\ntcp_bnd = 'x'\n")
    for verb in (["run"], ["status"], ["device", "list"], ["log", "verify"]):
        result = homeport(*verb, "--config", config_path)
        assert result.exit_code == 78
        assert (
            result.stderr == f"{config_path}:2: broker.tcp_bnd is not a known key.\nDid you mean tcp_bind?\n"
        )
    doctor = homeport("doctor", "--config", config_path, "--json")
    assert doctor.exit_code == 1
    assert json.loads(doctor.stdout)["checks"][0]["result"] == "failed"


def test_doctor_says_what_it_found_and_what_to_do(config_path: Path) -> None:
    before = homeport("doctor", "--config", config_path)
    assert before.exit_code == 1
    assert "→ Start Homeport once." in before.stdout
    prepare_folders(load(config_path, {}))
    checks = answer("doctor", "--config", config_path)["checks"]
    assert {"configuration", "disk space", "file limit", "clock", "sync time", "log", "catalog"} <= {
        check["name"] for check in checks
    }


def test_a_damaged_log_is_told_with_its_place_and_exit_code(config_path: Path) -> None:
    config = load(config_path, {})
    prepare_folders(config)
    keys = SiteKeys.load_or_create(config.node.data_dir)
    directory = layout.telemetry_log(config)
    writer = LogWriter.open(
        directory, stream="telemetry", node_id=keys.node_id, signer=keys.signer, clock=SystemClock()
    )
    for seq in range(1, 4):
        writer.append(bytes(1000), 1, seq, seq)
    writer.close()
    assert homeport("log", "verify", "--config", config_path).stdout.endswith("The log is whole.\n")
    (segment,) = [path for path in directory.iterdir() if path.name.startswith("0000")]
    with segment.open("r+b") as file:
        file.seek(4096 + 500)
        byte = file.read(1)[0]
        file.seek(4096 + 500)
        file.write(bytes([byte ^ 1]))
    damaged = homeport("log", "verify", "--directory", directory)
    assert damaged.exit_code == 9
    assert damaged.stdout.endswith("The log is damaged.\n")
    assert "\ndamaged: " in damaged.stdout
    doctor = homeport("doctor", "--config", config_path, "--json")
    assert doctor.exit_code == 1
    (check,) = [check for check in json.loads(doctor.stdout)["checks"] if check["name"] == "log"]
    assert check["result"] == "failed"
    assert check["hint"]
    scrub = homeport("log", "scrub", "--config", config_path)
    assert (scrub.exit_code, scrub.stdout.count("none yet")) == (0, 2), "nothing was read"
    LogWriter.open(
        directory, stream="telemetry", node_id=keys.node_id, signer=keys.signer, clock=SystemClock()
    ).close()  # the damaged segment is not the newest any more
    scrub = homeport("log", "scrub", "--now", "--config", config_path, "--json")
    assert scrub.exit_code == 9
    assert json.loads(scrub.stdout)["last"]["damaged"][0]["first_seq"] == 1
    checks = json.loads(homeport("doctor", "--config", config_path, "--json").stdout)["checks"]
    assert [check["result"] for check in checks if check["name"] == "scrubbing"] == ["failed"]


@pytest.mark.parametrize("verb", [["sim"], ["bench"]])
def test_a_verb_whose_program_is_missing_says_so(verb: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.cli.passthrough.importlib.util.find_spec", lambda _name: None)
    result = homeport(*verb, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["hint"]


def test_help_of_every_verb_names_json_and_config() -> None:
    for verb in (
        ["run"],
        ["status"],
        ["setup-code"],
        ["doctor"],
        ["device", "add"],
        ["device", "list"],
        ["device", "adopt"],
        ["device", "access"],
        ["log", "verify"],
        ["log", "scrub"],
    ):
        shown = homeport(*verb, "--help")
        assert shown.exit_code == 0
        assert "--json" in shown.stdout
        assert "--config" in shown.stdout


@pytest.mark.parametrize("verb", ["sim", "bench"])
def test_a_verb_that_is_a_program_of_its_own_gets_everything_after_it(verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "appliance", verb, "--help"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0
    assert "Usage: " in done.stdout


def test_an_unknown_verb_is_a_usage_error() -> None:
    assert homeport("frobnicate").exit_code == 2


def test_the_version_is_printed() -> None:
    assert homeport("--version").stdout == "0.1.0\n"


class Running:
    """`homeport run …` with stand-in processes, as a process of its own."""

    def __init__(self, folder: Path, *arguments: str | Path, terminal: bool = False) -> None:
        self._ours, theirs = os.openpty() if terminal else (-1, subprocess.PIPE)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.stand_ins.homeport", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
        )
        if terminal:
            os.close(theirs)
        # What never becomes ready is ended, and so is the wait for its next line.
        self._last_resort = threading.Timer(DEADLINE_S, self.process.kill)
        self._last_resort.start()

    def wait_until_ready(self) -> list[str]:
        """The log's events up to the one that says so."""
        assert self.process.stderr is not None
        events = []
        for line in self.process.stderr:
            events.append(line)
            if "everything is ready" in line:
                return events
        raise AssertionError(f"it ended before it was ready: {events}")

    def stop(self) -> tuple[str, str]:
        """Standard output and the rest of the log, after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> tuple[str, str]:
        """Standard output and the rest of the log, once it has ended."""
        out, log = self.process.communicate(timeout=DEADLINE_S)
        self._last_resort.cancel()
        if self._ours == -1:
            return out, log
        with os.fdopen(self._ours, "rb", buffering=0) as terminal:
            return terminal.read(65_536).decode(), log


def test_on_a_terminal_run_prints_the_announcement_and_logs_none_of_it(
    tmp_path: Path, config_path: Path
) -> None:
    running = Running(tmp_path, "run", "--config", config_path, terminal=True)
    before = "".join(running.wait_until_ready())
    out, after = running.stop()
    assert running.process.returncode == 0
    assert out.splitlines() == ["https://127.0.0.1:1", "setup code GN2HG-CVRBY"]
    assert "GN2HG" not in before + after


def test_as_a_service_the_announcement_waits_for_status(tmp_path: Path, config_path: Path) -> None:
    running = Running(tmp_path, "run", "--config", config_path)
    before = "".join(running.wait_until_ready())
    waiting = (tmp_path / "run" / "announcement").read_text()
    second = homeport("run", "--config", config_path)
    out, after = running.stop()
    assert waiting.splitlines() == ["https://127.0.0.1:1", "setup code GN2HG-CVRBY"]
    assert "GN2HG" not in out + before + after
    assert second.exit_code == 4
    assert "held by homeport run" in second.stderr
    assert not (tmp_path / "run" / "announcement").exists()


def test_run_answers_in_json_when_it_has_drained(tmp_path: Path, config_path: Path) -> None:
    running = Running(tmp_path, "run", "--config", config_path, "--json")
    running.wait_until_ready()
    out, _log = running.stop()
    assert json.loads(out) == {"drained": True, "killed": []}


def test_the_demo_prints_its_announcement_and_keeps_to_var_demo(tmp_path: Path) -> None:
    running = Running(tmp_path, "run", "--demo")
    running.wait_until_ready()
    second = Running(tmp_path, "run", "--demo")
    _nothing, refused = second.wait()
    out, _log = running.stop()
    assert out.splitlines() == ["https://127.0.0.1:1", "setup code GN2HG-CVRBY"]
    assert second.process.returncode == 4
    assert "held by homeport run --demo" in refused
    assert [path.name for path in tmp_path.iterdir()] == ["var"]


def kit_box(config_path: Path) -> Path:
    """A box that has started once."""
    config = load(config_path, {})
    prepare_folders(config)
    data_dir = config.node.data_dir
    SiteCa.load_or_create(data_dir, SiteKeys.load_or_create(data_dir), clock=SystemClock())
    return data_dir


def test_the_recovery_kit_is_shown_kept_confirmed_and_gone(config_path: Path, tmp_path: Path) -> None:
    data_dir = kit_box(config_path)
    shown = homeport("recovery-kit", "show", "--config", config_path)
    assert shown.exit_code == 0
    saved = tmp_path / "kit.txt"
    saved.write_text(shown.output)
    assert answer("recovery-kit", "check", saved, "--config", config_path)["ok"] is True
    assert answer("recovery-kit", "confirm", saved, "--config", config_path) == {
        "confirmed": True,
        "was_pending": True,
    }
    assert not (data_dir / PENDING).exists()
    gone = homeport("recovery-kit", "show", "--config", config_path)
    assert gone.exit_code == 3
    assert "keeps no copy" in gone.output
    assert answer("recovery-kit", "confirm", saved, "--config", config_path)["was_pending"] is False
    assert homeport("recovery-kit", "check", saved, "--config", config_path).exit_code == 0


def test_a_recovery_kit_from_standard_input_with_a_typing_error(config_path: Path) -> None:
    data_dir = kit_box(config_path)
    kit = RecoveryKit.of(data_dir)
    lines = kit.lines()
    lines[4] = lines[4][:4] + ("B" if lines[4][4] == "A" else "A") + lines[4][5:]
    command = ["recovery-kit", "check", "-", "--config", str(config_path)]
    refused = CliRunner().invoke(main, command, input="\n".join(lines))
    assert refused.exit_code == 2
    assert "Line 05" in refused.output
    assert CliRunner().invoke(main, command, input=kit.qr_text).exit_code == 0
    assert CliRunner().invoke(main, command, input=b"\xff\xfe").exit_code == 2


def test_another_boxes_recovery_kit_is_neither_confirmed_nor_right(config_path: Path, tmp_path: Path) -> None:
    data_dir = kit_box(config_path)
    other = replace(RecoveryKit.of(data_dir), site_key=bytes(32))
    (tmp_path / "kit.txt").write_text(other.text())
    assert homeport("recovery-kit", "check", tmp_path / "kit.txt", "--config", config_path).exit_code == 2
    assert homeport("recovery-kit", "confirm", tmp_path / "kit.txt", "--config", config_path).exit_code == 2
    assert (data_dir / PENDING).exists()
    assert homeport("recovery-kit", "check", tmp_path / "nothing", "--config", config_path).exit_code == 3


def test_a_new_box_from_the_recovery_kit(config_path: Path, tmp_path: Path) -> None:
    data_dir = kit_box(config_path)
    kit = RecoveryKit.of(data_dir)
    (tmp_path / "kit.txt").write_text(kit.text())
    data_dir.rename(tmp_path / "dead")
    done = answer("recovery-kit", "restore", tmp_path / "kit.txt", "--config", config_path)
    assert done == {"site_key": True, "node_id": True, "authority": True}
    assert (data_dir / "identity" / "site.key").read_text().strip() == kit.site_key.hex()
    assert homeport("recovery-kit", "check", tmp_path / "kit.txt", "--config", config_path).exit_code == 0
    again = homeport("recovery-kit", "restore", tmp_path / "kit.txt", "--config", config_path)
    assert "nothing was changed" in again.output
    config = load(config_path, {})
    with lock(layout.node_lock(config), holder="a test"):
        assert (
            homeport("recovery-kit", "restore", tmp_path / "kit.txt", "--config", config_path).exit_code == 4
        )


def test_there_is_no_recovery_kit_to_check_before_the_first_start(config_path: Path, tmp_path: Path) -> None:
    other = RecoveryKit(node_id=bytes(16), made_day=20_000, site_key=bytes(32), root_secret=bytes(32))
    (tmp_path / "kit.txt").write_text(other.text())
    refused = homeport("recovery-kit", "check", tmp_path / "kit.txt", "--config", config_path)
    assert refused.exit_code == 3
    assert "Start Homeport once" in refused.output
