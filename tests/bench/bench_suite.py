"""The single-node scenarios of the Open MQTT Benchmark Suite, scaled to two cores: Homeport against mosquitto.

Point to point, fan-out and shared subscription, each once at the suite's own pace (1,000 messages or deliveries a second, for
the latency) and once at full speed (for the throughput), and connections. Brokers take turns within a round, with fresh
data; a ratio is taken within a round, and medians are reported. Homeport syncs every message with QoS 1 and 2 to the
disk under `--data`; mosquitto keeps all in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from tests.bench import harness
from tests.bench.bench_broker import Start, start_homeport, start_mosquitto
from tests.bench.harness import Goal
from tests.bench.watch import memory

CONNECTION_COUNT = 10_000
CONNECTS_PER_S = 100
PACED_COUNT = 1_000
"""Ten seconds of the suite's pace; all 10,000 take 100 s for each broker (`--full`)."""
BROKERS: Mapping[str, Start] = {"homeport": start_homeport, "mosquitto": start_mosquitto}
Reports = dict[str, list[dict[str, Any] | None]]
"""By broker, one for each round; None where the scenario did not run to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One row of the tables.

    Args:
        options: Of the load generator, beyond those that all have.
        measures: "deliveries" a second, "messages" acknowledged a second, or "connects" a second.
        ratio_wanted: Homeport's figure as a multiple of mosquitto's; None where the pace is given and latency is the point.
    """

    name: str
    measures: str
    ratio_wanted: float | None
    options: dict[str, Any] = field(default_factory=dict)

    def value(self, report: Mapping[str, Any]) -> float:
        """The figure that is compared."""
        if self.measures == "connects":
            return float(report["connections"] / report["connect_s"])
        return float(report["deliveries"]["rate"] if self.measures == "deliveries" else report["rate"])

    def latencies_ms(self, report: Mapping[str, Any]) -> tuple[float, float, float]:
        """p50, p95 and p99: of deliveries, of acknowledgements, or of connecting."""
        source = report["deliveries"] if self.measures == "deliveries" else report
        kind = "connect" if self.measures == "connects" else "latency"
        p50, p95, p99 = (float(source[f"{kind}_p{percent}_ms"]) for percent in (50, 95, 99))
        return p50, p95, p99


def _delivering(name: str, qos: int, ratio_wanted: float | None = 1, **options: Any) -> Scenario:
    return Scenario(
        name=f"{name} QoS {qos}",
        measures="deliveries",
        ratio_wanted=ratio_wanted,
        options={"payload": "marked", "payload_bytes": 16, "qos": qos, **options},
    )


PAIRS: dict[str, Any] = {"connections": 1_000, "subscribers": 1_000}
FAN_OUT: dict[str, Any] = {"connections": 1, "subscribers": 1_000}
SHARED: dict[str, Any] = {"connections": 1_000, "subscribers": 5, "subscribe_to": "shared"}
SCENARIOS = (
    *(_delivering("point to point", qos, window=10, **PAIRS) for qos in (0, 1, 2)),
    _delivering("point to point, 1 in flight,", 1, window=1, **PAIRS),
    *(_delivering("fan-out", qos, window=20, **FAN_OUT) for qos in (0, 1, 2)),
    *(_delivering("shared", qos, window=10, **SHARED) for qos in (0, 1)),
    _delivering("point to point, paced,", 1, None, window=10, rate=1_000, **PAIRS),
    _delivering("fan-out, paced,", 1, None, window=20, rate=1, **FAN_OUT),
    _delivering("shared, paced,", 1, None, window=10, rate=1_000, **SHARED),
    Scenario(
        name="ingest QoS 1", measures="messages", ratio_wanted=4, options={"connections": 50, "window": 400}
    ),
    Scenario(name="connections at 100/s", measures="connects", ratio_wanted=None),
    Scenario(name="connections at once", measures="connects", ratio_wanted=1),
)


def run_one(
    scenario: Scenario, start: Start, duration_s: float, full: bool, data: Path | None
) -> dict[str, Any]:
    """One broker in one scenario, with fresh data.

    Returns:
        The generator's report, and `broker_mib`, the most that the broker's memory grew.
    Raises:
        BenchError: A message was lost, doubled or out of order, or the broker refused.
    """
    with harness.data_folder(data) as folder, start(folder) as broker, memory(broker) as used:
        options: dict[str, Any] = {
            **harness.target(broker),
            "topic": "dm/bench-{index}/telemetry",
            "duration_s": duration_s,
            "watched_pid": broker.pid,
            **scenario.options,
        }
        if scenario.measures == "connects":
            options |= _connecting(paced=scenario.ratio_wanted is None, full=full)
        with harness.explained_by(broker):
            report = harness.generate(options)
    report["broker_mib"] = used.grown_kib / 1024
    return report


def _connecting(*, paced: bool, full: bool) -> dict[str, Any]:
    count = PACED_COUNT if paced and not full else CONNECTION_COUNT
    return {
        "connections": count,
        "window": 1,
        "rate": count / 10,
        "keep_alive_s": 300,
        "connects_per_s": CONNECTS_PER_S if paced else None,
    }


def run_round(
    number: int, scenarios: Sequence[Scenario], **how: Any
) -> dict[str, dict[str, dict[str, Any] | None]]:
    """All scenarios for all brokers; which broker is first changes from round to round."""
    found: dict[str, dict[str, dict[str, Any] | None]] = {}
    for scenario in scenarios:
        for who in list(BROKERS)[:: 1 if number % 2 == 0 else -1]:
            try:
                report: dict[str, Any] | None = run_one(scenario, BROKERS[who], **how)
            except harness.BenchError as error:
                report = None
                click.echo(f"round {number + 1}  {scenario.name}  {who} failed: {error.message}", err=True)
            else:
                assert report is not None
                value = scenario.value(report)
                click.echo(f"round {number + 1}  {scenario.name:>34}  {who:>9}  {value:>11,.0f}/s", err=True)
            found.setdefault(scenario.name, {})[who] = report
    return found


@click.command("suite")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 99))
@click.option("--seconds", "duration_s", default=3.0, show_default=True, type=click.FloatRange(0.5, 600))
@click.option(
    "--scenario", "only", multiple=True, help="Only scenarios whose name begins so, such as 'fan-out'."
)
@click.option("--full", is_flag=True, help="All 10,000 connections at 100/s as well: 100 s for each broker.")
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def suite(
    rounds: int,
    duration_s: float,
    only: tuple[str, ...],
    full: bool,
    data: Path | None,
    json_path: Path | None,
) -> None:
    """Point to point, fan-out, shared subscription and connections, against mosquitto."""
    scenarios = [each for each in SCENARIOS if not only or each.name.startswith(only)]
    if not scenarios:
        raise harness.BenchError(f"No scenario begins so. There are: {', '.join(s.name for s in SCENARIOS)}.")
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    reports: dict[str, Reports] = {each.name: {who: [] for who in BROKERS} for each in scenarios}
    for number in range(rounds):
        for name, by_broker in run_round(
            number, scenarios, duration_s=duration_s, full=full, data=data
        ).items():
            for who, report in by_broker.items():
                reports[name][who].append(report)
    rows = [row(scenario, reports[scenario.name]) for scenario in scenarios]
    click.echo(harness.table(RATES, [[each[header] for header in RATES] for each in rows]))
    click.echo("")
    click.echo(harness.table(LATENCIES, [[each[header] for header in LATENCIES] for each in rows]))
    result = {"machine": machine, "rounds": rounds, "seconds": duration_s, "rows": rows, "reports": reports}
    harness.finish("suite", result, goals(scenarios, rows), json_path)


RATES = (
    "scenario",
    "homeport/s",
    "mosquitto/s",
    "ratio",
    "goal",
    "our CPU",
    "their CPU",
    "our MiB",
    "their MiB",
    "generator CPU max",
)
LATENCIES = (
    "scenario",
    "our p50 ms",
    "our p95 ms",
    "our p99 ms",
    "their p50 ms",
    "their p95 ms",
    "their p99 ms",
)


def row(scenario: Scenario, reports: Reports) -> dict[str, Any]:
    """Medians over the rounds; None where a broker did not get through a single one."""
    ours, theirs = reports["homeport"], reports["mosquitto"]
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    done = [report for report in (*ours, *theirs) if report is not None]
    found: dict[str, Any] = {
        "scenario": scenario.name,
        "ratio": harness.median([scenario.value(a) / scenario.value(b) for a, b in pairs]) if pairs else None,
        "goal": scenario.ratio_wanted,
        "generator CPU max": max((each["generator_cpu_ratio"] for each in done), default=None),
        "failed": len(ours) + len(theirs) - len(done),
    }
    for who, whose, name in ((ours, "our", "homeport/s"), (theirs, "their", "mosquitto/s")):
        whole = [report for report in who if report is not None]
        found[name] = _median([round(scenario.value(each)) for each in whole])
        found[f"{whose} CPU"] = _median([each["watched_cpu_ratio"] for each in whole])
        found[f"{whose} MiB"] = _median([each["broker_mib"] for each in whole])
        for place, percent in enumerate((50, 95, 99)):
            found[f"{whose} p{percent} ms"] = _median([scenario.latencies_ms(each)[place] for each in whole])
    return found


def goals(scenarios: Sequence[Scenario], rows: Sequence[Mapping[str, Any]]) -> list[Goal]:
    """A ratio for each scenario that has one, and that none failed in any round, whatever the other rounds gave."""
    found = [
        Goal(
            what=f"{scenario.name}, {scenario.measures} times mosquitto",
            value=round(each["ratio"], 2),
            wanted=scenario.ratio_wanted,
            reached=each["ratio"] >= scenario.ratio_wanted,
        )
        for scenario, each in zip(scenarios, rows, strict=True)
        if scenario.ratio_wanted is not None and each["ratio"] is not None
    ]
    failed = sum(each["failed"] for each in rows)
    return [*found, Goal(what="scenarios that failed", value=failed, wanted=0, reached=not failed)]


def _median(values: Sequence[float]) -> float | None:
    return harness.median(values) if values else None
