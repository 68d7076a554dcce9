"""What it costs to read a site as one log: beside the plain reader, and while a copy of another node is worked off.

The same blocks in turn as one log, as a site without others, and as the copy of another node: read, and built into batches as the pipeline
does it. Rounds alternate, so that what else the machine does falls on all; the figure is CPU per message, the best round of each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click

from appliance.core.clock import SystemClock
from appliance.management.mapping import TopicRouter
from appliance.management.shapes import Shapes
from appliance.management.typed import TypedShapes
from appliance.pipeline.batch import BatchBuilder
from storage.log.block import Block
from storage.log.reader import LogReader
from storage.log.source import LogSource
from storage.site import SiteOrder, SiteReader
from storage.telemetry.batch import Cursor
from storage.telemetry.store import TelemetryStore
from tests.bench import harness
from tests.bench.bench_pipeline import BLOCK_MESSAGES, cpu_s, fill
from tests.bench.harness import Goal
from tests.log_kit import NODE_ID, append, open_log
from tests.site_kit import NODES, record
from tests.storage_log_kit import QuickDisk

BATCH = 25_000


@click.command("site")
@click.option("--messages", default=500_000, show_default=True, type=click.IntRange(10_000, 20_000_000))
@click.option("--copy", default=10_000_000, show_default=True, help="Records of the copy that is worked off.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def site(messages: int, copy: int, rounds: int, data: Path | None, json_path: Path | None) -> None:
    """µs of CPU per message, read alone and read and built; catching up with a copy."""
    with harness.data_folder(data) as folder:
        results = compared(folder / "compared", messages, rounds)
        caught = caught_up(folder / "copy", copy)
        machine = harness.machine(folder)
    rows = [(name, *each) for name, each in results.items()]
    click.echo(harness.table(("read as", "read µs/msg", "read and built µs/msg"), rows))
    click.echo(
        f"A copy of {copy} records: read in {caught['seconds']:.1f} s ({caught['rate']:.0f} records/s, "
        f"{caught['cpu_us']:.3f} µs CPU each), {caught['entries']:.0f} entries of the order."
    )
    ratio = results["a site without others"][1] / results["one log"][1]
    goals = [
        Goal(what="a site without others beside one log", value=ratio, wanted=1.02, reached=ratio <= 1.02)
    ]
    harness.finish("site", {"machine": machine, "results": results, "caught_up": caught}, goals, json_path)


def compared(folder: Path, messages: int, rounds: int) -> dict[str, tuple[float, float]]:
    """By how it is read: (µs to read, µs to read and build) of the best round."""
    log = folder / "log"
    fill(log, messages, 1_000, "device")
    copied = folder / "replicas" / NODES[1] / "telemetry"
    copied.parent.mkdir(parents=True)
    copied.symlink_to(log)
    own = folder / "own"
    writer = open_log(own)
    append(writer, [record("x")])
    writer.close()
    ways: dict[str, Callable[[], LogSource]] = {
        "one log": lambda: LogReader(log),
        "a site without others": lambda: reader_of(folder / "none", log, folder / "nobody", []),
        "another node's copy": lambda: reader_of(folder / "site", own, folder / "replicas", [NODES[1]]),
    }
    best = dict.fromkeys(ways, (1000000000.0, 1000000000.0))
    for _ in range(rounds):
        for name, way in ways.items():
            found = measured(way(), folder / "store.duckdb", messages)
            best[name] = (min(best[name][0], found[0]), min(best[name][1], found[1]))
    return best


def reader_of(directory: Path, own: Path, replicas: Path, nodes: list[str]) -> SiteReader:
    order = SiteOrder(
        directory,
        own_log=own,
        own_id=NODE_ID.hex(),
        replicas=replicas,
        nodes=lambda: nodes,
        clock=SystemClock(),
        disk=QuickDisk(),
    )
    return SiteReader(order, takes_turns=True)


def measured(reader: LogSource, store: Path, messages: int) -> tuple[float, float]:
    state = TelemetryStore.open(store).read_state()
    builder = BatchBuilder(state, TopicRouter(), Shapes(), TypedShapes())
    cursor, blocks, count, seq = Cursor(), list[Block](), 0, 1
    reading = building = 0.0
    while count < messages:
        at = cpu_s()
        reader.head()
        found = reader.read(seq)
        reading += (read := cpu_s()) - at
        blocks += found
        seq = found[-1].next_seq if found else seq
        if sum(len(block.body) for block in blocks) and (
            sum(block.record_count for block in blocks) >= BATCH or not found
        ):
            columns = [block.columns() for block in blocks]
            batch, _ = builder.build(blocks, columns, cursor, lambda _: True)
            building += cpu_s() - read
            cursor, blocks = batch.after, []
            count += batch.counts.readings
    reader.close()
    return reading / messages * 1e6, (reading + building) / messages * 1e6


def caught_up(folder: Path, records: int) -> dict[str, float]:
    """Read a large copy to its end, own records in between."""
    copied = folder / "replicas" / NODES[1] / "telemetry"
    writer = open_log(copied)
    block = [record("x" * 100, f"d{at % 50}") for at in range(BLOCK_MESSAGES)]
    for _ in range(records // BLOCK_MESSAGES):
        append(writer, block)
    writer.close()
    own = open_log(folder / "own")
    append(own, [record("own")])
    reader = reader_of(folder / "site", folder / "own", folder / "replicas", [NODES[1]])
    began, began_cpu, seq, turns = time.perf_counter(), cpu_s(), 1, 0
    while seq < records:
        head = reader.head().next_seq
        while seq < head:
            seq = reader.read(seq)[-1].next_seq
        turns += 1
        if turns % 10 == 0:
            append(own, [record("own")])
    elapsed, cpu = time.perf_counter() - began, cpu_s() - began_cpu
    own.close()
    reader.close()
    order_bytes = (folder / "site" / "order").stat().st_size
    return {
        "seconds": elapsed,
        "rate": records / elapsed,
        "cpu_us": cpu / records * 1e6,
        "entries": (order_bytes - 4096) // 76,
    }
