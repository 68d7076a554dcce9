"""Homeport's broker against mosquitto: QoS 1, 100-byte JSON, each pinned to one core, the generator on the other.

In every round each broker gets every load, one directly after the other and in turns which one is first, with fresh data;
a ratio is taken within a round, and what is reported are medians. Homeport acknowledges after fdatasync to the disk under
`--data`; mosquitto acknowledges from memory, with persistence off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tests.bench import harness
from tests.bench.harness import BROKER_CORE, Goal
from tests.interop import brokers
from tests.interop.brokers import LiveBroker

RATE_WANTED = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One row of the table.

    Args:
        connections: Publishers.
        window: In flight for each.
        ratio_wanted: Homeport's rate as a multiple of mosquitto's.
    """

    connections: int
    window: int
    ratio_wanted: float
    rate_wanted: float | None = None

    def name(self, tls: bool) -> str:
        return f"{self.connections} × {self.window}{' TLS' if tls else ''}"


LOADS = (
    Load(connections=50, window=400, ratio_wanted=4, rate_wanted=RATE_WANTED),
    Load(connections=1, window=1_000, ratio_wanted=4),
    Load(connections=1_000, window=20, ratio_wanted=4),
    Load(connections=1_000, window=1, ratio_wanted=1),
)
Start = Callable[[Path], AbstractContextManager[LiveBroker]]


def start_homeport(folder: Path) -> AbstractContextManager[LiveBroker]:
    """Homeport's broker on its core."""
    return brokers.homeport(folder, devices=["bench"], core=BROKER_CORE)


def start_mosquitto(folder: Path) -> AbstractContextManager[LiveBroker]:
    """mosquitto on the same core."""
    return brokers.mosquitto(folder, core=BROKER_CORE)


def start_amqtt(folder: Path) -> AbstractContextManager[LiveBroker]:
    """amqtt's broker on the same core."""
    return brokers.amqtt(folder, core=BROKER_CORE)


def measure(
    start: Start, load: Load, *, tls: bool, version: int, duration_s: float, data: Path | None
) -> dict[str, Any]:
    """One broker under one load, with fresh data.

    Returns:
        The generator's report, with the broker's CPU share as `broker_cpu_ratio`.
    """
    with harness.data_folder(data) as folder, start(folder) as broker:
        before_s = broker.cpu_s()
        with harness.explained_by(broker):
            report = harness.generate(
                {
                    **harness.target(broker, tls=tls),
                    "connections": load.connections,
                    "window": load.window,
                    "mqtt_version": version,
                    "duration_s": duration_s,
                    "warm_up_s": 1.0,
                    "topic": "dm/bench-{index}/telemetry",
                }
            )
        report["broker_cpu_ratio"] = (broker.cpu_s() - before_s) / (report["measured_s"] + 1.0)
        return report


def compare(
    peers: Mapping[str, Start],
    loads: Sequence[tuple[Load, bool]],
    *,
    rounds: int,
    version: int,
    duration_s: float,
    data: Path | None,
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """All reports by load name and broker name, in rounds that alternate which broker is first."""
    reports: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for number in range(rounds):
        names = list(peers)[:: 1 if number % 2 == 0 else -1]
        for load, tls in loads:
            for name in names:
                report = measure(
                    peers[name], load, tls=tls, version=version, duration_s=duration_s, data=data
                )
                reports.setdefault((load.name(tls), name), []).append(report)
                click.echo(
                    f"round {number + 1}  {load.name(tls):>16}  {name:>9}  {report['rate']:>11,.0f} msg/s",
                    err=True,
                )
    return reports


@click.command("broker")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 99))
@click.option("--seconds", "duration_s", default=4.0, show_default=True, type=click.FloatRange(0.5, 600))
@click.option(
    "--tls/--no-tls", "with_tls", default=None, help="Only over TLS, or only without; both by default."
)
@click.option("--load", "only", multiple=True, help="Only loads whose name begins so, such as '1000 × 1'.")
@click.option("--mqtt", "version", type=click.Choice(["4", "5"]), default="4", show_default=True)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder on the disk to measure; ./var/bench by default."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def broker(
    rounds: int,
    duration_s: float,
    with_tls: bool | None,
    only: tuple[str, ...],
    version: str,
    data: Path | None,
    json_path: Path | None,
) -> None:
    """Homeport against mosquitto: acknowledged messages per second, ratios within one run."""
    modes = (False, True) if with_tls is None else (with_tls,)
    loads = [(load, tls) for tls in modes for load in LOADS]
    if only:
        loads = [(load, tls) for load, tls in loads if load.name(tls).startswith(only)]
    if not loads:
        raise harness.BenchError(
            f"No load is called so. There are: {', '.join(each.name(False) for each in LOADS)}."
        )
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    peers = {"homeport": start_homeport, "mosquitto": start_mosquitto}
    reports = compare(peers, loads, rounds=rounds, version=int(version), duration_s=duration_s, data=data)
    rows, goals = [], []
    for load, tls in loads:
        name = load.name(tls)
        ours, theirs = reports[name, "homeport"], reports[name, "mosquitto"]
        rate = harness.median([each["rate"] for each in ours])
        ratio = harness.median([a["rate"] / b["rate"] for a, b in zip(ours, theirs, strict=True)])
        rows.append(
            (
                name,
                round(rate),
                round(harness.median([each["rate"] for each in theirs])),
                ratio,
                load.ratio_wanted,
                harness.median([each["latency_p50_ms"] for each in ours]),
                harness.median([each["latency_p99_ms"] for each in ours]),
                harness.median([each["broker_cpu_ratio"] for each in ours]),
                max(each["generator_cpu_ratio"] for each in ours + theirs),
            )
        )
        goals.append(
            Goal(
                what=f"{name}, times mosquitto",
                value=round(ratio, 2),
                wanted=load.ratio_wanted,
                reached=ratio >= load.ratio_wanted,
            )
        )
        if load.rate_wanted is not None and not tls:
            goals.append(
                Goal(
                    what=f"{name}, msg/s",
                    value=rate,
                    wanted=load.rate_wanted,
                    reached=rate >= load.rate_wanted,
                )
            )
    headers = (
        "load",
        "homeport/s",
        "mosquitto/s",
        "ratio",
        "goal",
        "p50 ms",
        "p99 ms",
        "our CPU",
        "generator CPU max",
    )
    click.echo(harness.table(headers, rows))
    result = {
        "machine": machine,
        "rounds": rounds,
        "seconds": duration_s,
        "mqtt_version": int(version),
        "rows": [dict(zip(headers, row, strict=True)) for row in rows],
        "reports": [{"load": name, "broker": who, "reports": each} for (name, who), each in reports.items()],
    }
    harness.finish("broker", result, goals, json_path)
