"""AWS IoT's SDK for devices, unmodified, at the running appliance: mutual TLS with a certificate of the site's own authority, over MQTT 3.1.1 and 5."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.aws_iot import AwsDevice, Refused
from tests.interop.box import DEADLINE_S, Box

KEY_AND_REQUEST = (
    "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {device}.key\n"
    "openssl req -new -key {device}.key -subj /CN={device} -out {device}.csr"
)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    started = Box(tmp_path_factory.mktemp("aws"))
    try:
        started.wait_ready()
        yield started
    finally:
        started.close()


def enrolled(box: Box, device: str) -> Path:
    """Register a device and give it a certificate; returns its file, beside which the key lies."""
    box.homeport("device", "add", device)
    box.shell(KEY_AND_REQUEST.format(device=device))
    made = box.homeport("certificate", "issue", device, str(box.device / f"{device}.csr"))
    certificate = box.device / f"{device}.crt"
    certificate.write_text(made["certificate"])
    return certificate


@contextmanager
def connected(box: Box, certificate: Path, mqtt: int) -> Iterator[AwsDevice]:
    thing = AwsDevice(
        host="localhost",
        port=box.tls_port,
        ca_file=box.ca_file,
        certificate=certificate,
        key=certificate.with_suffix(".key"),
        thing=certificate.stem,
        mqtt=mqtt,
    )
    try:
        yield thing
    finally:
        thing.close()


@pytest.fixture(scope="module", params=[3, 5], ids=["MQTT 3.1.1", "MQTT 5"])
def thing(box: Box, request: pytest.FixtureRequest) -> Iterator[AwsDevice]:
    """A device that is connected for the whole module."""
    mqtt: int = request.param
    with connected(box, enrolled(box, f"thing-{mqtt}"), mqtt) as device:
        yield device


def refusal(device: AwsDevice, call: str, **arguments: Any) -> dict[str, Any]:
    with pytest.raises(Refused) as refused:
        device.call(call, **arguments)
    words: dict[str, Any] = refused.value.words
    assert words["message"]
    assert words["client_token"], "the SDK knows its answer by it"
    return words


def test_a_twin_is_read_and_reported(box: Box, thing: AwsDevice) -> None:
    assert refusal(thing, "get_shadow")["code"] == 404
    made = thing.call("update_shadow", state={"reported": {"mode": "idle", "celsius": 21.5}})
    assert made["state"] == {"reported": {"mode": "idle", "celsius": 21.5}}
    version = made["version"]
    changed = thing.call(
        "update_shadow", state={"reported": {"mode": "on", "celsius": None}}, version=version
    )
    assert changed["version"] == version + 1
    found = thing.call("get_shadow")
    assert found["state"] == {"reported": {"mode": "on"}}
    assert found["version"] == version + 1
    assert set(found["metadata"]["reported"]) == {"mode"}
    stale = refusal(thing, "update_shadow", state={"reported": {"mode": "late"}}, version=version)
    assert stale["code"] == 409
    assert thing.call("get_shadow")["version"] == version + 1


def test_what_is_wanted_is_told(box: Box, thing: AwsDevice) -> None:
    thing.call("listen_delta")
    thing.call("update_shadow", state={"reported": {"interval_s": 60}})
    wanted = {"desired": {"interval_s": 10}}
    box.api.request("PATCH", f"/api/v1/devices/{thing.name}/twin", wanted)
    ((kind, delta),) = thing.call("heard", count=1)
    assert (kind, delta["state"]) == ("delta", {"interval_s": 10})
    done = thing.call("update_shadow", state={"reported": {"interval_s": 10}})
    assert done["version"] == delta["version"] + 1
    assert "delta" not in thing.call("get_shadow")["state"]


def test_named_twins_are_apart_and_can_be_deleted(thing: AwsDevice) -> None:
    thing.call("update_shadow", shadow="config", state={"reported": {"a": 1}})
    assert thing.call("get_shadow", shadow="config")["state"] == {"reported": {"a": 1}}
    assert "a" not in thing.call("get_shadow")["state"]["reported"]
    thing.call("delete_shadow", shadow="config")
    assert refusal(thing, "get_shadow", shadow="config")["code"] == 404


def test_a_job_that_is_not_there(thing: AwsDevice) -> None:
    assert refusal(thing, "describe", job="no-such-job")["code"] == "ResourceNotFound"
    assert "execution" not in thing.call("start_next")
    assert thing.call("pending")["queued_jobs"] == []


# --- jobs -----------------------------------------------------------------------------------------------------

IMAGE = random.Random(20261127).randbytes(40_000)
SHA256 = hashlib.sha256(IMAGE).hexdigest()
BLOCK_BYTES = 4_096
OLD = {"version": "1.0.0", "digest": f"sha256:{'0' * 64}", "slot": "A", "confirmed": True, "epoch": 0}
NEW = {"version": "2.0.0", "digest": f"sha256:{SHA256}", "slot": "B", "confirmed": True, "epoch": 0}


def upload(box: Box, name: str) -> str:
    """An artifact with the image; returns its id."""
    begun = box.api.post(
        "/api/v1/artifact-uploads", {"name": name, "version": "2.0.0", "size_bytes": len(IMAGE)}
    )
    (box.device / "image").write_bytes(IMAGE)
    where = f"http://localhost/api/v1/artifact-uploads/{begun['upload_id']}"
    box.shell(
        f"curl -sS --fail --unix-socket {box.node_socket} -X PATCH -H 'Content-Type: application/octet-stream' "
        f"--data-binary @image '{where}?offset=0'"
    )
    made = box.api.post(f"/api/v1/artifact-uploads/{begun['upload_id']}/finish", {})
    return str(made["artifact_id"])


def roll_out(box: Box, device: str) -> str:
    """Have the image rolled out to one device; returns the rollout's id."""
    box.api.request("PATCH", "/api/v1/artifact-keys", {"unsigned": "allow"})
    rollout = box.api.post(
        "/api/v1/rollouts",
        {
            "name": f"for {device}",
            "artifact_id": upload(box, f"firmware-{device}"),
            "targets": {"devices": [device]},
            "plan": {"start_spread_s": 0},
            "policy": {"confirm_s": 10},
        },
    )
    rollout_id = str(rollout["rollout_id"])
    box.api.post(f"/api/v1/rollouts/{rollout_id}/submit", {})
    box.api.post(f"/api/v1/rollouts/{rollout_id}/start", {})
    return rollout_id


def say_online(thing: AwsDevice, boot_id: str, fw: dict[str, Any]) -> None:
    now_ms = int(time.time() * 1000)
    status = {"state": "online", "ts": now_ms, "boot_id": boot_id, "session": boot_id, "seq": 1, "fw": fw}
    thing.call("publish", topic=f"dm/{thing.name}/status", payload=status | {"hw": "rev2"})


def run_job(box: Box, thing: AwsDevice, *, is_cut: bool) -> None:
    """A whole update by the SDK: told, started, downloaded, reported, and confirmed by what runs in the end.

    Args:
        is_cut: The node is killed in the middle of the download.
    """
    thing.call("listen_next_job")
    thing.call("heard", count=1)
    say_online(thing, "b1", OLD)
    rollout_id = roll_out(box, thing.name)
    told: dict[str, Any] = {}
    while not told.get("execution"):  # That there is nothing to do may be said more than once before.
        ((_, told),) = thing.call("heard", count=1)
    job_id = told["execution"]["job_id"]
    assert told["execution"]["status"] == "QUEUED"

    execution = thing.call("start_next", details={"step": "begun"})["execution"]
    assert (execution["job_id"], execution["status"]) == (job_id, "IN_PROGRESS")
    artifact = execution["job_document"]["artifact"]
    assert (artifact["sha256"], artifact["size"]) == (SHA256, len(IMAGE))
    assert execution["job_document"]["rollout"] == rollout_id

    stream = {"stream": artifact["stream"], "size": len(IMAGE), "block": BLOCK_BYTES}
    thing.call("download", **stream, until=4)
    if is_cut:
        box.kill_node()
        thing.call("download", **stream, until=5)
        box.wait_ready()
    assert thing.call("download", **stream) == {"blocks": 10, "sha256": SHA256}

    described = thing.call("describe", job=job_id)["execution"]
    version = described["version_number"]
    downloaded = {"phase": "downloaded", "attempt": "1", "seq": "1", "boot_id": "b1"}
    changed = thing.call("update_job", job=job_id, status="IN_PROGRESS", version=version, details=downloaded)[
        "execution_state"
    ]
    assert changed["status"] == "IN_PROGRESS"
    assert changed["version_number"] > version
    stale = refusal(
        thing,
        "update_job",
        job=job_id,
        status="IN_PROGRESS",
        version=version,
        details=downloaded | {"phase": "verified", "seq": "2"},
    )
    assert stale["code"] == "VersionMismatch"
    assert stale["execution_state"]["version_number"] == changed["version_number"]
    for seq, phase in enumerate(("verified", "installing", "rebooting"), start=2):
        details = downloaded | {"phase": phase, "seq": str(seq)}
        thing.call("update_job", job=job_id, status="IN_PROGRESS", details=details)

    say_online(thing, "b2", NEW)
    details = {"phase": "confirmed", "attempt": "1", "seq": "1", "boot_id": "b2", "self_test": "passed"}
    thing.call("update_job", job=job_id, status="SUCCEEDED", details=details)
    eventually(lambda: state_of(box, rollout_id) == {"succeeded": 1})
    assert refusal(thing, "update_job", job=job_id, status="FAILED")["code"] in ENDED


ENDED = ("TerminalStateReached", "InvalidStateTransition")


def state_of(box: Box, rollout_id: str) -> dict[str, int]:
    waves = box.api.get(f"/api/v1/rollouts/{rollout_id}")["waves"]
    found: dict[str, int] = waves[0]["by_state"]
    return found


def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.parametrize(("mqtt", "is_cut"), [(3, False), (5, True)], ids=["whole", "node killed"])
def test_a_job_from_its_notice_to_its_end(box: Box, mqtt: int, is_cut: bool) -> None:
    with connected(box, enrolled(box, f"job-{mqtt}"), mqtt) as thing:
        run_job(box, thing, is_cut=is_cut)
