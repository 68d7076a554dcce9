"""A loud publisher beside a thousand quiet ones: what it costs the quiet, on Homeport and on mosquitto.

The quiet send 1,000 messages a second between them, each with one in flight; the loud one keeps 1,000 in flight all the time. Both
are on QoS 1, from two generator processes on one core. What counts is how long the quiet wait for their acknowledgement.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from tests.bench import harness
from tests.bench.bench_broker import Start, start_homeport, start_mosquitto
from tests.bench.harness import Goal

QUIET_COUNT, QUIET_RATE, LOUD_WINDOW = 1_000, 1_000, 1_000
P99_MS_WANTED = 100.0
"""A person doesn't notice it, and a device that sends once a second neither."""
_CONNECT_SLACK_S = 6.0
"""For the quiet to connect while the loud one is at it already."""


@click.command("fairness")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 99))
@click.option("--seconds", "duration_s", default=4.0, show_default=True, type=click.FloatRange(0.5, 600))
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def fairness(rounds: int, duration_s: float, data: Path | None, json_path: Path | None) -> None:
    """A loud publisher beside 1,000 quiet ones: the latency of the quiet."""
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    brokers = {"homeport": start_homeport, "mosquitto": start_mosquitto}
    reports: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for number in range(rounds):
        for name in list(brokers)[:: 1 if number % 2 == 0 else -1]:
            for is_loud in (False, True):
                report = _one(brokers[name], duration_s, is_loud=is_loud, data=data)
                reports.setdefault((name, is_loud), []).append(report)
    rows = [
        (
            name,
            is_loud,
            round(harness.median([each["loud_rate"] for each in found])),
            *(
                harness.median([each["quiet"][f"latency_{which}_ms"] for each in found])
                for which in ("p50", "p95", "p99", "max")
            ),
            max(each["quiet"]["behind"] for each in found),
            max(each["quiet"]["generator_cpu_ratio"] + each["loud_cpu_ratio"] for each in found),
        )
        for (name, is_loud), found in reports.items()
    ]
    headers = (
        "broker",
        "loud one",
        "loud msg/s",
        "quiet p50 ms",
        "p95 ms",
        "p99 ms",
        "max ms",
        "behind max",
        "generators CPU max",
    )
    click.echo(harness.table(headers, rows))
    p99_ms = harness.median([each["quiet"]["latency_p99_ms"] for each in reports["homeport", True]])
    goal = Goal(
        what="p99 of the quiet beside a loud one, ms",
        value=p99_ms,
        wanted=P99_MS_WANTED,
        reached=p99_ms <= P99_MS_WANTED,
    )
    result = {
        "machine": machine,
        "rounds": rounds,
        "seconds": duration_s,
        "rows": [dict(zip(headers, row, strict=True)) for row in rows],
        "reports": [
            {"broker": name, "loud": is_loud, "reports": found} for (name, is_loud), found in reports.items()
        ],
    }
    harness.finish("fairness", result, [goal], json_path)


def _one(start: Start, duration_s: float, *, is_loud: bool, data: Path | None) -> dict[str, Any]:
    """The quiet ones' report, with the loud one's rate and generator CPU, both 0 without it."""
    with harness.data_folder(data) as folder, start(folder) as broker, ThreadPoolExecutor(1) as pool:
        common = {**harness.target(broker), "topic": "dm/bench-{index}/telemetry"}
        loud = None
        if is_loud:
            loud = pool.submit(
                harness.generate,
                {
                    **common,
                    "connections": 1,
                    "window": LOUD_WINDOW,
                    "client_id_prefix": "loud",
                    "topic": "dm/loud/telemetry",
                    "duration_s": duration_s + _CONNECT_SLACK_S,
                },
            )
        with harness.explained_by(broker):
            quiet = harness.generate(
                {
                    **common,
                    "connections": QUIET_COUNT,
                    "window": 1,
                    "rate": QUIET_RATE,
                    "client_id_prefix": "quiet",
                    "duration_s": duration_s,
                }
            )
            found = None if loud is None else loud.result()
    return {
        "quiet": quiet,
        "loud_rate": 0.0 if found is None else found["rate"],
        "loud_cpu_ratio": 0.0 if found is None else found["generator_cpu_ratio"],
    }
