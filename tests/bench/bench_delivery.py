"""An image to a thousand devices in blocks over MQTT: time, throughput, CPU, and what telemetry notices of it.

The whole appliance runs, with devices and generators on the same cores. The same clients fetch the same image from mosquitto, behind which the
least answers that can: without rights, budgets and progress.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import click

from appliance.management.blocks import stream_id
from tests.bench import harness
from tests.bench.appliance import Appliance, running
from tests.bench.bench_requests import cpu_s, processes_of
from tests.bench.bench_storm import read_line
from tests.bench.harness import BenchError, Goal
from tests.interop import brokers
from tests.interop.brokers import ROOT, LiveBroker, pinned

LAG_S_WANTED: Final = 1.0
FETCHED_S_WANTED: Final = 60.0
GIVE_UP_S: Final = 600.0
TELEMETRY_DEVICES: Final = 100
SETTLE_S: Final = 3.0
MIB: Final = 1024 * 1024


@click.command("delivery")
@click.option("--devices", default=1_000, show_default=True, type=click.IntRange(1, 1_000))
@click.option(
    "--kib", default=1_024, show_default=True, type=click.IntRange(1, 65_536), help="Size of the image."
)
@click.option("--block-kib", default=16, show_default=True, type=click.IntRange(1, 128))
@click.option(
    "--count",
    default=8,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Blocks that are asked for at once.",
)
@click.option(
    "--rate", default=2_000.0, show_default=True, help="Messages of telemetry a second, five values each."
)
@click.option(
    "--seconds",
    "duration_s",
    default=30.0,
    show_default=True,
    help="Of telemetry, alone and beside deliveries.",
)
@click.option(
    "--budgets",
    default="0,8192",
    show_default=True,
    help="firmware.delivery_kib_s of the runs beside telemetry.",
)
@click.option("--peer/--no-peer", default=True, show_default=True, help="Measure mosquitto as well.")
@click.option("--cores", default="0,1", show_default=True, help="Of everything, as taskset takes them.")
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def delivery(
    devices: int,
    kib: int,
    block_kib: int,
    count: int,
    rate: float,
    duration_s: float,
    budgets: str,
    peer: bool,
    cores: str,
    data: Path | None,
    json_path: Path | None,
) -> None:
    """An image to many devices over MQTT: seconds, MB/s, CPU; telemetry's lag alone and meanwhile; the same behind mosquitto."""
    image = random.Random(7).randbytes(kib * 1024)
    fetching = {"size": len(image), "block": block_kib * 1024, "count": count, "sha256": sha256(image).hexdigest(),
                "stream": stream_id(sha256(image).hexdigest()), "give_up_s": GIVE_UP_S}  # fmt: skip
    names = [f"device-{number:04}" for number in range(devices)]
    telling = [f"teller-{number:03}" for number in range(TELEMETRY_DEVICES)]
    rows: list[dict[str, Any]] = []
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
        _note(rows, _alone(folder, names, image, fetching, cores))
    if peer:
        with harness.data_folder(data) as folder:
            _note(rows, _peer(folder, names, image, fetching, cores))
    with harness.data_folder(data) as folder:
        _note(rows, _beside(folder, [], telling, image, fetching, cores, rate, duration_s, 0))
    for kib_s in map(int, budgets.split(",")):
        with harness.data_folder(data) as folder:
            _note(rows, _beside(folder, names, telling, image, fetching, cores, rate, duration_s, kib_s))
    headers = (
        "what",
        "fetched",
        "s",
        "MB/s",
        "node CPU s",
        "broker CPU s",
        "lag p95 s",
        "PUBACK p99 ms",
        "messages/s",
    )
    click.echo(harness.table(headers, [tuple(row.get(name, "") for name in headers) for row in rows]))
    first = rows[0]
    goals = [
        Goal(
            what=f"{devices} devices have fetched it, s",
            value=first["s"],
            wanted=FETCHED_S_WANTED,
            reached=first["fetched"] == devices and first["s"] <= FETCHED_S_WANTED,
        )
    ]
    if peer:
        click.echo(f"Of the peer's MB/s: {first['MB/s'] / rows[1]['MB/s']:.2f}.")
    last = rows[-1]["lag p95 s"]
    goals.append(
        Goal(
            what="telemetry's lag p95 s, with the last budget",
            value=last,
            wanted=LAG_S_WANTED,
            reached=last <= LAG_S_WANTED,
        )
    )
    harness.finish("delivery", {"machine": machine, "rows": rows}, goals, json_path)


def _note(rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
    rows.append(row)
    click.echo(
        f"{row['what']}: {', '.join(f'{k} {v}' for k, v in row.items() if k not in ('what', 'report'))}"
    )


def _alone(
    folder: Path, names: list[str], image: bytes, fetching: dict[str, Any], cores: str
) -> dict[str, Any]:
    with running(folder, names, cores=cores, settings=_settings(0)) as appliance:
        processes = processes_of(appliance)
        logins = _logins(appliance, names)
        with _clients(appliance.broker, logins, fetching, cores, loops=False) as clients:
            _expect_ready(clients)
            _roll_out(appliance, folder, image)
            before = {name: cpu_s(pid) for name, pid in processes.items()}
            _say(clients, "go")
            found = json.loads(read_line(clients))
        took = {name: cpu_s(pid) - before[name] for name, pid in processes.items()}
    return _row("delivery alone", found) | {
        "node CPU s": round(took["node"], 1), "broker CPU s": round(took["broker"], 1),
    }  # fmt: skip


def _peer(
    folder: Path, names: list[str], image: bytes, fetching: dict[str, Any], cores: str
) -> dict[str, Any]:
    path = folder / "image.bin"
    path.write_bytes(image)
    with brokers.mosquitto(folder, settings="max_queued_messages 0\n") as broker:
        os.sched_setaffinity(broker.pid, {int(each) for each in cores.split(",")})
        options = {"host": broker.host, "port": broker.port, "image": str(path)}
        with _process("tests.bench.delivery_responder", options, cores) as responder:
            if read_line(responder).strip() != "ready":
                raise BenchError("The responder did not start.")
            logins = [[name, ""] for name in names]
            with _clients(broker, logins, fetching, cores, loops=False) as clients:
                _expect_ready(clients)
                before = cpu_s(broker.pid), cpu_s(responder.pid)
                _say(clients, "go")
                found = json.loads(read_line(clients))
            took = cpu_s(broker.pid) - before[0], cpu_s(responder.pid) - before[1]
    return _row("mosquitto and a responder", found) | {
        "node CPU s": round(took[1], 1), "broker CPU s": round(took[0], 1),
    }  # fmt: skip


def _beside(
    folder: Path,
    names: list[str],
    telling: list[str],
    image: bytes,
    fetching: dict[str, Any],
    cores: str,
    rate: float,
    duration_s: float,
    kib_s: int,
) -> dict[str, Any]:
    """Telemetry for a while, and deliveries all the time beside it where there are devices for them."""
    with running(folder, [*names, *telling], cores=cores, settings=_settings(kib_s)) as appliance:
        report: dict[str, Any] = {}
        broker = appliance.broker
        tellers = [each for each in broker.credentials if each.username in set(telling)]
        options = {
            **harness.target(broker),
            "credentials": [harness.login(each) for each in tellers],
            "connections": len(telling),
            "rate": rate,
            "payload": "telemetry",
            "duration_s": duration_s,
            "warm_up_s": SETTLE_S,
            "drain_s": 60.0,
        }
        load = threading.Thread(target=lambda: report.update(harness.generate(options, core=cores)))
        found: dict[str, Any] = {}
        if names:
            logins = _logins(appliance, names)
            with _clients(broker, logins, fetching, cores, loops=True) as clients:
                _expect_ready(clients)
                _roll_out(appliance, folder, image)
                _say(clients, "go")
                load.start()
                load.join()
                _say(clients, "stop")
                found = json.loads(read_line(clients))
        else:
            load.start()
            load.join()
        lag_p95_s = _lag_p95_s(appliance)
    if not report:
        raise BenchError("The generator of telemetry failed.")
    what = f"telemetry and delivery, {kib_s or 'no'} budget" if names else "telemetry alone"
    return (_row(what, found) if names else {"what": what}) | {
        "lag p95 s": round(lag_p95_s, 3),
        "PUBACK p99 ms": round(report["latency_p99_ms"], 1),
        "messages/s": round(report["rate"]),
    }


def _lag_p95_s(appliance: Appliance) -> float:
    """From the device's time to the row in the store, of the last minutes."""
    text = b"".join(appliance.local.download("/health/metrics")).decode()
    for line in text.splitlines():
        if line.startswith("homeport_ingestion_lag_recent_seconds") and '"0.95"' in line:
            return float(line.rpartition(" ")[2])
    raise BenchError("The node says no lag.")


def _row(what: str, found: dict[str, Any]) -> dict[str, Any]:
    if found["asked_again"]:
        click.echo(f"{what}: {found['asked_again']} requests had to be made again.")
    took_s = found["took_s"]
    return {
        "what": what,
        "fetched": found["fetched"],
        "s": round(took_s, 1),
        "MB/s": round(found["bytes"] / took_s / 1e6, 1),
    } | {"report": found}


def _settings(kib_s: int) -> str:
    return f"[firmware]\ndelivery_kib_s = {kib_s}\n[api]\nreads_per_min_max = 0\n"


def _roll_out(appliance: Appliance, folder: Path, image: bytes) -> None:
    """A rollout to every device that is named so, which admits them all."""
    path = folder / "image.bin"
    path.write_bytes(image)
    environment = os.environ | {"HOMEPORT_CONFIG": str(folder / "homeport.toml")}
    for arguments in (
        ("setting", "set", "firmware.approval", "never"),
        ("artifact", "key", "policy", "allow"),
        ("artifact", "add", str(path), "--name", "pump", "--version", "2.0.0", "--format", "raw"),
    ):
        command = [sys.executable, "-m", "appliance", *arguments, "--json"]
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise BenchError(f"{' '.join(arguments)} failed: {done.stderr}")
    artifact = json.loads(done.stdout)
    devices = [each.username for each in appliance.broker.credentials if each.username.startswith("device")]
    wish = {
        "name": "Bench",
        "artifact_id": artifact["artifact_id"],
        "targets": {
            "all": True,
            "except": [e.username for e in appliance.broker.credentials if e.username not in set(devices)],
        },
        "plan": {"waves": ["100%"], "concurrency_max": 1_000, "start_spread_s": 0},
    }
    rollout = appliance.local.post("/api/v1/rollouts", wish)
    for act in ("submit", "start"):
        rollout = appliance.local.post(f"/api/v1/rollouts/{rollout['rollout_id']}/{act}", {})
    end_s = time.monotonic() + GIVE_UP_S
    while _admitted(folder) < len(devices):
        if time.monotonic() > end_s:
            raise BenchError("Not all devices of the rollout are admitted.")
        time.sleep(0.2)


def _admitted(folder: Path) -> int:
    connection = sqlite3.connect(f"file:{folder}/data/catalog.db?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM executions WHERE is_admitted = 1").fetchone()[0])
    finally:
        connection.close()


def _logins(appliance: Appliance, names: list[str]) -> list[list[str]]:
    wanted = set(names)
    return [
        [each.username, each.password] for each in appliance.broker.credentials if each.username in wanted
    ]


def _clients(
    broker: LiveBroker,
    logins: list[list[str]],
    fetching: dict[str, Any],
    cores: str,
    *,
    loops: bool,
) -> AbstractContextManager[subprocess.Popen[str]]:
    options = {
        **fetching,
        "host": broker.host,
        "port": broker.port,
        "logins": logins,
        "loops": loops,
    }
    return _process("tests.bench.delivery_clients", options, cores)


def _expect_ready(process: subprocess.Popen[str]) -> None:
    if read_line(process).strip() != "ready":
        raise BenchError("The clients could not connect.")


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


@contextmanager
def _process(module: str, options: dict[str, Any], cores: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        pinned(cores, [sys.executable, "-m", module]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
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
