"""Whole boxes, real processes: what devices publish at one is on the other's disk byte for byte, also after that one was killed."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from replication.control import ask
from storage.log.verify import verify
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.streams import StreamId
from tests.fleet_boxes import FleetBox, joined_boxes
from tests.integration.test_broker_verbs import until
from tests.protocol.raw_client import RawClient


def state(box: FleetBox) -> dict[str, Any]:
    return trio.run(lambda: ask(box.folder / "run" / "replicator.sock", "status"))


def replicator_of(box: FleetBox) -> int:
    """The process id of a box's replicator."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if parent == box.process.pid and any("replicator" in word for word in words):
                return int(folder.name)
    raise AssertionError("the box has no replicator")


def publish(box: FleetBox, token: bytes, count: int) -> None:
    with RawClient(("127.0.0.1", box.port), 5) as client:
        client.connect_in_time("sensor", username="panel", password=token, properties=b"")
        for n in range(count):
            client.publish("plant/line 1", b"%d" % n)


def is_copied(source: FleetBox, target: FleetBox, stream: StreamId) -> bool:
    """Whether the copy ends where the log does, in the same history."""
    written = ChunkSource(source.data_dir / "log" / stream.name, stream)
    copied = ChunkSource(target.data_dir / "replicas" / stream.node_id / stream.name, stream)
    try:
        return written.head().epoch > 0 and copied.head().is_same_place(written.head())
    finally:
        written.close()
        copied.close()


def frames_of(directory: Path) -> dict[str, bytes]:
    found = [*directory.glob("*.seg"), *directory.glob("*.open")]
    return {path.stem: path.read_bytes().rstrip(b"\0") for path in found}


@pytest.mark.long
def test_telemetry_and_catalog_of_each_box_are_on_the_other(tmp_path: Path) -> None:
    with ExitStack() as stack:
        boxes = joined_boxes(tmp_path, "first", "second")
        for box in boxes:
            stack.callback(box.stop)
        first, second = boxes
        token = first.answer("device", "add", "panel", "--kind", "application", "--access", "site")["token"]
        telemetry, catalog = (StreamId(first.node_id, "telemetry"), StreamId(first.node_id, "catalog"))
        publish(first, token.encode(), 50)
        until(lambda: is_copied(first, second, telemetry))
        until(lambda: is_copied(first, second, catalog))
        until(lambda: is_copied(second, first, StreamId(second.node_id, "telemetry")))

        (peer,) = until(lambda: state(first)["rpo_ms"] == 0 and state(first)["peers"])
        assert (peer["link"], peer["member"], peer["lag_entries"]) == ("up", "alive", 0)
        held = {(each["node_id"], each["name"]) for each in state(second)["held"]}
        assert {(first.node_id, "telemetry"), (first.node_id, "catalog")} <= held

        # Killed, it is started again by its supervisor, and goes on where its copy ends.
        killed = replicator_of(second)
        os.kill(killed, signal.SIGKILL)
        publish(first, token.encode(), 50)
        until(lambda: is_copied(first, second, telemetry))
        assert replicator_of(second) != killed
        until(lambda: state(first)["rpo_ms"] == 0)
        copy = second.data_dir / "replicas" / first.node_id / "telemetry"
        assert frames_of(copy) == frames_of(first.data_dir / "log" / "telemetry")
        assert verify(copy).ok
