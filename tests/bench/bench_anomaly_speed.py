"""How many values a second the anomaly detectors score on one core, by how they come."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from appliance.anomalies.detectors import AnomalyDetectors
from appliance.management.watched import Released
from tests.bench import harness
from tests.bench.harness import Goal

GOAL: Final = 1_000_000.0
CASES: Final = (
    # (what, series, values of each in a call, ms from one to the next, calls)
    ("5,000 series, 5 values each a call, 1 s apart", 5_000, 5, 1_000.0, 60),
    ("5,000 series, every value a slot of its own", 5_000, 1, 10_000.0, 200),
    ("5,000 series with profiles, a value each 5 min", 5_000, 1, 300_000.0, 120),
    ("1 series, 25,000 values a second", 1, 25_000, 0.04, 100),
    ("1 series, 2,500 values a call, 1 s apart (a backlog)", 1, 2_500, 1_000.0, 10),
)


@click.command("anomaly-speed")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def anomaly_speed(json_path: Path | None) -> None:
    """Values scored in a second of one core, for many series and for one."""
    results = [measure(*case) for case in CASES]
    headers = ("values", "values/s of CPU", "µs a call", "bytes a series", "profiles")
    rows = [
        (one["what"], one["rate"], one["call_us"], one["bytes_a_series"], one["profiles"]) for one in results
    ]
    click.echo(harness.table(headers, rows))
    goals = [
        Goal(what=str(one["what"]), value=float(one["rate"]), wanted=GOAL, reached=float(one["rate"]) >= GOAL)
        for one in (results[0], results[1], results[3])
    ]
    harness.finish("anomaly-speed", {"results": results}, goals, json_path)


def measure(what: str, series: int, values: int, step_ms: float, calls: int) -> dict[str, Any]:
    """CPU of the second half of the calls: the first half makes places and profiles."""
    detectors = AnomalyDetectors()
    generator = np.random.default_rng(1)
    ids = np.repeat(np.arange(series, dtype=np.uint32), values)
    spent_s, scored = 0.0, 0
    for call in range(calls):
        begin = 1_785_715_200_000 + call * values * step_ms
        times = np.tile((begin + np.arange(values) * step_ms).astype(np.int64), series)
        points = Released(
            series=ids,
            observed_at_ms=times,
            received_at_ms=times,
            values=generator.normal(20, 1, len(ids)),
            quality=np.zeros(len(ids), np.uint8),
        )
        before = time.process_time()
        detectors.see(points)
        if call >= calls // 2:
            spent_s += time.process_time() - before
            scored += len(ids)
    statistics = detectors.statistics()
    return {
        "what": what,
        "rate": round(scored / spent_s),
        "call_us": round(1e6 * spent_s / (calls - calls // 2)),
        "bytes_a_series": round(statistics.memory_bytes / max(series, 1)),
        "profiles": statistics.profiles,
    }
