"""Copying between nodes: how fast a backlog gets to one peer and to two beside a plain TLS socket, and what a live stream takes.

Each node is a process of its own on loopback, with mutual TLS as between boxes. The plain socket carries the same bytes, and whoever
receives them writes them to a file and syncs each MiB, as a copy does.
"""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from appliance.core.errors import LogDamaged
from appliance.core.limits import MIB
from appliance.core.settings import Bind
from appliance.identity.fleet import Fleet
from appliance.run.fleet_node import contexts_of
from storage.log import LogReader, LogWriter
from storage.log.names import parse_segment_name
from tests.bench import copied_ingest, harness
from tests.bench.replication_node import Place
from tests.fleet_kit import Box, begin_fleet, introduce, join_fleet, make_box
from tests.log_kit import Record, TestSigner, body_of

WAIT_S = 600.0
NAMES = ("one", "two", "three")
PAYLOAD_READINGS = 1


class Node:
    """A child process."""

    def __init__(self, folder: Path, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.replication_node", str(folder), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready":
                return
        raise harness.BenchError(f"Node {name} did not start.")

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> dict[str, float]:
        out, _ = self._process.communicate("", timeout=60)
        found: dict[str, float] = json.loads(out.strip().splitlines()[-1])
        return found


@contextmanager
def fleet(folder: Path, count: int) -> Iterator[list[Box]]:
    """Boxes of one fleet, each of a site of its own, that know where the others are."""
    boxes: list[Box] = []
    for name in NAMES[:count]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        bind = Bind(host="127.0.0.1", port=port)
        box = make_box(folder, name, bind=bind, addresses=(bind,))
        place = Place(name, str(box.data_dir), str(box.config.node.run_dir), port)
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(place))
        if boxes:
            join_fleet(boxes[0], box)
        else:
            begin_fleet(box)
        boxes.append(box)
    introduce(*boxes)
    yield boxes


def open_log(box: Box) -> LogWriter:
    from appliance.core.clock import SystemClock
    from appliance.run import layout

    return LogWriter.open(
        layout.telemetry_log(box.config),
        stream="telemetry",
        node_id=box.keys.node_id,
        signer=TestSigner(),
        clock=SystemClock(),
    )


def block(count: int, rng: random.Random) -> tuple[bytes, int, int, int]:
    """A block of publishes as devices send them: body, records, first and last time."""
    now_ms = time.time_ns() // 1_000_000
    records = [
        Record(
            payload=json.dumps(
                {
                    "t": round(rng.gauss(21, 3), 2),
                    "h": round(rng.random() * 100, 1),
                    "seq": rng.randrange(10**6),
                }
            ).encode(),
            topic=b"dm/dev-%d/telemetry" % (n % 500),
            client_id=f"dev-{n % 500}",
            principal=f"dev-{n % 500}",
            at_ms=now_ms,
        )
        for n in range(count)
    ]
    body, first_ms, last_ms = body_of(records)
    return body, count, first_ms, last_ms


def fill(writer: LogWriter, size_bytes: int, records_per_block: int) -> None:
    rng = random.Random(1)
    blocks = [block(records_per_block, rng) for _ in range(8)]
    written = n = 0
    while written < size_bytes:
        body, count, first_ms, last_ms = blocks[n % len(blocks)]
        writer.append(body, count, first_ms, last_ms)
        written += len(body)
        n += 1
    writer.wait_idle(60)


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir() if parse_segment_name(path.name))


def wait_for(directories: list[Path], next_seq: int) -> None:
    deadline = time.monotonic() + WAIT_S
    readers = [LogReader(directory) for directory in directories]
    try:
        while any(reached(reader) < next_seq for reader in readers):
            if time.monotonic() > deadline:
                raise harness.BenchError("The copies did not get there in time.")
            time.sleep(0.005)
    finally:
        for reader in readers:
            reader.close()


def reached(reader: LogReader) -> int:
    """How far a copy is; 1 also in the moment in which its head file is being made."""
    try:
        return reader.head().next_seq
    except LogDamaged:
        return 1


def copy_of(box: Box, origin: Box) -> Path:
    return box.data_dir / "replicas" / origin.node_id / "telemetry"


def backlog(folder: Path, peers: int, size_bytes: int, records: int) -> dict[str, Any]:
    """How long until so many peers have a log that was there before they came."""
    folder.mkdir()
    with fleet(folder, peers + 1) as boxes, ExitStack():
        writer = open_log(boxes[0])
        fill(writer, size_bytes, records)
        next_seq = writer.head.next_seq
        writer.close()
        log_bytes = size_of(boxes[0].data_dir / "log" / "telemetry")
        nodes = [Node(folder, name) for name in NAMES[1 : peers + 1]]
        nodes.insert(0, Node(folder, NAMES[0]))
        copies = [copy_of(box, boxes[0]) for box in boxes[1:]]
        wait_for(copies, 2)
        begun = time.monotonic()
        wait_for(copies, next_seq)
        took_s = time.monotonic() - begun
        ends = [node.end() for node in nodes]
    return {
        "peers": peers,
        "mib_s": log_bytes / MIB / took_s,
        "mib_s_all": peers * log_bytes / MIB / took_s,
        "seconds": took_s,
        "wire_bytes_per_record": ends[0]["sent_bytes"] / peers / (next_seq - 1),
        "log_bytes_per_record": log_bytes / (next_seq - 1),
        "origin_cpu_s": ends[0]["cpu_s"],
        "peer_cpu_s": ends[1]["cpu_s"],
        "origin_memory_mib": ends[0]["memory_mib"],
        "peer_memory_mib": ends[1]["memory_mib"],
    }


def live(folder: Path, rate: int, seconds: float) -> dict[str, Any]:
    """What a live stream to one peer takes, and how far behind the copy is."""
    folder.mkdir()
    with fleet(folder, 2) as boxes:
        writer = open_log(boxes[0])
        rng = random.Random(1)
        per_block = max(1, rate // 50)
        writer.append(*block(per_block, rng))
        nodes = [Node(folder, name) for name in reversed(NAMES[:2])]
        copy = copy_of(boxes[1], boxes[0])
        wait_for([copy], writer.head.next_seq)
        reader = LogReader(copy)
        before = [node.cpu_s() for node in nodes]
        lags: list[float] = []
        due = time.monotonic()
        ended = due + seconds
        first_seq = writer.head.next_seq
        while due < ended:
            written = writer.append(*block(per_block, rng)).next_seq
            committed = time.monotonic()
            due += per_block / rate
            while reader.head().next_seq < written and time.monotonic() < due + 5:
                time.sleep(0.001)
            lags.append((time.monotonic() - committed) * 1000)
            time.sleep(max(0.0, due - time.monotonic()))
        after = [node.cpu_s() for node in nodes]
        records = writer.head.next_seq - first_seq
        reader.close()
        log_bytes = size_of(boxes[0].data_dir / "log" / "telemetry")
        writer.close()
        origin, _ = nodes[1].end(), nodes[0].end()
    lags.sort()
    return {
        "rate": rate,
        "records": records,
        "p50_ms": lags[len(lags) // 2],
        "p99_ms": lags[int(len(lags) * 0.99)],
        "origin_cpu_percent": (after[1] - before[1]) / seconds * 100,
        "peer_cpu_percent": (after[0] - before[0]) / seconds * 100,
        "wire_bytes_per_record": origin["sent_bytes"] / records,
        "log_bytes": log_bytes,
        "rpo_worst_ms": origin["rpo_worst_ms"],
    }


def plain_socket(folder: Path, size_bytes: int) -> dict[str, Any]:
    """The same bytes over a TLS socket into a file, synced each MiB: two processes."""
    folder.mkdir()
    with fleet(folder, 1) as (box,):
        server_side, client_side = contexts_of(Fleet.load(box.data_dir, box.keys))
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if not child:
        _receive(listener, server_side, folder / "copied", size_bytes)
        os._exit(0)
    port = listener.getsockname()[1]
    listener.close()
    data = random.Random(1).randbytes(MIB)
    with client_side.wrap_socket(socket.create_connection(("127.0.0.1", port))) as stream:
        begun = time.monotonic()
        for _ in range(size_bytes // MIB):
            stream.sendall(data)
        assert stream.recv(1) == b"."
        took_s = time.monotonic() - begun
    os.waitpid(child, 0)
    return {"mib_s": size_bytes / MIB / took_s, "seconds": took_s}


def _receive(listener: socket.socket, context: ssl.SSLContext, path: Path, size_bytes: int) -> None:
    connection, _ = listener.accept()
    with context.wrap_socket(connection, server_side=True) as stream, path.open("wb", buffering=0) as file:
        got = unsynced = 0
        while got < size_bytes:
            data = stream.recv(65536)
            file.write(data)
            got += len(data)
            unsynced += len(data)
            if unsynced >= MIB:
                os.fdatasync(file.fileno())
                unsynced = 0
        stream.sendall(b".")


@click.command("replication")
@click.option("--mib", default=256, show_default=True, help="Of the log that peers catch up with.")
@click.option("--records", default=2_000, show_default=True, help="In each block of it.")
@click.option("--rate", "rates", multiple=True, type=int, help="Messages a second of the live stream.")
@click.option("--seconds", default=10.0, show_default=True, help="Of each live stream.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    default=("copies", "ingest"),
    type=click.Choice(["copies", "ingest"]),
    help="copies: the replicator by itself. ingest: whole boxes that take readings and are copied.",
)
@click.option("--ingest-rate", default=100_000.0, show_default=True, help="Messages a second into one box.")
@click.option("--ingest-seconds", default=20.0, show_default=True, help="Of each run of it.")
@click.option("--devices", default=500, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 100))
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def replication(
    mib: int,
    records: int,
    rates: tuple[int, ...],
    seconds: float,
    parts: tuple[str, ...],
    ingest_rate: float,
    ingest_seconds: float,
    devices: int,
    rounds: int,
    data: Path | None,
    json_path: Path | None,
) -> None:
    """Copying to one peer and to two, beside a plain TLS socket; what a live stream takes; readings into boxes that are copied."""
    with harness.data_folder(data) as folder:
        result: dict[str, Any] = {"machine": harness.machine(folder)}
        if "copies" in parts:
            result |= _copies(folder, mib, records, rates, seconds)
        if "ingest" in parts:
            found = copied_ingest.measure(folder, devices, ingest_rate, ingest_seconds, rounds)
            result["ingest"] = found
            click.echo(f"Wanted {found['wanted']:,.0f} messages/s; a box alone carries {found['rate']:,.0f}.")
            click.echo(harness.table(copied_ingest.HEADERS, copied_ingest.rows(found)))
    harness.finish("replication", result, [], json_path)


def _copies(folder: Path, mib: int, records: int, rates: tuple[int, ...], seconds: float) -> dict[str, Any]:
    """The replicator by itself."""
    plain = plain_socket(folder / "plain", mib * MIB)
    backlogs = [backlog(folder / f"backlog-{peers}", peers, mib * MIB, records) for peers in (1, 2)]
    lives = [live(folder / f"live-{rate}", rate, seconds) for rate in rates or (50, 1_000, 20_000)]
    click.echo(f"A plain TLS socket into a synced file: {plain['mib_s']:.0f} MiB/s")
    click.echo(
        harness.table(
            (
                "peers",
                "MiB/s of log, each",
                "all",
                "B/record in the log",
                "on the wire",
                "CPU s origin",
                "peer",
                "MiB origin",
                "peer",
            ),
            [
                (
                    each["peers"],
                    f"{each['mib_s']:.0f}",
                    f"{each['mib_s_all']:.0f}",
                    f"{each['log_bytes_per_record']:.0f}",
                    f"{each['wire_bytes_per_record']:.0f}",
                    f"{each['origin_cpu_s']:.1f}",
                    f"{each['peer_cpu_s']:.1f}",
                    f"{each['origin_memory_mib']:.0f}",
                    f"{each['peer_memory_mib']:.0f}",
                )
                for each in backlogs
            ],
        )
    )
    click.echo(
        harness.table(
            (
                "messages/s",
                "p50 ms",
                "p99 ms",
                "CPU % origin",
                "peer",
                "B/reading on the wire",
                "worst RPO ms",
            ),
            [
                (
                    each["rate"],
                    f"{each['p50_ms']:.1f}",
                    f"{each['p99_ms']:.1f}",
                    f"{each['origin_cpu_percent']:.1f}",
                    f"{each['peer_cpu_percent']:.1f}",
                    f"{each['wire_bytes_per_record']:.0f}",
                    each["rpo_worst_ms"],
                )
                for each in lives
            ],
        )
    )
    return {"plain": plain, "backlog": backlogs, "live": lives}
