"""`homeport run --demo`, the real one: broker, node and fleet as a newcomer starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.core.config import load
from appliance.core.errors import Unavailable
from appliance.run.local_api import LocalApi

DEADLINE_S = 60
DRAIN_S = 10
"""The promise: after SIGTERM everything has ended within this."""


class Demo:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = (folder / "log.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "run", "--demo", "--devices", "4"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.api = LocalApi(folder / "var" / "demo" / "run" / "node.sock")

    def devices(self) -> dict[str, dict[str, Any]]:
        try:
            found = self.api.get("/api/v1/devices")["devices"]
        except Unavailable:
            return {}
        return {device["device_id"]: device for device in found}

    def newest(self, device_id: str) -> dict[str, Any]:
        values = self.api.get(f"/api/v1/devices/{device_id}/newest")["values"]
        return {value["metric"]: value["observed_at_ms"] for value in values}

    def until(self, condition: Callable[[], bool], *, within_s: float = DEADLINE_S) -> None:
        deadline_s = time.monotonic() + within_s
        while not condition():
            assert self.process.poll() is None, "it ended"
            assert time.monotonic() < deadline_s, self.devices()
            time.sleep(0.2)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.log.close()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    started = Demo(tmp_path)
    yield started
    started.close()


def test_the_address_is_printed_values_move_and_everything_drains_in_time(demo: Demo) -> None:
    assert demo.process.stdout is not None
    assert demo.process.stdout.readline().startswith("Open https://127.0.0.1:")
    assert demo.process.stdout.readline().startswith("Certificate fingerprint (SHA-256) ")
    assert demo.process.stdout.readline().startswith("Setup code ")
    demo.until(lambda: len(demo.devices()) == 4 and bool(demo.newest("demo-01")))
    before = demo.newest("demo-01")
    demo.until(lambda: all(at_ms > before[metric] for metric, at_ms in demo.newest("demo-01").items()))
    told_at_s = time.monotonic()
    demo.process.send_signal(signal.SIGTERM)
    demo.process.wait(timeout=DEADLINE_S)
    assert time.monotonic() - told_at_s < DRAIN_S
    assert demo.process.returncode == 0
    demo.log.seek(0)
    log = demo.log.read()
    assert "Setup code" not in log
    assert '"level": "error"' not in log, log
    assert "Not everything went well" not in log, "the fleet had no time to deliver what it had sent"


def test_every_verb_works_on_a_running_appliance(demo: Demo) -> None:
    demo.until(lambda: len(demo.devices()) == 4 and bool(demo.newest("demo-01")))
    config = demo.folder / "var" / "demo" / "homeport.toml"

    def homeport(*arguments: str, exit_code: int = 0) -> str:
        result = CliRunner().invoke(main, [*arguments, "--config", str(config)], catch_exceptions=False)
        assert result.exit_code == exit_code, result.output
        return result.output

    status = homeport("status")
    assert status.startswith("demo 0.1.0, up ")
    assert "devices: 4 active; " in status
    assert "\nSetup code " in status
    assert set(json.loads(homeport("status", "--json"))) == {
        "health",
        "status",
        "alarms",
        "announcement",
        "replication",
    }

    issued = json.loads(homeport("setup-code", "--json"))
    assert issued["code"] not in status
    assert f"\nSetup code {issued['code']} " in homeport("status"), "the one that holds now"

    added = json.loads(homeport("device", "add", "pump-1", "--tag", "hall", "--json"))
    assert added["token"]
    assert "device_exists" in homeport("device", "add", "pump-1", "--json", exit_code=4)
    assert "There is no device" in homeport("device", "adopt", "nobody", exit_code=3)
    listed = json.loads(homeport("device", "list", "--json"))["devices"]
    assert [device["device_id"] for device in listed] == [
        "demo-01",
        "demo-02",
        "demo-03",
        "demo-04",
        "pump-1",
    ]

    # A device that nobody registered: refused, listed as waiting, adopted, and then it has a token.
    port = load(config, {}).broker.tcp_bind
    assert port is not None
    _publish_as("newcomer", port.port)
    demo.until(lambda: "newcomer" in demo.devices())
    assert "newcomer" in homeport("device", "list", "--state", "waiting")
    adopted = homeport("device", "adopt", "newcomer")
    assert adopted.startswith("Device newcomer is active. User name: newcomer, password (shown only now):\n")

    assert homeport("log", "verify").endswith("The log is whole.\n")
    assert json.loads(homeport("log", "verify", "--json"))["ok"] is True
    checks = {check["name"]: check["result"] for check in json.loads(homeport("doctor", "--json"))["checks"]}
    assert {checks[name] for name in ("log", "catalog", "node", "broker")} == {"ok"}


def _publish_as(client_id: str, port: int) -> None:
    """Try to connect with a made-up password, as firmware does that was never registered."""
    subprocess.run(
        [
            "mosquitto_pub",
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-i",
            client_id,
            "-u",
            client_id,
            "-P",
            "x",
            "-t",
            "x",
            "-n",
        ],
        capture_output=True,
        check=False,
    )


@pytest.mark.long
def test_a_silent_device_turns_stale_then_lost_and_comes_back(demo: Demo) -> None:
    def states() -> set[tuple[str, str]]:
        return {(device["presence"], device["freshness"]) for device in demo.devices().values()}

    demo.until(lambda: len(states()) == 1 and states() == {("online", "fresh")})
    demo.until(lambda: ("online", "stale") in states(), within_s=120)
    demo.until(lambda: ("lost", "stale") in states(), within_s=60)
    demo.until(lambda: states() == {("online", "fresh")}, within_s=120)
