"""Memory BIOs against non-blocking SSLSockets in the data plane: the same broker, log and disk, one directly after the other.

First the two transports alone, in one process: CPU time for a message, which says most on a machine that has other work. Then in the whole
broker; both acknowledge after fdatasync. In each round the order is turned; a ratio is taken within a round and what is reported are medians.
docs/decisions/0005-tls-transport.md has the figures and what was decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tests.bench import harness
from tests.bench.bench_broker import Load, measure
from tests.bench.harness import BROKER_CORE
from tests.bench.tls_transports_alone import compare
from tests.interop import brokers

LOADS = (
    Load(connections=50, window=400, ratio_wanted=1),
    Load(connections=50, window=1, ratio_wanted=1),
    Load(connections=1_000, window=1, ratio_wanted=1),
)
ALONE_ROUNDS = 100
MODULES = {"MemoryBIO": "appliance.run.broker_process", "SSLSocket": "tests.bench.ssl_socket_broker"}


def reports_of(
    loads: Sequence[Load], *, rounds: int, duration_s: float, data: Path | None
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """All reports by load and transport."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for number in range(rounds):
        for load in loads:
            for name in list(MODULES)[:: 1 if number % 2 == 0 else -1]:

                def start(folder: Path, module: str = MODULES[name]) -> Any:
                    return brokers.homeport(folder, devices=["bench"], core=BROKER_CORE, module=module)

                report = measure(start, load, tls=True, version=4, duration_s=duration_s, data=data)
                found.setdefault((load.name(True), name), []).append(report)
                click.echo(
                    f"round {number + 1}  {load.name(True):>14}  {name:>9}  {report['rate']:>11,.0f} msg/s",
                    err=True,
                )
    return found


def alone(loads: Sequence[Load], *, rounds: int, data: Path | None) -> list[tuple[object, ...]]:
    """Rows of the two transports alone."""
    rows: list[tuple[object, ...]] = []
    with harness.data_folder(data) as folder:
        certificate, key = brokers.make_certificate(folder)
        both = folder / "both.pem"
        both.touch(mode=0o600)
        both.write_bytes(key.read_bytes() + certificate.read_bytes())
        for load in loads:
            taken = compare(both, certificate, count=load.connections, window=load.window, rounds=rounds)
            rows.append((load.name(True), *taken))
    return rows


@click.command("tls-transport")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 99))
@click.option("--seconds", "duration_s", default=3.0, show_default=True, type=click.FloatRange(0.5, 600))
@click.option("--alone", "is_alone", is_flag=True, help="Only the transports alone, without the broker.")
@click.option("--load", "only", multiple=True, help="Only loads whose name begins so, such as '1000 × 1'.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder on the disk to measure; ./var/bench by default."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def tls_transport(
    rounds: int,
    duration_s: float,
    is_alone: bool,
    only: tuple[str, ...],
    data: Path | None,
    json_path: Path | None,
) -> None:
    """Memory BIOs against SSLSockets in the broker's data plane, acknowledged messages per second over TLS."""
    loads = [load for load in LOADS if not only or load.name(True).startswith(only)]
    if not loads:
        raise harness.BenchError(
            f"No load is called so. There are: {', '.join(each.name(True) for each in LOADS)}."
        )
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    rows_alone = alone(loads, rounds=ALONE_ROUNDS, data=data)
    click.echo(harness.table(("load", "MemoryBIO µs CPU", "SSLSocket µs CPU", "ratio"), rows_alone))
    if is_alone:
        harness.finish("tls-transport", {"machine": machine, "alone": rows_alone}, [], json_path)
        return
    reports = reports_of(loads, rounds=rounds, duration_s=duration_s, data=data)
    rows = []
    for load in loads:
        bio, sock = (reports[load.name(True), name] for name in MODULES)
        rows.append(
            (
                load.name(True),
                *(round(harness.median([each["rate"] for each in side])) for side in (bio, sock)),
                harness.median([a["rate"] / b["rate"] for a, b in zip(bio, sock, strict=True)]),
                *(
                    harness.median([each["broker_cpu_ratio"] * 1e6 / each["rate"] for each in side])
                    for side in (bio, sock)
                ),
            )
        )
    headers = ("load", "MemoryBIO/s", "SSLSocket/s", "ratio", "BIO µs CPU/msg", "socket µs CPU/msg")
    click.echo(harness.table(headers, rows))
    result = {
        "machine": machine,
        "alone": rows_alone,
        "reports": {f"{load} {name}": each for (load, name), each in reports.items()},
    }
    harness.finish("tls-transport", result, [], json_path)
