"""A program that asks the API without a pause beside a person who asks twice a second: what it costs the person.

With the limits as they are by default, and without any. The program has eight connections and a token of its own; it begins
with an empty bucket, so what is measured is what lasts, not the minute's worth that everybody may have at once; the
first seconds, in which it has that, are measured apart. Latency counts from when a request was due.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from tests.bench import harness
from tests.bench.appliance import Appliance, Operator, running
from tests.bench.harness import Goal

CONNECTIONS = 8
INTERVAL_S = 0.5
BURST_S = 10.0
"""By then a bucket of 600 is empty, at 60 requests a second or more."""
TARGET = "/api/v1/devices?limit=50"
DEVICE_COUNT = 1_000
P95_MS_WANTED = 100.0
"""Promise P4: what the API answers within, whatever else goes on."""
NO_LIMITS = "[api]\ntoken_reads_per_min_max = 0\ntotal_reads_per_min_max = 0\n"


@click.command("api")
@click.option("--seconds", "duration_s", default=20.0, show_default=True, type=click.FloatRange(2, 600))
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def api(duration_s: float, data: Path | None, json_path: Path | None) -> None:
    """A program that hammers the API beside a person: the latency of the person."""
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    rows: list[tuple[Any, ...]] = []
    found: dict[str, dict[str, Any]] = {}
    for name, settings in (("limits", ""), ("no limits", NO_LIMITS)):
        with harness.data_folder(data) as folder:
            devices = [f"dev-{number:04}" for number in range(DEVICE_COUNT)]
            with running(folder, devices, cores=None, settings=settings) as appliance:
                found[name] = _measure(appliance, duration_s)
        for phase in ("alone", "burst", "hammered"):
            one = found[name][phase]
            rows.append((name, phase, one["p50_ms"], one["p95_ms"], one["max_ms"]))
        rows.append((name, "the program: answers by status", found[name]["statuses"], "", ""))
    click.echo(harness.table(("configuration", "phase", "p50 ms", "p95 ms", "max ms"), rows))
    p95_ms = found["limits"]["hammered"]["p95_ms"]
    goal = Goal(
        what="p95 of a person beside a program that hammers, ms",
        value=p95_ms,
        wanted=P95_MS_WANTED,
        reached=p95_ms <= P95_MS_WANTED,
    )
    harness.finish("api", {"machine": machine, "seconds": duration_s, "found": found}, [goal], json_path)


def _measure(appliance: Appliance, duration_s: float) -> dict[str, Any]:
    with ExitStack() as held:
        person = appliance.operator()
        held.callback(person.close)
        body = {"name": "hammer", "role": "viewer", "expires_in_s": 3600, "user_id": "admin"}
        token = appliance.local.post("/api/v1/api-tokens", body)["token"]
        alone = _latencies(person, duration_s)
        hammer = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.bench.api_hammer",
                str(appliance.ui_port),
                str(CONNECTIONS),
                TARGET,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        held.callback(hammer.kill)
        assert hammer.stdin is not None
        hammer.stdin.write(f"{token}\n".encode())
        hammer.stdin.flush()
        burst = _latencies(person, BURST_S)
        hammered = _latencies(person, duration_s)
        said, _ = hammer.communicate(timeout=90)
    return {"alone": alone, "burst": burst, "hammered": hammered, "statuses": json.loads(said)}


def _latencies(person: Operator, duration_s: float) -> dict[str, float]:
    took_ms = []
    began_s = time.monotonic()
    for number in range(int(duration_s / INTERVAL_S)):
        due_s = began_s + number * INTERVAL_S
        time.sleep(max(0.0, due_s - time.monotonic()))
        person.get(TARGET)
        took_ms.append((time.monotonic() - due_s) * 1000)
    took_ms.sort()
    return {
        "p50_ms": round(took_ms[len(took_ms) // 2], 1),
        "p95_ms": round(took_ms[int(len(took_ms) * 0.95)], 1),
        "max_ms": round(took_ms[-1], 1),
    }
