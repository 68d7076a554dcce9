"""Thousands of clients reconnect at once: when all are served, and what those notice who are connected."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from tests.bench import harness
from tests.bench.bench_broker import Start, start_homeport, start_mosquitto
from tests.bench.harness import GENERATOR_CORE, BenchError, Goal
from tests.interop.brokers import ROOT, LiveBroker, pinned

SERVED_S_WANTED: Final = 60.0
DURING_P99_MS_WANTED: Final = 250.0
"""What “keep their latency” is taken to mean: a reading is acknowledged within a quarter of a second all the time."""
GIVE_UP_S: Final = 180.0
SEED: Final = 20261127
PHASES: Final = ("before", "during", "after")


@click.command("storm")
@click.option(
    "--count",
    default=10_000,
    show_default=True,
    type=click.IntRange(10, 10_000),
    help="Who reconnect at once.",
)
@click.option(
    "--connected", default=50, show_default=True, type=click.IntRange(1, 1000), help="Who publish meanwhile."
)
@click.option("--rate", default=20.0, show_default=True, help="Messages a second of each, one at a time.")
@click.option("--seconds", "phase_s", default=5.0, show_default=True, help="Before and after the storm.")
@click.option("--peer/--no-peer", default=False, show_default=True, help="Measure mosquitto as well.")
@click.option(
    "--think-ms", default=0, show_default=True, help="What each one's own half of a TLS handshake takes it."
)
@click.option("--over", type=click.Choice(["both", "tcp", "tls"]), default="both", show_default=True)
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def storm(
    count: int,
    connected: int,
    rate: float,
    phase_s: float,
    peer: bool,
    think_ms: int,
    over: str,
    data: Path | None,
    json_path: Path | None,
) -> None:
    """All clients reconnect at once while others publish: seconds until all are served, latency before, during, after."""
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    starts: list[tuple[str, Start]] = [("homeport", start_homeport)]
    if peer:
        starts.append(("mosquitto", start_mosquitto))
    results, goals, rows = [], [], []
    for name, start in starts:
        for tls in {"both": (False, True), "tcp": (False,), "tls": (True,)}[over]:
            with harness.data_folder(data) as folder, start(folder) as broker:
                result = _one(broker, count, connected, rate, phase_s, think_ms, tls=tls)
            kind = "TLS" if tls else "TCP"
            results.append({"broker": name, "transport": kind, **result})
            served = result["storm"]
            for phase in PHASES:
                took = result["probe"].get(phase, {"count": 0})
                rows.append(
                    (
                        name,
                        kind,
                        phase,
                        took["count"],
                        *(took.get(part) for part in ("p50", "p95", "p99", "highest")),
                    )
                )
            click.echo(
                f"{name}, {kind}: {served['served']} of {count} served in {served['served_s']:.1f} s; each one "
                f"p50 {served['each_s'].get('p50', 0):.2f} s, p99 {served['each_s'].get('p99', 0):.2f} s; "
                f"failed attempts {served['failures'] or 'none'}; broker CPU {result['broker_cpu_s']:.1f} s"
            )
            if name == "homeport":
                is_served = served["served"] == count and served["served_s"] <= SERVED_S_WANTED
                during = result["probe"].get("during", {}).get("p99", 0.0)
                goals += [
                    Goal(
                        what=f"{count} clients reconnecting at once served, {kind}, s",
                        value=round(served["served_s"], 1),
                        wanted=SERVED_S_WANTED,
                        reached=is_served,
                    ),
                    Goal(
                        what=f"acknowledgement of those connected meanwhile, {kind}, p99, ms",
                        value=round(during, 1),
                        wanted=DURING_P99_MS_WANTED,
                        reached=during <= DURING_P99_MS_WANTED,
                    ),
                ]
    headers = ("broker", "over", "phase", "messages", "p50 ms", "p95 ms", "p99 ms", "highest ms")
    click.echo("\n" + harness.table(headers, rows))
    harness.finish("storm", {"machine": machine, "count": count, "results": results}, goals, json_path)


def _one(
    broker: LiveBroker, count: int, connected: int, rate: float, phase_s: float, think_ms: int, *, tls: bool
) -> dict[str, Any]:
    """One storm on one broker."""
    credential = broker.credentials[0] if broker.credentials else None
    options = {
        "host": broker.host,
        "port": broker.tls_port if tls else broker.port,
        "tls": tls,
        "ca_file": str(broker.ca_file),
        "username": credential.username if credential else "bench",
        "password": credential.password if credential else "",
    }
    with clients("probe", {**options, "count": connected, "rate_per_client": rate}) as probe:
        _expect(probe, "ready")
        _say(probe, "before")
        time.sleep(phase_s)
        before_s = broker.cpu_s()
        _say(probe, "during")
        with clients(
            "storm",
            {**options, "count": count, "seed": SEED, "give_up_s": GIVE_UP_S, "think_s": think_ms / 1000},
        ) as comers:
            served = json.loads(read_line(comers))
            _say(probe, "after")
            cpu_s = broker.cpu_s() - before_s
            time.sleep(phase_s)
            assert probe.stdin is not None
            probe.stdin.close()
            took = json.loads(read_line(probe))
    return {"storm": served, "probe": took, "broker_cpu_s": cpu_s}


@contextmanager
def clients(kind: str, options: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A process of clients; tokens go through standard input."""
    process = subprocess.Popen(
        pinned(GENERATOR_CORE, [sys.executable, "-m", "tests.bench.storm_clients", kind]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        _say(process, json.dumps(options))
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise BenchError("Clients of the storm ended before they had an answer; their error stands above.")
    return line


def _expect(process: subprocess.Popen[str], word: str) -> None:
    line = read_line(process).strip()
    if line != word:
        raise BenchError(f"Clients of the storm said {line!r} instead of {word!r}.")
