"""A commit of 20,000 messages of five values five times a second, alone and beside each heavy question in SQL: without a broker.

On a machine that has other things to do this says more than bench_heavy.py: alone and beside are seconds apart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
import trio

from appliance.core.errors import HomeportError, StorageError
from storage.telemetry.batch import StoreBatch
from storage.telemetry.sql_box import SqlBox
from storage.telemetry.store import TelemetryStore
from tests.bench import harness
from tests.bench.bench_heavy import QUESTIONS, fill
from tests.bench.harness import Goal
from tests.bench.probes import percentile
from tests.log_kit import Record
from tests.pipeline_kit import Bench

MESSAGES = 20_000
INTERVAL_S = 0.2
COMMIT_MS_WANTED = 1_000.0
"""A commit that takes so long now and then is caught up with; the deadline is 3 s."""


@click.command("commits")
@click.option("--stored", default=20_000_000, show_default=True, type=click.IntRange(0), help="Rows before.")
@click.option("--seconds", default=5.0, show_default=True, help="For each question, at least.")
@click.option("--threads", default=2, show_default=True, help="As store.threads.")
@click.option("--memory", "memory_mib", default=512, show_default=True, help="As store.memory_limit_mib.")
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def commits(
    stored: int, seconds: float, threads: int, memory_mib: int, data: Path | None, json_path: Path | None
) -> None:
    """How long commits take beside heavy questions."""
    names = [f"bench-{index:05d}" for index in range(1_000)]
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
        fill(folder / "data", names, stored)
        store = TelemetryStore.open(
            folder / "data" / "telemetry.duckdb", threads=threads, memory_limit_mib=memory_mib
        )
        box = SqlBox(store, memory_limit_mib=memory_mib)
        rows: list[tuple[str, float, float, float, int, str]] = []

        async def beside(what: str, ask: Callable[[], Awaitable[str]]) -> None:
            with _writing(store, names) as writer:
                deadline = time.monotonic() + seconds
                said = set()
                while time.monotonic() < deadline:
                    said.add(await ask())
            taken = writer.times_ms
            rows.append(
                (
                    what,
                    percentile(taken, 50),
                    percentile(taken, 95),
                    max(taken),
                    writer.failed,
                    ", ".join(sorted(said)),
                )
            )

        async def all_of_them() -> None:
            await beside("alone", _nothing)
            for what, sql in QUESTIONS.items():

                async def ask(sql: str = sql) -> str:
                    try:
                        answer = await box.ask(sql)
                    except HomeportError as error:
                        return error.code
                    return f"{len(answer.rows)} rows"

                await beside(what, ask)

        trio.run(all_of_them)
        box.close()
        store.close()
    click.echo(harness.table(("beside", "p50 ms", "p95 ms", "max ms", "failed", "the question"), rows))
    worst, failed = max(row[2] for row in rows), sum(row[4] for row in rows)
    goals = [
        Goal(
            what="commit p95 ms, worst",
            value=round(worst),
            wanted=COMMIT_MS_WANTED,
            reached=worst < COMMIT_MS_WANTED,
        ),
        Goal(what="failed commits", value=failed, wanted=0, reached=failed == 0),
    ]
    harness.finish("commits", {"machine": machine, "rows": rows}, goals, json_path)


async def _nothing() -> str:
    await trio.sleep(0.1)
    return ""


class _Writer:
    def __init__(self, store: TelemetryStore, batch: StoreBatch) -> None:
        self.times_ms: list[float] = []
        self.failed = 0
        self._store = store
        self._batch = batch
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        batch = self._batch
        while not self._stop.is_set():
            batch.before = self._store.read_cursor()
            batch.after = replace(batch.before, next_seq=batch.before.next_seq + MESSAGES)
            started = time.perf_counter()
            try:
                self._store.commit(batch)
            except StorageError:
                self.failed += 1
            taken_s = time.perf_counter() - started
            self.times_ms.append(taken_s * 1_000)
            batch.new_series.clear()
            self._stop.wait(max(INTERVAL_S - taken_s, 0))


@contextmanager
def _writing(store: TelemetryStore, names: list[str]) -> Iterator[_Writer]:
    now_ms = time.time_ns() // 1_000_000
    form = b'{"ts":%d,"v":{"temperature":%d.5,"humidity":1,"power":2,"voltage":3,"battery":4}}'
    records = [
        Record(form % (now_ms + n, n % 50), f"dm/{names[n % len(names)]}/telemetry".encode(), now_ms)
        for n in range(MESSAGES)
    ]
    batch, _ = Bench().build(records)
    writer = _Writer(store, batch)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()
