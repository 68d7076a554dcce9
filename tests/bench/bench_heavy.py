"""What comes in, beside somebody who asks heavy questions all the time: full scans in SQL, and wide telemetry.

The load is that of bench_end_to_end.py. One program asks SQL over everything without a pause, another telemetry of all metrics of a device
over a day, another wide aggregates. Nothing may be lost and readings may not wait for them.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import click

from appliance.core.errors import HomeportError
from appliance.run.local_api import LocalApi
from storage.telemetry.batch import DAY_MS
from storage.telemetry.database import run
from storage.telemetry.schema import create_table, create_view, day_table, table_names
from storage.telemetry.store import TelemetryStore
from tests.bench import harness
from tests.bench.appliance import Appliance, running
from tests.bench.harness import Goal
from tests.bench.probes import METRICS, VALUES, LagProbe, Worker, caught_up, percentile

LAG_S_WANTED = 5.0
_STORED = ("flow", "level", "speed", "torque", "weight")
"""Other metrics than those that are sent, so that the pipeline's own series begin as in an empty store."""
_STORED_DAYS = 5
ANSWER_S = 120.0
QUESTIONS = {
    "scan": "SELECT metric, count(*), avg(value), min(value), max(value) FROM readings GROUP BY metric",
    "by minute": "SELECT device, time_bucket(INTERVAL 1 MINUTE, observed_at) AS t, avg(value) FROM readings GROUP BY ALL ORDER BY 3 DESC LIMIT 10",
    "median": "SELECT device, metric, median(value) FROM readings GROUP BY ALL",
    "window": "SELECT device, max(step) FROM (SELECT device, value - lag(value) OVER (PARTITION BY device, metric ORDER BY observed_at) AS step"
    " FROM readings) GROUP BY device",
    "distinct": "SELECT count(DISTINCT observed_at), count(DISTINCT value) FROM readings",
    "self join": "SELECT count(*) FROM readings a JOIN readings b ON a.device = b.device AND a.value < b.value",
}  # fmt: skip
"""The last ones can't be answered: they run into the limits of time or memory."""


@click.command("heavy")
@click.option(
    "--rate", default=100_000.0, show_default=True, help="Messages per second, all devices together."
)
@click.option("--devices", default=1_000, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--seconds", "duration_s", default=60.0, show_default=True, type=click.FloatRange(2, 86_400))
@click.option(
    "--stored",
    default=20_000_000,
    show_default=True,
    type=click.IntRange(0),
    help="Rows that are in the store before.",
)
@click.option(
    "--askers",
    default="sql,telemetry",
    show_default=True,
    help="Who asks, out of sql and telemetry; or none.",
)
@click.option("--cores", default="0,1", show_default=True, help="Of everything, as taskset takes them.")
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def heavy(
    rate: float,
    devices: int,
    duration_s: float,
    stored: int,
    askers: str,
    cores: str,
    data: Path | None,
    json_path: Path | None,
) -> None:
    """Lag at a fixed rate while heavy questions are asked without a pause, and an exact count at the end."""
    names = [f"bench-{index:05d}" for index in range(devices)]
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
        fill(folder / "data", names, stored)
        with running(folder, names, cores=cores) as appliance:
            lag = LagProbe(appliance, names)
            sql, telemetry = _Sql(appliance), _Telemetry(appliance, names)
            asking = [each for each in (sql, telemetry) if each.name in askers.split(",")]
            options = {
                **harness.target(appliance.broker),
                "connections": devices,
                "window": 400,
                "burst": 20,
                "rate": rate,
                "payload": "telemetry",
                "duration_s": duration_s,
                "warm_up_s": 2.0,
                "drain_s": 60.0,
            }
            with lag:
                for each in asking:
                    each.__enter__()
                report = harness.generate(options, core=cores)
                for each in asking:
                    each.__exit__()
            pipeline = caught_up(appliance, report["acknowledged"])
            operator = appliance.operator()
            metrics = operator.metrics("pipeline")
            operator.close()
    rows, wanted_rows = pipeline["rows_total"], report["acknowledged"] * VALUES
    summary: list[tuple[str, object]] = [
        ("messages per second, acknowledged", report["rate"]),
        ("rows in the store", rows),
        ("lag p50 s (pipeline, from the device's time)", metrics["ingestion_lag.p50_s"]),
        ("lag p95 s (pipeline, from the device's time)", metrics["ingestion_lag.p95_s"]),
        ("lag max s (pipeline, from the device's time)", metrics["ingestion_lag.max_s"]),
        ("lag p95 s (by query)", lag.percentile(95)),
        ("lag max s (by query)", lag.percentile(100)),
        ("PUBACK p99 ms", report["latency_p99_ms"]),
        ("failed commits", metrics.get("commit_failures_total", 0.0)),
    ]
    for each in asking:
        summary += [
            (f"{each.name}: {what}", f"{count}, median {percentile(each.times_s[what], 50):.2f} s")
            for what, count in sorted(each.outcomes.items())
        ]
    click.echo(harness.table(("what", "value"), summary))
    goals = [
        Goal(
            what="messages per second held",
            value=report["rate"],
            wanted=rate,
            reached=report["rate"] >= rate * 0.99,
        ),
        Goal(
            what="lag p95 s, pipeline",
            value=round(metrics["ingestion_lag.p95_s"], 3),
            wanted=LAG_S_WANTED,
            reached=metrics["ingestion_lag.p95_s"] < LAG_S_WANTED,
        ),
        Goal(what="rows in the store", value=rows, wanted=wanted_rows, reached=rows == wanted_rows),
    ]
    result = {
        "machine": machine,
        "options": {
            "rate": rate,
            "devices": devices,
            "seconds": duration_s,
            "askers": askers,
            "cores": cores,
        },
        "summary": dict(summary),
        "pipeline": pipeline | metrics,
        "generator": report,
    }
    harness.finish("heavy", result, goals, json_path)


def fill(data_dir: Path, devices: list[str], row_count: int) -> None:
    """Give the store whole days of the past, as many rows each, of the devices that send now."""
    data_dir.mkdir(mode=0o700, exist_ok=True)
    store = TelemetryStore.open(data_dir / "telemetry.duckdb")
    today = time.time_ns() // 1_000_000 // DAY_MS
    with store.reading() as connection:
        series = [(device, metric) for device in devices for metric in _STORED]
        run(connection, "BEGIN")
        run(
            connection,
            "INSERT INTO series SELECT row_number() OVER () - 1, device, metric, 0 FROM (SELECT unnest($1) AS device, unnest($2) AS metric)",
            [[device for device, _ in series], [metric for _, metric in series]],
        )
        for day in range(today - _STORED_DAYS, today):
            table, per_day = day_table(day), row_count // _STORED_DAYS
            run(connection, create_table(table))
            run(connection, create_table(day_table(day, "text")))
            run(
                connection,
                f"INSERT INTO {table} SELECT i % $1, $2 + (i // $1) * ($3 // ($4 // $1 + 1)), random(), 0 FROM range($4) t(i) ORDER BY 1, 2",
                [len(series), day * DAY_MS, DAY_MS, per_day],
            )
            run(connection, "INSERT INTO days VALUES (?, true, 1, NULL, 0, 0)", [day])
        run(connection, create_view(table_names(connection)))
        run(connection, "COMMIT")
    store.close()


class _Asker(Worker):
    """Asks without a pause; what came of it is counted, a refusal too."""

    name = ""

    def __init__(self, appliance: Appliance) -> None:
        super().__init__()
        self._api = LocalApi(appliance.node_socket, timeout_s=ANSWER_S)
        self.outcomes: Counter[str] = Counter()
        self.times_s: dict[str, list[float]] = {}

    def _work(self) -> None:
        while not self._stop.is_set():
            what, target, body = self._next()
            started = time.perf_counter()
            try:
                self._api.request("GET" if body is None else "POST", target, body)
            except HomeportError as error:
                what = f"{what}: {error.code}"
            self.outcomes[what] += 1
            self.times_s.setdefault(what, []).append(time.perf_counter() - started)

    def _next(self) -> tuple[str, str, object]:
        raise NotImplementedError


class _Sql(_Asker):
    name = "sql"

    def __init__(self, appliance: Appliance) -> None:
        super().__init__(appliance)
        self._asked = 0

    def _next(self) -> tuple[str, str, object]:
        what, sql = list(QUESTIONS.items())[self._asked % len(QUESTIONS)]
        self._asked += 1
        return what, "/api/v1/query", {"sql": sql}


class _Telemetry(_Asker):
    name = "telemetry"

    def __init__(self, appliance: Appliance, devices: list[str]) -> None:
        super().__init__(appliance)
        self._devices = devices
        self._source = random.Random(9)

    def _next(self) -> tuple[str, str, object]:
        since_ms = time.time_ns() // 1_000_000 - 86_400_000
        metrics = "&".join(f"metric={metric}" for metric in METRICS)
        what = self._source.choice(("raw", "band"))
        device = self._source.choice(self._devices)
        target = f"/api/v1/devices/{device}/telemetry?{metrics}&from={since_ms}&aggregation={what}"
        return what, f"{target}&limit=20000" if what == "raw" else target, None
