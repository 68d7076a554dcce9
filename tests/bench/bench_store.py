"""Questions over months of readings, beside PostgreSQL 15 with the same rows in the same run; bytes per value; what rollups cost.

Rows come as from a site whose devices all measure at the same pace: batches in order of time, rolled up in between, days
settled once they are over. PostgreSQL has one table (series, ts, value, quality) with a B-tree over (series, ts) and a BRIN
over ts, vacuumed and analysed; both are asked warm, in turns, and medians are compared.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import duckdb
import numpy as np
import trio

from appliance.core.arrays import F64, I64, U32
from appliance.core.clock import ManualClock
from appliance.management.readings import ValueKind
from storage.telemetry.arrow import ArrowTable
from storage.telemetry.batch import DAY_MS, Counts, Cursor, NewestRows, NewSeries, NumberRows, StoreBatch
from storage.telemetry.database import run
from storage.telemetry.reader import TelemetryReader
from storage.telemetry.store import TelemetryStore
from tests.bench import harness
from tests.bench.harness import Goal
from tests.bench.postgres_peer import Postgres, postgres

FIRST_DAY: Final = 20_500
METRICS: Final = ("temperature", "humidity", "pressure", "power", "flow")
BATCH_ROWS: Final = 125_000
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Site:
    devices: int
    days: int
    interval_ms: int

    @property
    def series(self) -> int:
        return self.devices * len(METRICS)

    @property
    def steps(self) -> int:
        """Times at which all of them measure, a day."""
        return DAY_MS // self.interval_ms

    @property
    def rows(self) -> int:
        return self.series * self.steps * self.days

    @property
    def end_ms(self) -> int:
        return (FIRST_DAY + self.days) * DAY_MS


class Walk:
    """Values of all series, one time after the other: each wanders, in steps of 0.01, as a sensor's does."""

    def __init__(self, site: Site) -> None:
        self._chance = np.random.default_rng(1)
        self._now = self._chance.integers(0, 4_000, site.series)

    def next(self, times: int) -> F64:
        """(times, series) values."""
        moves = self._chance.integers(-8, 9, (times, len(self._now)))
        path = self._now + np.cumsum(moves, axis=0)
        self._now = path[-1]
        return path.astype(np.float64) / 100


@dataclass(slots=True)
class Ingest:
    """What a day's ingest took, in ms of wall time and of CPU; each list has one entry per batch or per step."""

    commits_ms: list[float]
    rolls_ms: list[float]
    settles_ms: list[float]
    cpu_s: float = 0.0


class Filler:
    """Fills one store."""

    def __init__(self, site: Site, folder: Path, *, rolls: bool) -> None:
        self.site = site
        self.clock = ManualClock(now_ms=FIRST_DAY * DAY_MS)
        self.store = TelemetryStore.open(folder / "telemetry.duckdb", clock=self.clock)
        self.took = Ingest([], [], [])
        self._rolls = rolls
        self._cursor = Cursor()
        self._series = np.arange(site.series, dtype=np.uint32)

    def day(self, day: int, values: F64) -> None:
        """Commit a day's values, (times, series)."""
        began = time.process_time()
        at_once = max(1, BATCH_ROWS // self.site.series)
        for first in range(0, self.site.steps, at_once):
            part = values[first : first + at_once]
            times = np.arange(first, first + len(part), dtype=np.int64) * self.site.interval_ms + day * DAY_MS
            self._commit(day, times, part)
            if self._rolls:
                self._timed(self.took.rolls_ms, self.store.roll_up)
        if self._rolls:
            self.clock.set_wall((day + 1) * DAY_MS + 3 * HOUR_MS)
            while self._timed(self.took.settles_ms, lambda: self.store.roll_up(everything=True)):
                pass
        self.store.tidy()
        self.took.cpu_s += time.process_time() - began

    def _timed(self, into: list[float], call: Callable[[], bool]) -> bool:
        began = time.perf_counter()
        is_done = call()
        if is_done:
            into.append((time.perf_counter() - began) * 1_000)
        return is_done

    def _commit(self, day: int, times: I64, part: F64) -> None:
        count = part.size
        before, self._cursor = (
            self._cursor,
            Cursor(1, self._cursor.next_seq + count, b"h", int(times[-1])),
        )
        counts = Counts(records=count, readings=count, rows=count)
        batch = StoreBatch(before, self._cursor, counts, [(count, count)])
        if before.next_seq == 1:
            batch.new_series = [
                NewSeries(n, device_of(n), METRICS[n % len(METRICS)], ValueKind.NUMBER)
                for n in range(self.site.series)
            ]
        series: U32 = np.tile(self._series, len(part))
        good = np.zeros(count, np.uint8)
        observed: I64 = np.repeat(times, self.site.series)
        batch.numbers[day] = NumberRows(series, observed, part.ravel(), good)
        newest: I64 = np.full(self.site.series, times[-1])
        batch.newest_numbers = NewestRows(
            self._series, newest, newest, part[-1], [], good[: self.site.series]
        )
        began = time.perf_counter()
        self.store.commit(batch)
        self.took.commits_ms.append((time.perf_counter() - began) * 1_000)
        # Time goes on as it would: ROWS_DUE_AFTER_MS and the like are met.
        self.clock.advance(len(times) * self.site.interval_ms)


def device_of(series: int) -> str:
    return f"device-{series // len(METRICS):05d}"


def load_postgres(peer: Postgres, site: Site, folder: Path) -> float:
    """The same rows; gives how long it took with index and vacuum, s."""
    began = time.perf_counter()
    listed = ", ".join(f"'{metric}'" for metric in METRICS)
    peer.run(
        "CREATE TABLE series (id int PRIMARY KEY, device text NOT NULL, metric text NOT NULL);"
        "CREATE TABLE readings (ts bigint NOT NULL, value double precision NOT NULL, series int NOT NULL, quality smallint NOT NULL);"
        f"INSERT INTO series SELECT n, 'device-' || lpad((n / {len(METRICS)})::text, 5, '0'),"
        f" (ARRAY[{listed}])[n % {len(METRICS)} + 1] FROM generate_series(0, {site.series - 1}) n;"
    )
    walk, series = Walk(site), np.arange(site.series, dtype=np.uint32)
    path, writer = folder / "day.csv", duckdb.connect()
    for day in range(FIRST_DAY, FIRST_DAY + site.days):
        values = walk.next(site.steps)
        table = ArrowTable(values.size)
        table.add(
            "ts", "i64", np.repeat(np.arange(site.steps) * site.interval_ms + day * DAY_MS, site.series)
        )
        table.add("value", "f64", values.ravel()).add("series", "u32", np.tile(series, site.steps))
        writer.register("rows", table)
        writer.execute(
            f"COPY (SELECT ts, value, series, 0 AS quality FROM rows) TO '{path}' (HEADER false)"
        ).fetchall()
        path.chmod(0o644)
        peer.run(f"COPY readings FROM '{path}' (FORMAT csv);")
    path.unlink()
    peer.run(
        "CREATE INDEX readings_series_ts ON readings (series, ts);"
        "CREATE INDEX readings_ts ON readings USING brin (ts);"
        "ALTER TABLE series ADD UNIQUE (device, metric); VACUUM ANALYZE;"
    )
    return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Question:
    """Attributes:
    wanted_ms: The goal for the store. ratio: How many times PostgreSQL's time the goal is.
    """

    name: str
    ask: Callable[[TelemetryReader], Awaitable[Any]]
    sql: str
    wanted_ms: float
    ratio: float


def questions(site: Site) -> list[Question]:
    device = device_of(site.series // 2)
    names = [(device, metric) for metric in METRICS]
    every = [(device_of(n), METRICS[0]) for n in range(0, site.series, len(METRICS))]
    end = site.end_ms
    first = max(end - 90 * DAY_MS, FIRST_DAY * DAY_MS)
    week = max(end - 7 * DAY_MS, first)
    many = site.series * 100

    def by(interval_ms: int, low: int, top: int, of: str) -> str:
        return (
            f"SELECT r.series, ts / {interval_ms} * {interval_ms} AS at, avg(value), min(value), max(value), count(*) FROM readings r"
            f" JOIN series s ON s.id = r.series WHERE {of} AND ts >= {low} AND ts < {top} GROUP BY 1, 2 ORDER BY 1, 2"
        )

    def band(
        asked: Sequence[tuple[str, str]], low: int, top: int, interval_ms: int
    ) -> Callable[[TelemetryReader], Awaitable[Any]]:
        return lambda reader: reader.query_many(
            asked, low, top, aggregation="band", interval_ms=interval_ms, limit_total=many * 100
        )

    mine, day = f"s.device = '{device}'", end - DAY_MS
    one = f"{mine} AND s.metric = '{METRICS[0]}'"
    site_of = f"s.metric = '{METRICS[0]}'"
    return [
        Question(
            "newest of all", lambda reader: reader.newest(),
            "SELECT s.device, s.metric, l.ts, l.value FROM series s CROSS JOIN LATERAL (SELECT ts, value FROM readings r"
            " WHERE r.series = s.id ORDER BY ts DESC LIMIT 1) l", 50, 1,
        ),
        Question("one device's day by the minute", band(names, day, end, 60_000), by(60_000, day, end, mine), 50, 1),
        Question(
            "one metric's last six hours, raw",
            lambda reader: reader.query_many(names[:1], end - 6 * HOUR_MS, end, limit_total=many),
            f"SELECT ts, value, quality FROM readings r JOIN series s ON s.id = r.series WHERE {one}"
            f" AND ts >= {end - 6 * HOUR_MS} AND ts < {end} ORDER BY ts", 50, 1,
        ),
        Question("one device's 90 days by the hour", band(names, first, end, HOUR_MS), by(HOUR_MS, first, end, mine), 200, 10),
        Question(
            "top 10 of the site for a week",
            lambda reader: reader.top(METRICS[0], "max", week, end, 10),
            f"SELECT s.device, max(value) FROM readings r JOIN series s ON s.id = r.series WHERE {site_of}"
            f" AND ts >= {week} AND ts < {end} GROUP BY 1 ORDER BY 2 DESC LIMIT 10", 1_000, 10,
        ),
        Question(
            "the same, a week from 10:07 on",
            lambda reader: reader.top(METRICS[0], "mean", week + 607 * 60_000, end - 607 * 60_000, 10),
            f"SELECT s.device, avg(value) FROM readings r JOIN series s ON s.id = r.series WHERE {site_of}"
            f" AND ts >= {week + 607 * 60_000} AND ts < {end - 607 * 60_000} GROUP BY 1 ORDER BY 2 DESC LIMIT 10", 1_000, 10,
        ),
        Question("a metric of all devices by the day", band(every, first, end, DAY_MS), by(DAY_MS, first, end, site_of), 1_000, 10),
    ]  # fmt: skip


async def ask_all(
    reader: TelemetryReader, peer: Postgres, asked: Sequence[Question], rounds: int
) -> list[dict[str, Any]]:
    found = []
    for question in asked:
        await question.ask(reader)
        peer.timed_ms(question.sql, 1)
        mine: list[float] = []
        theirs: list[float] = []
        for _ in range(rounds):
            began = time.perf_counter()
            await question.ask(reader)
            mine.append((time.perf_counter() - began) * 1_000)
            # The first of a session plans and connects anew.
            theirs.append(peer.timed_ms(question.sql, 2)[1])
        ratios = [b / a for a, b in zip(mine, theirs, strict=True)]
        found.append(
            {
                "question": question.name,
                "homeport_ms": mine,
                "postgres_ms": theirs,
                "median_ms": harness.median(mine),
                "postgres_median_ms": harness.median(theirs),
                "ratio": harness.median(ratios),
            }
        )
    return found


def sizes(store: TelemetryStore, peer: Postgres, folder: Path, rows: int) -> dict[str, float]:
    """Bytes per value: in the store with rollups, in Parquet, in PostgreSQL with and without its indexes."""
    with store.reading() as connection:
        used = "SELECT used_blocks * block_size FROM pragma_database_size() WHERE database_name = 'telemetry'"
        hot = int(run(connection, used)[0][0])
        path = folder / "archive" / "day.parquet"
        path.parent.mkdir(exist_ok=True)
        low = FIRST_DAY * DAY_MS
        count = int(
            run(
                connection,
                "COPY (SELECT device, metric, kind, observed_at, num, text, quality FROM v_readings"
                f" WHERE observed_at >= {low} AND observed_at < {low + DAY_MS} ORDER BY device, metric, observed_at)"
                f" TO '{path}' (FORMAT parquet, COMPRESSION zstd)",
            )[0][0]
        )
    cold = path.stat().st_size / count
    table, whole = (
        float(peer.run(f"SELECT {size}('readings')")) for size in ("pg_table_size", "pg_total_relation_size")
    )
    return {"hot": hot / rows, "cold": cold, "postgres_table": table / rows, "postgres": whole / rows}


@click.command("store")
@click.option(
    "--devices",
    default=1_000,
    show_default=True,
    type=click.IntRange(1, 20_000),
    help="Of five metrics each.",
)
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 90))
@click.option(
    "--interval",
    "interval_s",
    default=600,
    show_default=True,
    type=click.IntRange(1, 3_600),
    help="Seconds between two values.",
)
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1, 100))
@click.option("--small", is_flag=True, help="100 devices, 10 days, one round of 3: a minute, and no goals.")
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def store(
    devices: int, days: int, interval_s: int, rounds: int, small: bool, data: Path | None, json_path: Path | None
) -> None:  # fmt: skip
    """Questions over months of readings beside PostgreSQL, bytes per value, and what rolling up costs the ingest."""
    site = Site(100, 10, interval_s * 1_000) if small else Site(devices, days, interval_s * 1_000)
    rounds = 3 if small else rounds
    click.echo(
        f"{site.devices:,} devices × {len(METRICS)} metrics × {site.days} days, one value each {interval_s} s: {site.rows:,} rows"
    )
    with harness.data_folder(data) as folder:
        plain = measure_plain(site, folder)
        filler = Filler(site, folder, rolls=True)
        walk = Walk(site)
        for day in range(FIRST_DAY, FIRST_DAY + site.days):
            filler.day(day, walk.next(site.steps))
        with postgres(folder) as peer:
            loaded_s = load_postgres(peer, site, folder)
            reader = TelemetryReader(filler.store, timeout_ms=120_000)
            found = trio.run(ask_all, reader, peer, questions(site), rounds)
            bytes_each = sizes(filler.store, peer, folder, site.rows)
        filler.store.close()
        about = harness.machine(folder)
    batches = site.rows / BATCH_ROWS
    took = filler.took
    ingest = {
        "cpu_ms_per_batch_without": plain.cpu_s / (plain_days(site) / site.days * batches) * 1_000,
        "cpu_ms_per_batch_with": took.cpu_s / batches * 1_000,
        "commit_p50_ms_without": harness.median(plain.commits_ms),
        "commit_p50_ms_with": harness.median(took.commits_ms),
        "commit_max_ms_with": max(took.commits_ms),
        "roll_up_max_ms": max(took.rolls_ms, default=0.0),
        "settle_step_max_ms": max(took.settles_ms, default=0.0),
        "settle_ms_per_day": sum(took.settles_ms) / site.days,
    }
    rows = [(f["question"], f["median_ms"], f["postgres_median_ms"], f["ratio"]) for f in found]
    click.echo(harness.table(("question", "Homeport ms", "PostgreSQL ms", "ratio"), rows))
    click.echo(harness.table(("bytes per value", ""), list(bytes_each.items())))
    click.echo(harness.table((f"ingest, a batch of {BATCH_ROWS:,} rows", ""), list(ingest.items())))
    result = {
        "site": {"devices": site.devices, "days": site.days, "interval_s": interval_s, "rows": site.rows},
        "machine": about,
        "questions": found,
        "bytes_per_value": bytes_each,
        "ingest": ingest,
        "postgres_load_s": loaded_s,
    }
    harness.finish("store", result, [] if small else goals_of(found, questions(site)), json_path)


def plain_days(site: Site) -> int:
    """Days that are filled once more without rollups, to know what those cost."""
    return min(site.days, 5)


def measure_plain(site: Site, folder: Path) -> Ingest:
    aside = folder / "plain"
    aside.mkdir()
    filler, walk = Filler(site, aside, rolls=False), Walk(site)
    for day in range(FIRST_DAY, FIRST_DAY + plain_days(site)):
        filler.day(day, walk.next(site.steps))
    filler.store.close()
    (aside / "telemetry.duckdb").unlink()
    return filler.took


def goals_of(found: Sequence[dict[str, Any]], asked: Sequence[Question]) -> list[Goal]:
    goals = []
    for measured, question in zip(found, asked, strict=True):
        value, ratio = measured["median_ms"], measured["ratio"]
        goals.append(
            Goal(
                what=f"{question.name}, ms",
                value=value,
                wanted=question.wanted_ms,
                reached=value <= question.wanted_ms,
            )
        )
        goals.append(
            Goal(
                what=f"{question.name}, × PostgreSQL",
                value=ratio,
                wanted=question.ratio,
                reached=ratio >= question.ratio,
            )
        )
    return goals
