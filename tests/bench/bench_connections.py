"""Ten thousand connections on one broker: how fast they are served, and what each costs in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tests.bench import harness
from tests.bench.bench_broker import Start, start_homeport, start_mosquitto
from tests.bench.harness import Goal
from tests.bench.watch import memory

PLAIN_KIB_WANTED, TLS_KIB_WANTED, SERVED_S_WANTED = 12.0, 40.0, 60.0


@click.command("connections")
@click.option("--count", default=10_000, show_default=True, type=click.IntRange(10, 10_000))
@click.option("--seconds", "duration_s", default=5.0, show_default=True)
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def connections(count: int, duration_s: float, data: Path | None, json_path: Path | None) -> None:
    """Many connections at once, each publishing now and then: time to serve them, memory for each."""
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    rows, goals = [], []
    for name, start in (("homeport", start_homeport), ("mosquitto", start_mosquitto)):
        for tls in (False, True):
            report, kib = _one(start, count, duration_s, tls, data)
            rows.append(
                (name, tls, report["connect_s"], count / report["connect_s"], kib, report["latency_p99_ms"])
            )
            if name == "homeport":
                wanted = TLS_KIB_WANTED if tls else PLAIN_KIB_WANTED
                kind = "TLS" if tls else "TCP"
                goals.append(
                    Goal(
                        what=f"KiB a connection, {kind}",
                        value=round(kib, 1),
                        wanted=wanted,
                        reached=kib <= wanted,
                    )
                )
                goals.append(
                    Goal(
                        what=f"{count} connections served, {kind}, s",
                        value=report["connect_s"],
                        wanted=SERVED_S_WANTED,
                        reached=report["connect_s"] <= SERVED_S_WANTED,
                    )
                )
    headers = ("broker", "TLS", "connect s", "connects/s", "KiB each", "p99 ms")
    click.echo(harness.table(headers, rows))
    result = {
        "machine": machine,
        "count": count,
        "rows": [dict(zip(headers, row, strict=True)) for row in rows],
    }
    harness.finish("connections", result, goals, json_path)


def _one(
    start: Start, count: int, duration_s: float, tls: bool, data: Path | None
) -> tuple[dict[str, Any], float]:
    """The report, and KiB of the broker's resident memory for each connection (the highest seen, less that before)."""
    with harness.data_folder(data) as folder, start(folder) as broker, memory(broker) as used:
        report = harness.generate(
            {
                **harness.target(broker, tls=tls),
                "connections": count,
                "window": 1,
                "rate": count / 10,
                "duration_s": duration_s,
                "topic": "dm/bench-{index}/telemetry",
                "keep_alive_s": 60,
            }
        )
    return report, used.grown_kib / count
