"""A firmware update on the whole appliance: both processes, real sockets, paho as the device, the command line as the person.

The node is killed in the middle of it, and what the device says through the log decides.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_broker_verbs import Appliance
from tests.integration.test_twins_and_commands import Device, added, kill_node

DEADLINE_S = 120.0
OLD, IMAGE = "0" * 64, b"\x7ffirmware 2.0" * 500


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    """One that may live for longer than a short test: its node is started three times."""
    running = Appliance(tmp_path)
    last_resort = threading.Timer(2 * DEADLINE_S, running.process.kill)
    last_resort.start()
    try:
        running.wait_until_ready()
        running._last_resort.cancel()
        yield running
    finally:
        running.stop()
        last_resort.cancel()


def until(found: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not found():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


class Pump(Device):
    """A device that reports what it runs, and its job."""

    seq = 0

    def runs(self, digest: str, version: str, boot_id: str, *, is_confirmed: bool = True) -> None:
        self.seq += 1
        self.say(
            f"dm/{self.id}/status",
            {
                "state": "online", "boot_id": boot_id, "session": boot_id, "seq": self.seq, "hw": "rev2",
                "fw": {"version": version, "digest": f"sha256:{digest}", "slot": "A", "confirmed": is_confirmed},
            },
        )  # fmt: skip

    def reports(self, job_id: str, phase: str, boot_id: str, **more: Any) -> dict[str, Any]:
        self.seq += 1
        details = {"phase": phase, "attempt": 1, "seq": self.seq, "boot_id": boot_id}
        how, answer = self.ask(
            f"dm/{self.id}/jobs/{job_id}/update", {"status": "IN_PROGRESS", "statusDetails": details} | more
        )
        return {"how": how, **answer}


def is_back(appliance: Appliance) -> bool:
    """Whether the node answers again after it was killed."""
    try:
        return bool(appliance.answer("device", "executions", "pump"))
    except AssertionError:
        return False


def state_of(appliance: Appliance, device_id: str) -> str:
    (execution,) = appliance.answer("device", "executions", device_id)["executions"]
    return str(execution["state"])


def test_from_the_artifact_to_the_confirmed_boot_with_the_node_killed_between(
    appliance: Appliance, tmp_path: Path
) -> None:
    token = added(appliance, "pump")
    device = Pump(appliance.port, "pump", token)
    device.runs(OLD, "1.0", "boot-a")
    image = tmp_path / "pump.bin"
    image.write_bytes(IMAGE)
    appliance.answer("artifact", "key", "policy", "allow")
    artifact = appliance.answer("artifact", "add", str(image), "--name", "pump", "--version", "2.0")
    until(
        lambda: appliance.answer("rollout", "preview", artifact["artifact_id"], "--all")["device_count"] == 1
    )
    made = appliance.answer("rollout", "create", "May", artifact["artifact_id"], "--all", "--wave", "100%")
    for verb in ("submit", "start"):
        appliance.answer("rollout", verb, made["rollout_id"])

    # Nothing is said to who does not listen; who subscribes is told at once, and what is asked for is answered.
    device.subscribe("dm/pump/jobs/notify-next")
    # Its wave opens for who can be reached: until then there is nothing to do.
    while not (told := device.expect("dm/pump/jobs/notify-next")["execution"]):
        pass
    job_id, document = told["jobId"], told["jobDocument"]
    assert (document["op"], document["artifact"]["sha256"]) == ("fw.install", artifact["sha256"])
    until(lambda: state_of(appliance, "pump") == "notified")
    assert device.reports(job_id, "downloading", "boot-a")["how"] == "accepted"
    stale = device.reports(job_id, "downloaded", "boot-a", expectedVersion=1)
    assert (stale["how"], stale["code"]) == ("rejected", "VersionMismatch")

    kill_node(appliance)
    until(lambda: is_back(appliance))
    assert device.reports(job_id, "installing", "boot-a")["how"] == "accepted"
    assert device.reports(job_id, "rebooting", "boot-a")["executionState"]["status"] == "IN_PROGRESS"
    device.close()

    kill_node(appliance)
    device = Pump(appliance.port, "pump", token)
    device.runs(artifact["sha256"], "2.0", "boot-b", is_confirmed=False)
    until(lambda: is_back(appliance))
    until(lambda: state_of(appliance, "pump") == "testing")
    device.runs(artifact["sha256"], "2.0", "boot-b")
    until(lambda: state_of(appliance, "pump") == "succeeded")
    how, answer = device.ask("dm/pump/jobs/$next/get", {})
    assert (how, "execution" in answer) == ("accepted", False)
    device.close()
    shown = appliance.answer("rollout", "show", made["rollout_id"])
    assert shown["state"] in ("running", "soaking", "completed")
