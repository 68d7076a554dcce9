"""Whole boxes, real processes: one is killed and its disk deleted under load; another box takes its place out of the peer's copies."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from storage.log.columns import Kind
from storage.log.reader import LogReader
from storage.log.verify import verify
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.streams import StreamHead, StreamId
from tests.fleet_boxes import FleetBox, joined_boxes
from tests.integration.test_broker_verbs import until
from tests.protocol.raw_client import RawClient

SERVED_S_MAX = 120
"""What is allowed for in a test beside others; the report has what it took alone."""


def kill(box: FleetBox) -> None:
    """All of a box's processes at once, as a power cut would."""
    family = [box.process.pid]
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if parent == box.process.pid:
                family.append(int(folder.name))
    for process_id in family:
        os.kill(process_id, signal.SIGKILL)
    box.process.communicate(timeout=30)
    box._last_resort.cancel()


def publish(box: FleetBox, token: str, first: int, count: int) -> int:
    """Readings that were acknowledged."""
    done = 0
    with RawClient(("127.0.0.1", box.port), 5) as client:
        client.connect_in_time("sensor", username="sensor", password=token.encode(), properties=b"")
        for n in range(first, first + count):
            client.publish("dm/sensor/telemetry", b'{"n":%d}' % n)
            done += 1
    return done


def head_of(directory: Path, stream: StreamId) -> StreamHead:
    source = ChunkSource(directory, stream)
    try:
        return source.head()
    finally:
        source.close()


def published(directory: Path) -> int:
    """Publishes in a log."""
    reader, count = LogReader(directory), 0
    try:
        seq = reader.first_seq()
        while blocks := reader.read(seq):
            count += sum(block.columns().kinds.count(Kind.PUBLISH) for block in blocks)
            seq = blocks[-1].next_seq
        return count
    finally:
        reader.close()


def exported(box: FleetBox) -> int:
    """Readings in a box's store."""
    return len(box.run("telemetry", "export", "sensor", "--format", "jsonl").stdout.splitlines())


@pytest.mark.long
def test_a_box_is_lost_with_its_disk_and_comes_back_out_of_its_peer(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = joined_boxes(tmp_path, "first", "second")
        stack.callback(second.stop)
        kit = tmp_path / "kit.txt"
        kit.write_text(first.run("recovery-kit", "show").output)
        token = first.answer("device", "add", "sensor")["token"]
        telemetry, catalog = StreamId(first.node_id, "telemetry"), StreamId(first.node_id, "catalog")
        own, copies = first.data_dir / "log", second.data_dir / "replicas" / first.node_id
        publish(first, token, 0, 400)
        for stream in (telemetry, catalog):
            until(
                lambda stream=stream: head_of(copies / stream.name, stream).is_same_place(  # type: ignore[misc]
                    head_of(own / stream.name, stream)
                )
            )
        loading = threading.Thread(target=_load, args=(first, token), daemon=True)
        loading.start()
        time.sleep(1)
        kill(first)
        loading.join(30)
        held = head_of(copies / "telemetry", telemetry)
        shutil.rmtree(first.data_dir)
        began_s = time.monotonic()

        third = FleetBox(tmp_path, "third")
        done = third.answer("restore", "--from", f"127.0.0.1:{second.peer_port}", "--kit", str(kit))
        assert done["missing"] == []
        assert done["log_next_seq"] >= held.next_seq > 400
        third.start_and_wait()
        stack.callback(third.stop)
        assert publish(third, token, 10_000, 100) == 100
        served_s = time.monotonic() - began_s
        assert served_s < SERVED_S_MAX
        print(f"served again after {served_s:.1f} s")
        until(lambda: list(third.links().values()) == ["up"])
        log = third.data_dir / "log" / "telemetry"
        until(lambda: head_of(copies / "telemetry", telemetry).is_same_place(head_of(log, telemetry)))
        assert head_of(log, telemetry).epoch == 2
        until(lambda: head_of(copies / "catalog", catalog).epoch == 2)
        assert verify(copies / "telemetry").ok
        assert not list(copies.glob("*.fork-*"))
        assert published(log) > 500
        until(lambda: exported(third) == published(log))
        third.stop()
        report = verify(log)
        assert report.ok, report.damaged
        third.start_and_wait()


def _load(box: FleetBox, token: str) -> None:
    try:
        publish(box, token, 400, 100_000)
    except (OSError, AssertionError):
        return  # it was killed
