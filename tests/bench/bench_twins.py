"""A thousand devices report a change of their twins each second: how many are on disk and answered, how soon, and what it costs.

The whole appliance runs, with the generator on the same cores. An update counts once its device has `accepted`, which is after the sync.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import click

from tests.bench import harness
from tests.bench.appliance import Appliance, running
from tests.bench.bench_requests import cpu_s, processes_of
from tests.bench.bench_storm import read_line
from tests.bench.harness import Goal
from tests.interop.brokers import ROOT, pinned

ANSWERED_P99_S_WANTED: Final = 1.0
"""Before the device reports again."""


@click.command("twins")
@click.option("--count", default=1_000, show_default=True, type=click.IntRange(1, 10_000), help="Devices.")
@click.option(
    "--interval", "interval_s", default=1.0, show_default=True, help="Between two reports of one, s."
)
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 20))
@click.option("--cores", default="0,1", show_default=True, help="Of everything, as taskset takes them.")
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def twins(
    count: int,
    interval_s: float,
    seconds: float,
    rounds: int,
    cores: str,
    data: Path | None,
    json_path: Path | None,
) -> None:
    """Devices report twin changes at a steady rate: updates a second answered from disk, latency, CPU, updates per transaction."""
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    names = [f"device-{number:05}" for number in range(count)]
    rows: list[tuple[Any, ...]] = []
    with harness.data_folder(data) as folder, running(folder, names, cores=cores) as appliance:
        for _ in range(rounds):
            rows.append(_round(appliance, interval_s, seconds, cores))
    headers = (
        "asked", "answered", "refused", "a second", "p50 ms", "p99 ms", "sent late", "node CPU", "broker CPU", "updates a commit",
    )  # fmt: skip
    click.echo(harness.table(headers, rows))
    slowest_s = max(row[5] for row in rows) / 1000
    goals = [
        Goal(
            what=f"updates of {count} twins answered within, p99, s",
            value=round(slowest_s, 3),
            wanted=ANSWERED_P99_S_WANTED,
            reached=all(row[0] == row[1] for row in rows) and slowest_s <= ANSWERED_P99_S_WANTED,
        )
    ]
    result = {"machine": machine, "count": count, "rows": [dict(zip(headers, r, strict=True)) for r in rows]}
    harness.finish("twins", result, goals, json_path)


def _round(appliance: Appliance, interval_s: float, seconds: float, cores: str) -> tuple[Any, ...]:
    broker = appliance.broker
    options = {
        "host": broker.host,
        "port": broker.port,
        "logins": [[each.username, each.password] for each in broker.credentials],
        "interval_s": interval_s,
        "seconds": seconds,
    }
    with subprocess.Popen(
        pinned(cores, [sys.executable, "-m", "tests.bench.twin_clients"]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as devices:
        assert devices.stdin is not None
        devices.stdin.write(json.dumps(options) + "\n")
        devices.stdin.flush()
        read_line(devices)
        processes, batches = processes_of(appliance), _counted(appliance)
        before = {name: cpu_s(pid) for name, pid in processes.items()}
        devices.stdin.write("go\n")
        devices.stdin.flush()
        found = json.loads(read_line(devices))
        took = {name: cpu_s(pid) - before[name] for name, pid in processes.items()}
        written, commits = (after - b for after, b in zip(_counted(appliance), batches, strict=True))
    took_s = found["took_s"]
    each_s = found["each_s"]
    return (
        found["asked"],
        found["answered"],
        ", ".join(f"{count} {why}" for why, count in found["answers"].items() if why != "accepted"),
        round(found["answered"] / took_s, 1),
        round(each_s.get("p50", 0) * 1000, 1),
        round(each_s.get("p99", 0) * 1000, 1),
        found["late"],
        round(took["node"] / took_s, 2),
        round(took["broker"] / took_s, 2),
        round(written / commits, 1) if commits else 0,
    )


def _counted(appliance: Appliance) -> tuple[float, float]:
    """Changes that devices had written, and the transactions that they took."""
    text = b"".join(appliance.local.download("/health/metrics")).decode()
    values = dict(line.rpartition(" ")[::2] for line in text.splitlines() if not line.startswith("#"))
    return (
        float(values['homeport_device_writes_total{result="written"}']),
        float(values["homeport_device_write_batches_total"]),
    )
