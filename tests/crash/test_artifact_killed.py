"""The node is killed in the middle of an upload, and when an upload becomes an artifact: nothing is lost, doubled or half."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.errors import HomeportError
from appliance.core.limits import MIB
from appliance.core.limits_updates import UPLOAD_SYNC_BYTES
from appliance.run.artifact_commands import ArtifactCommands
from appliance.run.local_api import LocalApi
from tests.crash.rig import START_DEADLINE_S, Rig, wait_for


def answers(rig: Rig) -> bool:
    """Whether the node does."""
    try:
        LocalApi(rig.run_dir / "node.sock").get("/health/live")
    except HomeportError:
        return False
    return True


@pytest.fixture
def rig(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path, tmp_path_factory.mktemp("k"))
    yield made
    made.close()


def start(rig: Rig) -> ArtifactCommands:
    rig.start("node")
    wait_for(lambda: answers(rig), START_DEADLINE_S, "the node answers")
    return ArtifactCommands(LocalApi(rig.run_dir / "node.sock"))


def test_the_command_goes_on_when_the_node_is_back(rig: Rig, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(os.urandom(3 * MIB) * 16)
    start(rig)
    folder = rig.data_dir / "artifacts" / "uploads"
    adding = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "appliance",
            "artifact",
            "add",
            str(image),
            "--name",
            "pump",
            "--version",
            "1",
            "--json",
        ],
        env=rig.environ,
        stdout=subprocess.PIPE,
    )
    try:
        wait_for(lambda: any(each.stat().st_size > MIB for each in folder.iterdir()), 30, "bytes arrive")
        rig.kill("node")
        (there,) = folder.iterdir()
        assert there.stat().st_size < image.stat().st_size, "the node was too quick for this test"
        start(rig)
        out, _ = adding.communicate(timeout=120)
    finally:
        adding.kill()
    assert adding.returncode == 0, rig.read_log()
    made = json.loads(out)
    assert made["sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert list(folder.iterdir()) == []
    blobs = [each for each in (rig.data_dir / "artifacts" / "sha256").rglob("*") if each.is_file()]
    assert [each.read_bytes() for each in blobs] == [image.read_bytes()]


def test_the_offset_is_of_what_is_surely_there(rig: Rig) -> None:
    commands = start(rig)
    api = LocalApi(rig.run_dir / "node.sock")
    size = 3 * UPLOAD_SYNC_BYTES
    upload = api.post("/api/v1/artifact-uploads", {"name": "pump", "version": "1", "size_bytes": size})
    sent = UPLOAD_SYNC_BYTES + 1_000_000
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(rig.run_dir / "node.sock"))
        head = f"PATCH /api/v1/artifact-uploads/{upload['upload_id']}?offset=0 HTTP/1.1\r\nhost: x\r\n"
        head += f"content-type: application/octet-stream\r\ncontent-length: {size}\r\n\r\n"
        line.sendall(head.encode() + b"a" * sent)
        path = rig.data_dir / "artifacts" / "uploads" / upload["upload_id"]
        wait_for(lambda: path.stat().st_size > UPLOAD_SYNC_BYTES, 30, "bytes arrive")
        rig.kill("node")
    commands = start(rig)
    (found,) = commands.uploads()["uploads"]
    assert found["offset"] == UPLOAD_SYNC_BYTES
    commands.remove_upload(upload["upload_id"])
    assert commands.uploads()["uploads"] == []


def test_a_finish_that_was_killed_is_done_again(rig: Rig) -> None:
    """Killed after the bytes had their name and before the artifact had its row."""
    start(rig)
    api = LocalApi(rig.run_dir / "node.sock")
    data = os.urandom(5000)
    upload = api.post("/api/v1/artifact-uploads", {"name": "pump", "version": "1", "size_bytes": len(data)})
    path = rig.data_dir / "artifacts" / "uploads" / upload["upload_id"]
    path.write_bytes(data)
    rig.kill("node")
    sha256 = hashlib.sha256(data).hexdigest()
    blob = rig.data_dir / "artifacts" / "sha256" / sha256[:2] / sha256
    blob.parent.mkdir()
    os.link(path, blob)
    start(rig)
    made = api.request("POST", f"/api/v1/artifact-uploads/{upload['upload_id']}/finish")
    assert made["sha256"] == sha256
    assert blob.read_bytes() == data
    assert not path.exists()
