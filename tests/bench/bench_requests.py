"""A thousand devices come back at once, and each asks for its twin and its next job; and what it costs that ten thousand listen.

The whole appliance runs, with the generator on the same cores. A device subscribes to what is said to it, says that it is online, and asks;
it is done when it has both answers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from tests.bench import harness
from tests.bench.appliance import Appliance, running
from tests.bench.bench_storm import read_line
from tests.bench.harness import BenchError, Goal
from tests.interop.brokers import ROOT, pinned
from tests.processes import child_running

ANSWERED_S_WANTED: Final = 30.0
LISTENING_KIB_WANTED: Final = 1.0
GIVE_UP_S: Final = 120.0
QUESTIONS: Final = ("dm/{d}/shadow/get", "dm/{d}/jobs/$next/get")
SUBSCRIBED: Final = ("dm/{d}/jobs/notify-next", "dm/{d}/shadow/update/delta", "dm/{d}/cmd/+")
UNHEARD: Final = ("dm/{d}/a/b", "dm/{d}/c/d/e", "dm/{d}/f/+")
"""As many subscriptions of the same shape that nothing is said to."""
STATUS: Final = (
    '{"state": "online", "boot_id": "5f0c3a9be211", "session": "9a41d27c0be6", "seq": 1, "fw": {"version": "1.4.2",'
    ' "digest": "sha256:7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730", "slot": "A", "confirmed": true, "epoch": 1}}'
)
SETTLED_S: Final = 2.0
"""After which the broker has done what it had to do for them; nothing says so."""
TICKS: Final = os.sysconf("SC_CLK_TCK")


@click.command("requests")
@click.option(
    "--count", default=1_000, show_default=True, type=click.IntRange(1, 10_000), help="Who come back at once."
)
@click.option(
    "--idle",
    default=10_000,
    show_default=True,
    type=click.IntRange(0, 10_000),
    help="Connections that listen; 0 for none.",
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 20))
@click.option("--cores", default="0,1", show_default=True, help="Of everything, as taskset takes them.")
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def requests(
    count: int, idle: int, rounds: int, cores: str, data: Path | None, json_path: Path | None
) -> None:
    """Devices that come back ask for twin and job: seconds until all are answered, CPU; memory of those that listen."""
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    goals, rows = [], []
    names = [f"device-{number:05}" for number in range(count)]
    with harness.data_folder(data) as folder, running(folder, names, cores=cores) as appliance:
        for _ in range(rounds):
            rows.append(_come_back(appliance, cores))
    headers = ("answered", "s", "each p50 s", "each p99 s", "told to come back", "node CPU s", "broker CPU s")
    click.echo(harness.table(headers, rows))
    slowest = max(row[1] for row in rows)
    goals.append(
        Goal(
            what=f"{count} devices that come back answered, s",
            value=round(slowest, 2),
            wanted=ANSWERED_S_WANTED,
            reached=all(row[0] == count for row in rows) and slowest <= ANSWERED_S_WANTED,
        )
    )
    kib: dict[str, float] = {}
    if idle:
        names = [f"device-{number:05}" for number in range(idle)]
        for kind, filters in (("unheard", UNHEARD), ("listening", SUBSCRIBED)):
            with harness.data_folder(data) as folder, running(folder, names, cores=cores) as appliance:
                kib[kind] = _memory(appliance, filters, cores)
            click.echo(f"{idle} idle connections, {kind}: {kib[kind]:.2f} KiB of the broker for each")
        more = kib["listening"] - kib["unheard"]
        goals.append(
            Goal(
                what="KiB more for a connection that listens",
                value=round(more, 2),
                wanted=LISTENING_KIB_WANTED,
                reached=more <= LISTENING_KIB_WANTED,
            )
        )
    result = {
        "machine": machine,
        "count": count,
        "rows": [dict(zip(headers, r, strict=True)) for r in rows],
        "kib": kib,
    }
    harness.finish("requests", result, goals, json_path)


def _come_back(appliance: Appliance, cores: str) -> tuple[Any, ...]:
    processes = processes_of(appliance)
    before = {name: cpu_s(pid) for name, pid in processes.items()}
    with _devices(appliance, SUBSCRIBED, QUESTIONS, cores) as devices:
        found = json.loads(read_line(devices))
        took = {name: cpu_s(pid) - before[name] for name, pid in processes.items()}
    each = found["each_s"]
    come_back = found["answers"].get("told to come back", 0)
    return (
        found["answered"], found["answered_s"], each.get("p50"), each.get("p99"), come_back, took["node"], took["broker"],
    )  # fmt: skip


def _memory(appliance: Appliance, filters: tuple[str, ...], cores: str) -> float:
    """KiB of the broker's resident memory for each connection, once all have subscribed."""
    pid = processes_of(appliance)["broker"]
    before_kib = _resident_kib(pid)
    with _devices(appliance, filters, (), cores) as devices:
        found = json.loads(read_line(devices))
        time.sleep(SETTLED_S)
        grown_kib = _resident_kib(pid) - before_kib
    return grown_kib / int(found["answered"])


@contextmanager
def _devices(
    appliance: Appliance, subscribe: tuple[str, ...], questions: tuple[str, ...], cores: str
) -> Iterator[subprocess.Popen[str]]:
    broker = appliance.broker
    process = subprocess.Popen(
        pinned(cores, [sys.executable, "-m", "tests.bench.request_clients"]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    options = {
        "host": broker.host,
        "port": broker.port,
        "logins": [[each.username, each.password] for each in broker.credentials],
        "subscribe": subscribe,
        "questions": questions,
        "status": STATUS,
        "give_up_s": GIVE_UP_S,
    }
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(options) + "\n")
        process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()


def processes_of(appliance: Appliance) -> dict[str, int]:
    """Process ids of node and broker."""
    found = {name: child_running(appliance.broker.pid, f"{name}_process") for name in ("node", "broker")}
    if None in found.values():
        raise BenchError("The node's and the broker's process can't be told apart.")
    return {name: pid for name, pid in found.items() if pid is not None}


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
