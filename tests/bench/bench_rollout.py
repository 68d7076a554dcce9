"""A rollout to a whole fleet at once: when all have fetched and when all run it, and how many bytes were sent for those that were needed.

The whole appliance runs, and simulated devices (device_fw_sim) with a reading a second each and their flash in a folder: they take the update as devices
do, restart into it and confirm it.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from device_fw_sim.image import Header, build
from tests.bench import harness
from tests.bench.appliance import Appliance, running
from tests.bench.harness import BenchError, Goal
from tests.interop.brokers import ROOT

AMPLIFICATION_WANTED: Final = 1.1
GIVE_UP_S: Final = 900.0
DRAIN_S: Final = 30
VERSION: Final = "2.0.0"
FETCHED: Final = ("queued", "notified", "downloading")
"""States of who has not."""


@click.command("rollout")
@click.option("--devices", default=1_000, show_default=True, type=click.IntRange(1, 1_000))
@click.option(
    "--kib", default=256, show_default=True, type=click.IntRange(1, 65_536), help="Size of the image."
)
@click.option("--budget", "budget_kib_s", default=8_192, show_default=True, help="firmware.delivery_kib_s.")
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def rollout(devices: int, kib: int, budget_kib_s: int, data: Path | None, json_path: Path | None) -> None:
    """An update of a whole fleet at once: seconds until all have it, bytes sent for bytes needed, connections lost."""
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
        found = measure(folder, devices, kib * 1024, budget_kib_s)
    at_best_s = devices * kib / budget_kib_s
    click.echo(
        f"{found['succeeded']} of {devices} updated; all had fetched {kib} KiB after {found['fetched_s']:.0f} s, of which the budget alone takes "
        f"{at_best_s:.0f} s; all ran it after {found['succeeded_s']:.0f} s; sent {found['sent_bytes'] / 1e6:.1f} MB for "
        f"{found['needed_bytes'] / 1e6:.1f} MB; connections lost {found['lost']}; lag p95 meanwhile {found['lag_p95_s']:.2f} s."
    )
    goals = [
        Goal(what="devices updated", value=found["succeeded"], wanted=devices, reached=found["succeeded"] == devices),
        Goal(
            what="bytes sent for each that was needed",
            value=round(found["amplification"], 3),
            wanted=AMPLIFICATION_WANTED,
            reached=found["amplification"] <= AMPLIFICATION_WANTED,
        ),
        Goal(what="connections lost", value=found["lost"], wanted=0, reached=not found["lost"]),
    ]  # fmt: skip
    harness.finish("rollout", {"machine": machine, "found": found}, goals, json_path)


def measure(
    folder: Path, device_count: int, image_bytes: int, budget_kib_s: int, *, give_up_s: float = GIVE_UP_S
) -> dict[str, Any]:
    """Update a fleet; returns what became of it.

    Raises:
        BenchError: It does not end.
    """
    names = [f"device-{number:04}" for number in range(device_count)]
    path = folder / "image.bin"
    path.write_bytes(build(Header(version=VERSION, hw=["sim-rev2"], epoch=0), size_bytes=image_bytes).data)
    settings = f"[firmware]\ndelivery_kib_s = {budget_kib_s}\n[api]\nreads_per_min_max = 0\n"
    with running(folder, names, cores=None, settings=settings) as appliance:
        fleet = _fleet(folder, appliance)
        try:
            _wait_until(lambda: _connections(appliance) >= device_count, "All devices connect.", give_up_s)
            before = _numbers(appliance)
            _start(appliance, folder, path)
            began_s = time.monotonic()
            _wait_until(lambda: not _count(folder, FETCHED), "All devices have fetched it.", give_up_s)
            fetched_s = time.monotonic() - began_s
            _wait_until(
                lambda: _count(folder, ("succeeded",)) == device_count, "All devices are updated.", give_up_s
            )
            succeeded_s = time.monotonic() - began_s
            after = _numbers(appliance)
            fleet.send_signal(signal.SIGTERM)
            report = json.loads(fleet.communicate(timeout=DRAIN_S + 60)[0])
        finally:
            fleet.kill()
            fleet.communicate()
        lost = {
            reason: int(after.get(name, 0) - before.get(name, 0))
            for reason in ("connection_lost", "keep_alive", "protocol_error", "kicked")
            for name in (f'homeport_broker_closed_total{{reason="{reason}"}}',)
        }
    sent_bytes = after['homeport_delivery_sent_bytes_total{way="mqtt"}']
    return {
        "succeeded": report["versions"].get(VERSION, 0),
        "fetched_s": fetched_s,
        "succeeded_s": succeeded_s,
        "sent_bytes": sent_bytes,
        "needed_bytes": device_count * image_bytes,
        "amplification": sent_bytes / (device_count * image_bytes),
        "lost": sum(lost.values()),
        "lost_by_reason": lost,
        "lag_p95_s": after['homeport_ingestion_lag_recent_seconds{quantile="0.95"}'],
        "fleet": report,
    }


def _fleet(folder: Path, appliance: Appliance) -> subprocess.Popen[str]:
    credentials = folder / "credentials.json"
    credentials.touch(mode=0o600)
    credentials.write_text(json.dumps([harness.login(each) for each in appliance.broker.credentials]))
    return subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "device_fw_sim", "fleet", "--json", "--host", appliance.broker.host),
            *("--port", str(appliance.broker.port), "--credentials", str(credentials), "--rate", "1"),
            *("--drain", str(DRAIN_S), "--firmware", "--flash", str(folder / "flash"), "--ramp", "5"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )  # fmt: skip


def _start(appliance: Appliance, folder: Path, image: Path) -> None:
    """A rollout to everybody, all at once."""
    environment = os.environ | {"HOMEPORT_CONFIG": str(folder / "homeport.toml")}
    for arguments in (
        ("setting", "set", "firmware.approval", "never"),
        ("artifact", "key", "policy", "allow"),
        ("artifact", "add", str(image), "--name", "sim", "--version", VERSION, "--format", "raw"),
    ):
        command = [sys.executable, "-m", "appliance", *arguments, "--json"]
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise BenchError(f"{' '.join(arguments)} failed: {done.stderr}")
    wish = {
        "name": "Fleet",
        "artifact_id": json.loads(done.stdout)["artifact_id"],
        "targets": {"all": True},
        "plan": {"waves": ["100%"], "concurrency_max": 1_000, "start_spread_s": 0},
    }
    made = appliance.local.post("/api/v1/rollouts", wish)
    for act in ("submit", "start"):
        made = appliance.local.post(f"/api/v1/rollouts/{made['rollout_id']}/{act}", {})


def _numbers(appliance: Appliance) -> dict[str, float]:
    text = b"".join(appliance.local.download("/health/metrics")).decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def _connections(appliance: Appliance) -> float:
    return _numbers(appliance).get('homeport_broker_connections{transport="tcp"}', 0)


def _count(folder: Path, states: tuple[str, ...]) -> int:
    connection = sqlite3.connect(f"file:{folder}/data/catalog.db?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT state, count(*) FROM executions GROUP BY state").fetchall()
    finally:
        connection.close()
    if not rows:
        raise BenchError("The rollout has no executions.")
    return sum(count for state, count in rows if state in states)


def _wait_until(condition: Any, what: str, give_up_s: float) -> None:
    end_s = time.monotonic() + give_up_s
    while not condition():
        if time.monotonic() > end_s:
            raise BenchError(f"{what} Not within {give_up_s:.0f} s.")
        time.sleep(0.25)
