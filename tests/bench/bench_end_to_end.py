"""From a device's PUBLISH to a row that a query finds: the whole appliance and the generator on two cores.

Five values a message, a time and a number of its own in each, every device with its own token and topic, while an operator
asks the API 20 times a second over HTTPS. At the end every acknowledged message must have become exactly five rows.
"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

import click

from tests.bench import harness
from tests.bench.appliance import Appliance, Operator, running
from tests.bench.harness import BenchError, Goal

VALUES = 5
METRICS = ("temperature", "humidity", "power", "voltage", "battery")
LAG_S_WANTED, API_MS_WANTED = 1.0, 100.0
CATCH_UP_DEADLINE_S = 120.0
_LAG_PROBE_S = 0.5
_LOOK_BACK_MS = 60_000
_BUCKET_MS = 100


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
    data: Path | None,
    json_path: Path | None,
) -> None:
    """Device to queryable row at a fixed rate, with lag, API times and an exact count at the end."""
    names = [f"bench-{index:05d}" for index in range(devices)]
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
        with running(folder, names, cores=cores) as appliance:
            operator = appliance.operator()
            api = _ApiClient(operator, names, api_rate)
            lag = _LagProbe(appliance, names)
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
            pipeline = _caught_up(appliance, report["acknowledged"])
            metrics = operator.metrics("pipeline")
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
        },
        "summary": dict(summary),
        "pipeline": pipeline | metrics,
        "generator": report,
    }
    harness.finish("end-to-end", result, goals, json_path)


def _caught_up(appliance: Appliance, messages: int) -> dict[str, Any]:
    """The pipeline's totals once nothing is behind."""
    deadline = time.monotonic() + CATCH_UP_DEADLINE_S
    while True:
        found = appliance.pipeline()
        done = found["rows_total"] >= messages * VALUES or found["dead_letters_total"] > 0
        if found["behind_records"] == 0 and done:
            return found
        if time.monotonic() > deadline:
            raise BenchError(f"The pipeline did not catch up: {found}")
        time.sleep(0.2)


class _Worker:
    """A thread that works until the block ends, and whose failure ends the benchmark."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._guarded)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _guarded(self) -> None:
        try:
            self._work()
        except (BenchError, OSError) as error:
            self._failure = error

    def _work(self) -> None:
        raise NotImplementedError


class _ApiClient(_Worker):
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
        return _percentile(self.times_ms, percent)


class _LagProbe(_Worker):
    """Age of the newest row that a query over the last seconds finds, device by device.

    It contains the time between two sendings of the device, so it is an upper bound of the lag.
    """

    def __init__(self, appliance: Appliance, devices: list[str]) -> None:
        super().__init__()
        self._appliance = appliance
        self._devices = devices
        self._source = random.Random(8)
        self._seen = False
        self.lags_s: list[float] = []

    def _work(self) -> None:
        while not self._stop.wait(_LAG_PROBE_S):
            device = self._source.choice(self._devices)
            asked_ms = time.time_ns() // 1_000_000
            # Counts by tenths of a second, so an answer stays small however many readings there are.
            target = f"/api/v1/devices/{device}/telemetry?metric=temperature&from={asked_ms - _LOOK_BACK_MS}"
            series = self._appliance.local.get(f"{target}&aggregation=count&interval_ms={_BUCKET_MS}")[
                "series"
            ]
            newest_ms = max((at for each in series for at in each["at_ms"]), default=None)
            if newest_ms is not None:
                self._seen = True
                self.lags_s.append(max(asked_ms - newest_ms - _BUCKET_MS, 0) / 1_000)
            elif self._seen:
                # Once readings flow, none within the time looked at is a lag of at least that.
                self.lags_s.append(_LOOK_BACK_MS / 1_000)

    def percentile(self, percent: float) -> float:
        return _percentile(self.lags_s, percent)


def _percentile(values: list[float], percent: float) -> float:
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]
