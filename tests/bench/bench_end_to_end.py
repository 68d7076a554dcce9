"""From a device's PUBLISH to a row that a query finds: the whole appliance and the generator on two cores.

Five values a message, a time and a number of its own in each, every device with its own token and topic, while an operator
asks the API 20 times a second over HTTPS. At the end every acknowledged message must have become exactly five rows.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import click

from tests.bench import harness
from tests.bench.appliance import Operator, running
from tests.bench.harness import Goal
from tests.bench.probes import METRICS, VALUES, LagProbe, Worker, caught_up, percentile

LAG_S_WANTED, API_MS_WANTED = 1.0, 100.0


@click.command("end-to-end")
@click.option(
    "--rate", default=100_000.0, show_default=True, help="Messages per second, all devices together."
)
@click.option("--devices", default=1_000, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--burst", default=20, show_default=True, help="Messages that a device sends at a time.")
@click.option("--window", default=400, show_default=True, help="Messages in flight for each device.")
@click.option("--seconds", "duration_s", default=60.0, show_default=True, type=click.FloatRange(2, 86_400))
@click.option("--api-rate", default=20.0, show_default=True, help="API requests per second.")
@click.option("--cores", default="0,1", show_default=True, help="Of everything, as taskset takes them.")
@click.option(
    "--watch/--no-watch", "is_watched", default=True, show_default=True, help="Rules and anomalies."
)
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def end_to_end(
    rate: float,
    devices: int,
    burst: int,
    window: int,
    duration_s: float,
    api_rate: float,
    cores: str,
    is_watched: bool,
    data: Path | None,
    json_path: Path | None,
) -> None:
    """Device to queryable row at a fixed rate, with lag, API times and an exact count at the end."""
    names = [f"bench-{index:05d}" for index in range(devices)]
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
        # One operator stands for several here, and asks more than one may.
        settings = f"[api]\nreads_per_min_max = 0\n[watch]\nenabled = {str(is_watched).lower()}\n"
        with running(folder, names, cores=cores, settings=settings) as appliance:
            operator = appliance.operator()
            api = _ApiClient(operator, names, api_rate)
            lag = LagProbe(appliance, names)
            options = {
                **harness.target(appliance.broker),
                "connections": devices,
                "window": window,
                "burst": burst,
                "rate": rate,
                "payload": "telemetry",
                "duration_s": duration_s,
                "warm_up_s": 2.0,
                "drain_s": 60.0,
            }
            with api, lag:
                report = harness.generate(options, core=cores)
            pipeline = caught_up(appliance, report["acknowledged"])
            metrics = operator.metrics("pipeline")
            watch = appliance.local.get("/api/v1/status")["rules"]
            operator.close()
    rows = pipeline["rows_total"]
    wanted_rows = report["acknowledged"] * VALUES
    summary: list[tuple[str, object]] = [
        ("messages per second, wanted", rate),
        ("messages per second, acknowledged", report["rate"]),
        ("messages acknowledged", report["acknowledged"]),
        ("rows in the store", rows),
        ("dead letters", pipeline["dead_letters_total"]),
        ("lag p50 s (pipeline, from the device's time)", metrics["ingestion_lag.p50_s"]),
        ("lag p95 s (pipeline, from the device's time)", metrics["ingestion_lag.p95_s"]),
        ("lag max s (pipeline, from the device's time)", metrics["ingestion_lag.max_s"]),
        ("lag p50 s (by query)", lag.percentile(50)),
        ("lag p95 s (by query)", lag.percentile(95)),
        ("lag max s (by query)", lag.percentile(100)),
        ("rules and anomalies", watch["text"] if watch else "off"),
        ("readings too late for rules", watch["late_total"] if watch else 0),
        ("API requests", len(api.times_ms)),
        ("API p50 ms", api.percentile(50)),
        ("API p95 ms", api.percentile(95)),
        ("API max ms", api.percentile(100)),
        ("PUBACK p50 ms", report["latency_p50_ms"]),
        ("PUBACK p99 ms", report["latency_p99_ms"]),
        ("generator CPU (cores)", report["generator_cpu_ratio"]),
    ]
    click.echo(harness.table(("what", "value"), summary))
    held = report["rate"]
    goals = [
        Goal(what="messages per second held", value=held, wanted=rate, reached=held >= rate * 0.99),
        Goal(
            what="lag p95 s, pipeline",
            value=round(metrics["ingestion_lag.p95_s"], 3),
            wanted=LAG_S_WANTED,
            reached=metrics["ingestion_lag.p95_s"] < LAG_S_WANTED,
        ),
        Goal(
            what="lag p95 s, by query",
            value=lag.percentile(95),
            wanted=LAG_S_WANTED,
            reached=lag.percentile(95) < LAG_S_WANTED,
        ),
        Goal(
            what="API p95 ms",
            value=api.percentile(95),
            wanted=API_MS_WANTED,
            reached=api.percentile(95) < API_MS_WANTED,
        ),
        Goal(what="rows in the store", value=rows, wanted=wanted_rows, reached=rows == wanted_rows),
    ]
    result = {
        "machine": machine,
        "options": {
            "rate": rate,
            "devices": devices,
            "burst": burst,
            "window": window,
            "seconds": duration_s,
            "cores": cores,
            "watch": is_watched,
        },
        "summary": dict(summary),
        "pipeline": pipeline | metrics,
        "generator": report,
    }
    harness.finish("end-to-end", result, goals, json_path)


class _ApiClient(Worker):
    """Asks what an operator's page asks, at a steady pace; a late answer delays none of the next (open loop)."""

    def __init__(self, operator: Operator, devices: list[str], rate: float) -> None:
        super().__init__()
        self._operator = operator
        self._devices = devices
        self._interval_s = 1 / rate
        self._source = random.Random(7)
        self.times_ms: list[float] = []

    def _work(self) -> None:
        due = time.perf_counter()
        while not self._stop.is_set():
            due += self._interval_s
            self._stop.wait(max(due - time.perf_counter(), 0))
            self._operator.get(self._target())
            self.times_ms.append((time.perf_counter() - due) * 1_000)

    def _target(self) -> str:
        device = self._source.choice(self._devices)
        match self._source.randrange(4):
            case 0:
                return "/api/v1/devices?limit=50"
            case 1:
                since_ms = time.time_ns() // 1_000_000 - 60_000
                metric = self._source.choice(METRICS)
                return f"/api/v1/devices/{device}/telemetry?metric={metric}&from={since_ms}&aggregation=band"
            case 2:
                return "/api/v1/status"
            case _:
                return f"/api/v1/devices/{device}/newest"

    def percentile(self, percent: float) -> float:
        return percentile(self.times_ms, percent)
