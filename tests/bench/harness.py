"""What every benchmark needs: the generator in a process of its own, medians, tables, and what it was measured on."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from device_fw_sim.load import Credential
from tests.interop.brokers import ROOT, LiveBroker, pinned

BROKER_CORE = 0
GENERATOR_CORE = 1
GENERATOR_SLACK_S = 90.0


class BenchError(click.ClickException):
    """A benchmark whose figures would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A number to reach.

    Args:
        what: A sentence.
        reached: Whether it was.
        value: What was measured.
        wanted: What was asked.
    """

    what: str
    value: float
    wanted: float
    reached: bool


def generate(options: Mapping[str, Any], *, core: int | str | None = GENERATOR_CORE) -> dict[str, Any]:
    """Run the load generator in a process of its own, on a core of its own.

    Args:
        options: Fields of LoadOptions, JSON types only. They go through standard input: tokens are among them.
    Returns:
        The report as a dict.
    Raises:
        BenchError: An acknowledgement is missing, or the broker could not be reached.
    """
    length_s = (
        float(options.get("duration_s", 5))
        + float(options.get("warm_up_s", 1))
        + float(options.get("drain_s", 15))
    )
    done = subprocess.run(
        pinned(core, [sys.executable, "-m", "device_fw_sim", "load"]),
        input=json.dumps(dict(options)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=length_s + GENERATOR_SLACK_S,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"The load generator failed: {done.stderr.strip() or done.stdout[-500:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@contextmanager
def explained_by(broker: LiveBroker) -> Iterator[None]:
    """Add the end of a broker's own output to an error, since its folder is gone afterwards."""
    try:
        yield
    except BenchError as error:
        raise BenchError(f"{error.message}\n{broker.name} said:\n{broker.output()[-3_000:]}") from error


def target(broker: LiveBroker, *, tls: bool = False) -> dict[str, Any]:
    """Load options that reach a broker."""
    return {
        "host": broker.host,
        "port": broker.tls_port if tls else broker.port,
        "tls": tls,
        "ca_file": str(broker.ca_file),
        "credentials": [login(each) for each in broker.credentials],
    }


def login(credential: Credential) -> dict[str, str]:
    """A credential as JSON."""
    return {"username": credential.username, "password": credential.password}


@contextmanager
def data_folder(where: Path | None) -> Iterator[Path]:
    """A fresh folder on the disk to be measured, gone afterwards.

    Args:
        where: Its parent; the checkout's own disk by default, since /tmp is memory on many machines.
    """
    parent = where or ROOT / "var" / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def median(values: Sequence[float]) -> float:
    """Middle value."""
    return statistics.median(values)


def machine(folder: Path) -> dict[str, Any]:
    """What the figures were measured on, the disk's own fsync rate among them."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kib / 1024 / 1024, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "file_system": file_system(folder),
        "fdatasync_4k_per_s": round(sync_rate(folder, 4 * 1024)),
        "fdatasync_512k_per_s": round(sync_rate(folder, 512 * 1024)),
        "mosquitto": _version(["mosquitto", "-h"]),
        "commit": _version(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]),
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "load_average": round(os.getloadavg()[0], 2),
    }


def sync_rate(folder: Path, size_bytes: int, *, seconds: float = 1.0) -> float:
    """Appends of `size_bytes` with an fdatasync each, per second: the ceiling of any group commit on this disk."""
    block = os.urandom(size_bytes)
    path = folder / "sync-rate"
    count = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        started = time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            os.write(descriptor, block)
            os.fdatasync(descriptor)
            count += 1
    finally:
        os.close(descriptor)
        path.unlink()
    return count / elapsed


def file_system(folder: Path) -> str:
    """Type of the file system that holds a folder."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        if str(folder.resolve()).startswith(mount) and len(mount) > len(best):
            best, kind = mount, found
    return kind


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Plain text, columns as wide as they need to be; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(header), *(len(row[index]) for row in cells)) for index, header in enumerate(headers)]
    lines = ["  ".join(header.ljust(width) for header, width in zip(headers, widths, strict=True)).rstrip()]
    lines.append("  ".join("-" * width for width in widths))
    for row, values in zip(cells, rows, strict=True):
        padded = [
            cell.rjust(width) if isinstance(value, int | float) else cell.ljust(width)
            for cell, width, value in zip(row, widths, values, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def finish(name: str, result: dict[str, Any], goals: Sequence[Goal], json_path: Path | None) -> None:
    """Print the goals, write the JSON, and exit with 1 when a goal was missed."""
    result = {
        "benchmark": name,
        **result,
        "goals": [
            {"what": g.what, "value": g.value, "wanted": g.wanted, "reached": g.reached} for g in goals
        ],
    }
    if goals:
        click.echo("")
        for goal in goals:
            click.echo(
                f"{'reached' if goal.reached else 'MISSED '}  {goal.what}: {_cell(goal.value)}, wanted {_cell(goal.wanted)}"
            )
    if json_path is not None:
        json_path.write_text(json.dumps(result, indent=1) + "\n")
    if not all(goal.reached for goal in goals):
        raise SystemExit(1)


def _cell(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _version(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        return "not installed"
    return (done.stdout or done.stderr).partition("\n")[0].strip()
