"""`homeport run --demo`, the real one: broker, node and fleet as a newcomer starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import Unavailable
from appliance.run.local_api import LocalApi

DEADLINE_S = 60
DRAIN_S = 10
"""The promise: after SIGTERM everything has ended within this."""


class Demo:
    def __init__(self, folder: Path) -> None:
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


@pytest.mark.long
def test_a_silent_device_turns_stale_then_lost_and_comes_back(demo: Demo) -> None:
    def states() -> set[tuple[str, str]]:
        return {(device["presence"], device["freshness"]) for device in demo.devices().values()}

    demo.until(lambda: len(states()) == 1 and states() == {("online", "fresh")})
    demo.until(lambda: ("online", "stale") in states(), within_s=120)
    demo.until(lambda: ("lost", "stale") in states(), within_s=60)
    demo.until(lambda: states() == {("online", "fresh")}, within_s=120)
