"""amqtt's broker beside Homeport's and mosquitto's, at loads small enough for it. Feeds docs/decisions/0001-amqtt.md."""

from __future__ import annotations

from pathlib import Path

import click

from tests.bench import harness
from tests.bench.bench_broker import Load, compare, start_amqtt, start_homeport, start_mosquitto

LOADS = (
    Load(connections=1, window=100, ratio_wanted=1),
    Load(connections=50, window=20, ratio_wanted=1),
    Load(connections=200, window=1, ratio_wanted=1),
)


@click.command("amqtt")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 99))
@click.option("--seconds", "duration_s", default=3.0, show_default=True, type=click.FloatRange(0.5, 600))
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def amqtt(rounds: int, duration_s: float, data: Path | None, json_path: Path | None) -> None:
    """amqtt's broker, Homeport's and mosquitto's under the same small loads."""
    peers = {"amqtt": start_amqtt, "homeport": start_homeport, "mosquitto": start_mosquitto}
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    loads = [(load, False) for load in LOADS]
    reports = compare(peers, loads, rounds=rounds, version=4, duration_s=duration_s, data=data)
    rows = []
    for load in LOADS:
        name = load.name(False)
        rates = {who: harness.median([each["rate"] for each in reports[name, who]]) for who in peers}
        p99 = {who: harness.median([each["latency_p99_ms"] for each in reports[name, who]]) for who in peers}
        rows.append((name, *(round(rates[who]) for who in peers), *(p99[who] for who in peers)))
    headers = ("load", *(f"{who}/s" for who in peers), *(f"{who} p99 ms" for who in peers))
    click.echo(harness.table(headers, rows))
    result = {
        "machine": machine,
        "rounds": rounds,
        "rows": [dict(zip(headers, row, strict=True)) for row in rows],
    }
    harness.finish("amqtt", result, [], json_path)
