"""What rules cost per reading: one core, without a broker, a log or a store.

50,000 series of 10,000 devices are shown in batches of 125,000 values, as the pipeline shows 500,000 values a second. Times are CPU seconds of
this process, so that neighbours count less; a round is all batches, and the median of the rounds counts.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import numpy as np

from appliance.management.rule import Rule, RuleDefinition, RuleScope
from appliance.management.rule_conditions import (
    AnyCondition,
    Comparison,
    MissingFraction,
    NoData,
    Rate,
    Stuck,
    Threshold,
)
from appliance.management.watched import Released
from appliance.rules.evaluator import RuleEvaluator
from tests.bench import harness
from tests.bench.harness import Goal

METRICS: Final = ("temperature_celsius", "humidity_percent", "pressure_hpa", "current_amperes", "speed_rpm")
START_MS: Final = 1_700_000_000_000
VALUES_PER_SECOND: Final = 500_000
MICROSECONDS_WANTED: Final = 0.3
INDEX_S_WANTED: Final = 1.0
ALL: Final = RuleScope(all=True)
ABOVE: Final = Threshold(is_="above", limit=4.0, hysteresis=0.5)


class _Names:
    """Five series of each device."""

    def __init__(self, devices: int) -> None:
        self._devices = devices

    def __len__(self) -> int:
        return self._devices * len(METRICS)

    def name_of(self, series_id: int, /) -> tuple[str, str]:
        return f"device-{series_id // len(METRICS):05}", METRICS[series_id % len(METRICS)]


def _rule(
    name: str, condition: AnyCondition, *, metric: str = "*", scope: RuleScope = ALL, on_delay_s: float = 0.0
) -> Rule:
    definition = RuleDefinition(
        severity="P3", scope=scope, metric=metric, condition=condition, on_delay_s=on_delay_s
    )
    return Rule(rule_id=name, version=1, name=name, definition=definition)


def _each_device(devices: int) -> list[Rule]:
    return [
        _rule(
            f"rule-{at}",
            ABOVE,
            metric=METRICS[at % len(METRICS)],
            scope=RuleScope(devices=(f"device-{at:05}",)),
            on_delay_s=60,
        )
        for at in range(devices)
    ]


SCENARIOS: Final[dict[str, Callable[[int], list[Rule]]]] = {
    "no rule": lambda _: [],
    "no rule on these series": lambda _: [_rule("other", ABOVE, metric="voltage")],
    "one threshold on every series": lambda _: [_rule("all", ABOVE)],
    "a rule for each device": _each_device,
    "no data, every device": lambda _: [_rule("quiet", NoData(expected_s=10), metric="")],
    "no data, learned, and 1 fraction": lambda _: [
        _rule("quiet", NoData(), metric=""),
        _rule("site", MissingFraction(), metric=""),
    ],
    "rate on one metric": lambda _: [_rule("rate", Rate(limit=50), metric=METRICS[0])],
    "stuck on one metric": lambda _: [_rule("stuck", Stuck(for_s=600), metric=METRICS[0])],
    "median on one metric": lambda _: [
        _rule("median", Comparison(with_="group", limit=9), metric=METRICS[0])
    ],
}


def _batches(devices: int, values: int, count: int) -> list[Released]:
    """Noise of spread 1 around 0: one reading in 30,000 is beyond the threshold."""
    chance = np.random.default_rng(1)
    series_count = devices * len(METRICS)
    found = []
    for number in range(count):
        series = np.sort(chance.integers(0, series_count, values).astype(np.uint32))
        step_ms = values / VALUES_PER_SECOND * 1_000
        begins = START_MS + round(number * step_ms)
        offsets = chance.integers(0, max(1, round(step_ms)), values)
        times = begins + offsets[np.lexsort((offsets, series))]
        order = np.lexsort((times, series))
        found.append(
            Released(
                series=series,
                observed_at_ms=times[order],
                received_at_ms=times[order] + 20,
                values=chance.normal(0, 1, values),
                quality=np.zeros(values, np.uint8),
                epoch=1,
                seq=number,
            )
        )
    return found


def _run(evaluator: RuleEvaluator, batches: list[Released], begins_ms: int) -> tuple[float, int]:
    """(µs a value, transitions); the clock ticks once a second of the readings."""
    shown = [
        Released(
            series=each.series,
            observed_at_ms=each.observed_at_ms + begins_ms,
            received_at_ms=each.received_at_ms + begins_ms,
            values=each.values,
            quality=each.quality,
            epoch=1,
            seq=each.seq,
        )
        for each in batches
    ]
    moves, second = 0, -1
    began = time.process_time()
    for each in shown:
        moves += len(evaluator.see(each))
        now = int(each.received_at_ms[-1])
        if now // 1_000 != second:
            second = now // 1_000
            moves += len(evaluator.tick(now))
    return (time.process_time() - began) * 1e6 / sum(len(each) for each in shown), moves


@click.command("rules")
@click.option("--devices", default=10_000, show_default=True, type=click.IntRange(10, 50_000))
@click.option(
    "--batch", default=125_000, show_default=True, type=click.IntRange(1_000, 1_000_000), help="Values."
)
@click.option("--batches", default=16, show_default=True, type=click.IntRange(1, 1_000), help="In a round.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 20))
@click.option("--only", help="Scenarios whose name has this in it.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def rules(
    devices: int, batch: int, batches: int, rounds: int, only: str | None, json_path: Path | None
) -> None:
    """CPU time per value, and for finding out which rules are about which series."""
    data = _batches(devices, batch, batches)
    span_ms = int(data[-1].received_at_ms.max()) - START_MS + 1_000
    rows: list[tuple[str, int, float, float, float, int, int]] = []
    for name, make in SCENARIOS.items():
        if only and only not in name:
            continue
        evaluator = RuleEvaluator(_Names(devices))
        made = make(devices)
        gc.collect()
        began = time.process_time()
        evaluator.use(made)
        evaluator.see(Released(**{field: getattr(data[0], field)[:1] for field in _COLUMNS}))
        index_s = time.process_time() - began
        _run(evaluator, data[:2], 0)
        costs, moves = [], 0
        for number in range(rounds):
            cost, found = _run(evaluator, data, (number + 1) * span_ms)
            costs.append(cost)
            moves += found
        cost = harness.median(costs)
        figures = evaluator.statistics()
        state = len(evaluator.save())
        rows.append(
            (name, figures.instances, round(index_s, 3), round(cost, 4), round(1 / cost, 2), moves, state)
        )
    headers = ("rules", "instances", "index s", "µs a value", "M values/s", "transitions", "state bytes")
    click.echo(harness.table(headers, rows))
    goals = [
        Goal(
            what=f"{row[0]}, µs a value",
            value=row[3],
            wanted=MICROSECONDS_WANTED,
            reached=row[3] <= MICROSECONDS_WANTED,
        )
        for row in rows
        if row[0] == "a rule for each device"
    ] + [
        Goal(
            what=f"{row[0]}, s to index",
            value=row[2],
            wanted=INDEX_S_WANTED,
            reached=row[2] <= INDEX_S_WANTED,
        )
        for row in rows
        if row[0] == "a rule for each device"
    ]
    result = {
        "devices": devices,
        "batch": batch,
        "rows": [dict(zip(headers, row, strict=True)) for row in rows],
    }
    harness.finish("rules", result, goals, json_path)


_COLUMNS: Final = ("series", "observed_at_ms", "received_at_ms", "values", "quality")
