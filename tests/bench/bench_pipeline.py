"""What a message costs from the log to a committed row, stage by stage, without broker and generator.

The log is written by the real writer, read by the real reader; batches are built and committed one after the other in
one thread, as the pipeline does. CPU is of the whole process: DuckDB's own threads count too.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import click

from appliance.alarms.built_in_rules import BUILT_IN
from appliance.core.clock import SystemClock
from appliance.core.config import WatchConfig
from appliance.management.mapping import TopicRouter
from appliance.management.rule import Rule, RuleDefinition, RuleScope
from appliance.management.rule_conditions import NodeWatch, Threshold
from appliance.management.shapes import Shapes
from appliance.management.typed import TypedShapes
from appliance.pipeline.batch import BatchBuilder
from appliance.pipeline.live import LiveView
from appliance.pipeline.watch_feed import Names
from appliance.run.watch_wiring import make_watch
from appliance.watch.watch import Watch
from storage.log.block import Block
from storage.log.reader import LogReader
from storage.telemetry.state import StoreState
from storage.telemetry.store import TelemetryStore
from tests.bench import harness
from tests.bench.harness import Goal
from tests.log_kit import Record, append, open_log

BLOCK_MESSAGES = 2_000
RUN = 5
"""Messages that one connection sends in a row."""


@click.command("pipeline")
@click.option("--messages", default=500_000, show_default=True, type=click.IntRange(10_000, 20_000_000))
@click.option("--devices", default=(50, 1_000, 10_000), show_default=True, multiple=True, type=int)
@click.option("--form", default="device", show_default=True, type=click.Choice(["device", "flat", "mixed"]))
@click.option("--batch", default=25_000, show_default=True, help="Messages per transaction.")
@click.option(
    "--watch",
    "rules",
    default=(-1, 0),
    show_default=True,
    multiple=True,
    type=click.IntRange(-1, 10_000),
    help="Thresholds beside the rules that come with Homeport, and anomalies; -1: nobody watches.",
)
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def pipeline(
    messages: int,
    devices: tuple[int, ...],
    form: str,
    batch: int,
    rules: tuple[int, ...],
    data: Path | None,
    json_path: Path | None,
) -> None:
    """µs of CPU per message of five values: read, build, commit; and how long commits take."""
    results = []
    for count, more in product(devices, rules):
        with harness.data_folder(data) as folder:
            results.append(measure(folder, messages, count, form, batch, more))
    headers = (
        "devices",
        "form",
        "rules",
        "msg/s",
        "µs CPU/msg",
        "read",
        "build",
        "watch",
        "live",
        "commit",
        "roll up",
        "commit p50 ms",
        "p95",
        "max",
    )
    rows = [
        (
            r["devices"], r["form"], r["rules"], r["rate"], r["cpu_us"], r["read_us"], r["build_us"], r["watch_us"], r["live_us"], r["commit_us"], r["roll_us"],
            r["commit_p50_ms"], r["commit_p95_ms"], r["commit_max_ms"],
        )
        for r in results
    ]  # fmt: skip
    click.echo(harness.table(headers, rows))
    first = results[0]
    goals = [
        Goal(
            what=f"CPU per message, {first['devices']} devices, µs",
            value=float(first["cpu_us"]),
            wanted=3.5,
            reached=float(first["cpu_us"]) <= 3.5,
        )
    ]
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    harness.finish("pipeline", {"machine": machine, "results": results}, goals, json_path)


def measure(
    folder: Path, messages: int, devices: int, form: str, batch: int, rules: int
) -> dict[str, float | int | str]:
    """Fill a log, then empty it into a store.

    Args:
        rules: Thresholds beside the built-in rules; -1: nobody watches.
    """
    fill(folder / "log", messages, devices, form)
    store = TelemetryStore.open(folder / "telemetry.duckdb")
    reader = LogReader(folder / "log")
    state = store.read_state()
    builder = BatchBuilder(state, TopicRouter(), Shapes(), TypedShapes())
    live = LiveView(SystemClock())
    watch = watching(state, rules, devices) if rules >= 0 else None
    spent = {"read": 0.0, "build": 0.0, "watch": 0.0, "live": 0.0, "commit": 0.0, "roll": 0.0}
    commits: list[float] = []
    cursor = state.cursor
    began, began_cpu = time.perf_counter(), cpu_s()
    rows = 0
    for blocks in batches(reader, batch, spent):
        at = cpu_s()
        columns = [block.columns() for block in blocks]
        spent["read"] += (after := cpu_s()) - at
        store_batch, update = builder.build(blocks, columns, cursor, lambda _: True)
        spent["build"] += (shaped := cpu_s()) - after
        if watch is not None and update.arrived is not None:
            watch.see(update.arrived, epoch=1, seq=store_batch.after.next_seq)
        spent["watch"] += (built := cpu_s()) - shaped
        wall = time.perf_counter()
        store.commit(store_batch)
        commits.append((time.perf_counter() - wall) * 1_000)
        spent["commit"] += (committed := cpu_s()) - built
        live.apply(update)
        spent["live"] += (lived := cpu_s()) - committed
        # When enough rows wait, as the pipeline does it between two batches; all of it at the end.
        is_last = store_batch.counts.rows + rows == messages * 5
        while store.roll_up(everything=is_last):
            pass
        spent["roll"] += cpu_s() - lived
        cursor = store_batch.after
        rows += store_batch.counts.rows
    elapsed, cpu = time.perf_counter() - began, cpu_s() - began_cpu
    assert rows == messages * 5, f"{rows} rows of {messages} messages"
    store.close()
    reader.close()
    commits.sort()
    return {
        "devices": devices,
        "form": form,
        "rules": rules,
        "messages": messages,
        "rate": messages / elapsed,
        "cpu_us": cpu / messages * 1e6,
        **{f"{stage}_us": seconds / messages * 1e6 for stage, seconds in spent.items()},
        "commit_p50_ms": commits[len(commits) // 2],
        "commit_p95_ms": commits[int(len(commits) * 0.95)],
        "commit_max_ms": commits[-1],
    }


def watching(state: StoreState, rules: int, devices: int) -> Watch:
    """The rules that come with Homeport, anomalies, and so many thresholds, each for one device."""
    chosen = [
        Rule(rule_id=rule_id, version=1, name=rule_id, definition=definition)
        for rule_id, (_, definition) in BUILT_IN.items()
        if not isinstance(definition.condition, NodeWatch)
    ]
    for number in range(rules):
        scope = RuleScope(devices=(f"device-{number % devices:05d}",))
        definition = RuleDefinition(
            severity="P2",
            scope=scope,
            metric="temp",
            condition=Threshold(is_="above", limit=29.0, hysteresis=1.0),
        )
        chosen.append(Rule(rule_id=f"t{number}", version=1, name=f"t{number}", definition=definition))
    watch = make_watch(WatchConfig())
    watch.begin(Names(state.series), chosen, None)
    return watch


def cpu_s() -> float:
    """CPU time of all threads of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def batches(reader: LogReader, messages: int, spent: dict[str, float]) -> Iterator[list[Block]]:
    seq, batch, count = 1, [], 0
    while True:
        at = cpu_s()
        found = reader.read(seq)
        spent["read"] += cpu_s() - at
        if not found:
            break
        for block in found:
            batch.append(block)
            count += block.record_count
            seq = block.next_seq
            if count >= messages:
                yield batch
                batch, count = [], 0
    if batch:
        yield batch


def fill(directory: Path, messages: int, devices: int, form: str) -> None:
    """A log as a broker with that many connections writes it: each sends some messages in a row."""
    choices = random.Random(1)
    writer = open_log(directory)
    now_ms = SystemClock().now_ms() - 60_000
    seqs = [0] * devices
    records: list[Record] = []
    device = 0
    for number in range(messages):
        if number % RUN == 0:
            device = choices.randrange(devices)
        seqs[device] += 1
        at_ms = now_ms + number // 100
        records.append(
            Record(
                payload=payload(choices, form, number, seqs[device], at_ms),
                topic=b"dm/device-%05d/telemetry" % device,
                at_ms=at_ms,
                client_id=f"device-{device:05}",
                principal=f"device-{device:05}",
            )
        )
        if len(records) == BLOCK_MESSAGES:
            append(writer, records)
            records = []
    if records:
        append(writer, records)
    writer.close()


def payload(choices: random.Random, form: str, number: int, seq: int, at_ms: int) -> bytes:
    """Five values, about 100 bytes."""
    r = choices.random
    values = b'{"temp":%.2f,"hum":%.1f,"p":%.1f,"v":%.2f,"i":%d}' % (
        r() * 30, r() * 100, 1000 + r(), 230 + r(), number % 9,
    )  # fmt: skip
    if form == "flat" or (form == "mixed" and number % 3 == 0):
        return values
    if form == "mixed" and number % 3 == 1:
        return b'{"ts":%d,"seq":%d,"v":{"on":%s,"mode":"eco","t":{"in":%.1f,"out":null},"a":1,"b":2},"q":"good"}' % (
            at_ms, seq, (b"true", b"false")[number % 2], r() * 30,
        )  # fmt: skip
    return b'{"ts":%d,"seq":%d,"v":%s}' % (at_ms, seq, values)


if __name__ == "__main__":
    pipeline()
