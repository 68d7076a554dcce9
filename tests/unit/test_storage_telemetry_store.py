"""The store: a batch is all there or not at all, its state comes back, and a damaged file is set aside."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError
from appliance.core.limits import DEDUP_BOOT_COUNT_MAX, SET_ASIDE_COUNT_MAX
from storage.telemetry import store as module
from storage.telemetry import writing
from storage.telemetry.batch import Cursor, StoreBatch
from storage.telemetry.database import StoreDamaged, StoreUnavailable, run, set_aside_files
from storage.telemetry.store import TelemetryStore
from tests.log_kit import Record
from tests.pipeline_kit import Bench

NOW = 1_700_000_000_000
DAY = 86_400_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "telemetry.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[TelemetryStore]:
    opened = TelemetryStore.open(path, clock=ManualClock())
    yield opened
    opened.close()


class Source:
    """Batches that follow one another from the store's beginning."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.cursor = Cursor()

    def batch(self, *payloads: bytes, device: str = "d") -> StoreBatch:
        topic = f"dm/{device}/telemetry".encode()
        return self.of([Record(p, topic, NOW, client_id=device, principal=device) for p in payloads])

    def of(self, records: list[Record]) -> StoreBatch:
        made, _ = self.bench.build(records)
        made.before, self.cursor = self.cursor, replace(made.after, hash=bytes([made.after.next_seq % 256]))
        made.after = self.cursor
        return made


def readings(store: TelemetryStore) -> list[tuple[object, ...]]:
    with store.reading() as connection:
        return run(
            connection, "SELECT device, metric, observed_at, num, text, quality FROM v_readings ORDER BY ALL"
        )


def test_a_batch_is_rows_state_and_cursor(store: TelemetryStore, path: Path) -> None:
    source = Source()
    batch = source.batch(
        b'{"ts":%d,"seq":4,"v":{"t":1.5,"on":true,"mode":"eco"}}' % NOW,
        b"junk",
        b'{"ts":%d,"t":2}' % (NOW - DAY),
    )
    store.commit(batch)
    assert readings(store) == [
        ("d", "mode", NOW, None, "eco", 0),
        ("d", "on", NOW, 1.0, None, 0),
        ("d", "t", NOW - DAY, 2.0, None, 0),
        ("d", "t", NOW, 1.5, None, 0),
    ]
    assert store.reading_tables() == [
        "readings_20231113",
        "readings_20231114",
        "readings_other",
        "texts_20231114",
        "texts_other",
    ]
    assert store.read_cursor() == source.cursor
    store.close()
    again = TelemetryStore.open(path)
    state = again.read_state()
    assert state.cursor == source.cursor
    assert (state.totals.readings, state.totals.rows, state.totals.dead_letters) == (2, 4, 1)
    assert {(n.metric, n.value, n.observed_at_ms) for n in state.newest} == {
        ("mode", "eco", NOW),
        ("on", True, NOW),
        ("t", 1.5, NOW),
    }
    assert state.seen.window_now("d").intervals() == [(4, 4)]
    assert len(state.series) == 3
    assert again.statistics().day_tables == 3  # numbers of two days, texts of one
    again.close()


def test_what_is_written_beside_batches_is_there_whole_or_not_at_all(store: TelemetryStore) -> None:
    with store.writing() as connection:
        run(connection, "INSERT INTO days VALUES (5, true, 1, NULL, 0, 0)")

    def write(*statements: str) -> None:
        with store.writing() as connection:
            for statement in statements:
                if not statement:
                    raise KeyError
                run(connection, statement)

    with pytest.raises(KeyError):
        write("INSERT INTO days VALUES (6, true, 1, NULL, 0, 0)", "")
    with pytest.raises(StoreUnavailable) as refused:
        write("INSERT INTO days VALUES (7, true, 1, NULL, 0, 0)", "INSERT INTO nothing VALUES (1)")
    assert refused.value.code == "store_refused"
    store.commit(Source().batch(b'{"t":1}'))
    with store.reading() as connection:
        assert run(connection, "SELECT day FROM days WHERE day < 10") == [(5,)]


def test_the_rows_of_a_batch_lie_in_order_of_their_series(store: TelemetryStore) -> None:
    topics = [f"dm/d{n % 5}/telemetry".encode() for n in range(100)]
    store.commit(Source().of([Record(b'{"ts":%d,"t":1}' % NOW, topic, NOW) for topic in topics]))
    with store.reading() as connection:
        rows = run(connection, "SELECT series FROM readings_20231114 ORDER BY rowid")
    assert len(rows) == 100
    assert sum(a != b for a, b in pairwise([row[0] for row in rows])) == 4


def test_a_question_about_one_series_reads_few_row_groups(store: TelemetryStore) -> None:
    # 100 series, 500 rows of each, in two commits: 25,000 rows a commit, in order of series.
    source = Source()
    for start in (0, 250):
        payloads = [b"[%s]" % b",".join(b'{"ts":%d,"t":1}' % (NOW + start + n) for n in range(250))] * 100
        topics = [b"dm/d%d/telemetry" % n for n in range(100)]
        store.commit(source.of([Record(p, t, NOW) for p, t in zip(payloads, topics, strict=True)]))
    with store.reading() as connection:
        groups = (
            "SELECT rowid // 8192 AS number, min(series) AS low, max(series) AS high FROM readings_20231114"
            " GROUP BY ALL"
        )
        found = run(
            connection, f"SELECT count(*), count(*) FILTER (low <= 50 AND 50 <= high) FROM ({groups})"
        )
        stored = run(
            connection, "SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('readings_20231114')"
        )
    assert found == [(7, 3)]
    assert stored[0][0] >= 7, "the file has smaller row groups than DuckDB's default"


@pytest.mark.parametrize("fold_commits", [1, 3, 1000])
def test_the_state_is_the_same_however_often_it_is_folded(
    store: TelemetryStore, path: Path, monkeypatch: pytest.MonkeyPatch, fold_commits: int
) -> None:
    monkeypatch.setattr(module, "FOLD_COMMITS", fold_commits)
    source = Source()
    for number in range(8):
        source.bench.presence.session_opened("d", "c", NOW + number, "10.0.0.1")
        source.bench.seen.boot("d", f"boot-{number // 2}")
        for device in ("d", f"e{number % 3}"):
            store.commit(
                source.batch(
                    b'{"ts":%d,"seq":%d,"v":{"n":%d,"s":"%d"}}'
                    % (NOW - 9 + number, number * 2, number, number),
                    device=device,
                )
            )
    if fold_commits == 1000:
        store.tidy()
    store.close()
    again = TelemetryStore.open(path)
    state = again.read_state()
    assert {(n.device, n.metric, n.value) for n in state.newest} == {
        *(("d", m, v) for m, v in (("n", 7.0), ("s", "7"))),
        *(
            (f"e{e}", m, v)
            for e, last in ((0, 6), (1, 7), (2, 5))
            for m, v in (("n", float(last)), ("s", str(last)))
        ),
    }
    windows = {
        (w.boot_id, tuple(w.intervals()))
        for b in range(4)
        for w in state.seen.windows(["d"], [f"boot-{b}"])[0]
    }
    assert windows == {(f"boot-{b}", ((b * 4, b * 4), (b * 4 + 2, b * 4 + 2))) for b in range(4)}
    assert state.seen.current_boot_id("d") == "boot-3"
    presence = state.presence.get("d")
    assert presence is not None
    assert (presence.presence, presence.clients, presence.last_seen_at_ms) == ("online", {"c": 8}, NOW + 7)
    again.close()


@pytest.mark.parametrize("fold_commits", [1, 1000])
def test_boots_that_were_dropped_stay_dropped(
    store: TelemetryStore, path: Path, monkeypatch: pytest.MonkeyPatch, fold_commits: int
) -> None:
    monkeypatch.setattr(module, "FOLD_COMMITS", fold_commits)
    source = Source()
    for boot in range(DEDUP_BOOT_COUNT_MAX + 3):
        source.bench.seen.boot("d", f"boot-{boot}")
        store.commit(source.batch(b'{"ts":%d,"seq":1,"v":{"n":1}}' % NOW))
    if fold_commits == 1:
        store.tidy()
    store.close()
    again = TelemetryStore.open(path)
    assert again.read_state().seen.window_count == DEDUP_BOOT_COUNT_MAX
    again.close()


def test_a_batch_that_does_not_add_up_is_refused(store: TelemetryStore) -> None:
    def cases(batch: StoreBatch) -> list[StoreBatch]:
        return [
            replace(batch, counts=replace(batch.counts, readings=0)),
            replace(batch, counts=replace(batch.counts, rows=5)),
            replace(batch, blocks=[(1, 0)]),
            replace(batch, dead_letters=Source().batch(b"x").dead_letters),
        ]

    for wrong in cases(Source().batch(b'{"t":1}')):
        with pytest.raises(StorageError) as caught:
            store.commit(wrong)
        assert caught.value.code == "batch_uneven"
    assert readings(store) == []


def test_a_batch_that_is_not_at_the_cursor_is_refused(store: TelemetryStore) -> None:
    batch = Source().batch(b'{"t":1}')
    store.commit(batch)
    with pytest.raises(StorageError) as caught:
        store.commit(batch)
    assert caught.value.code == "cursor_moved"
    assert len(readings(store)) == 1
    assert store.statistics().commits_failed_total == 1


def test_an_interrupted_commit_leaves_nothing_and_may_be_repeated(
    store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Source().batch(b'{"t":1}')
    original = writing.fold
    started = threading.Event()

    def slow(connection: object, unfolded: object) -> None:
        started.set()
        run(connection, "SELECT count(*) FROM range(1000000000) a, range(1000000) b")  # type: ignore[arg-type]

    monkeypatch.setattr(module, "FOLD_COMMITS", 0)
    monkeypatch.setattr(module, "fold", slow)

    def interrupt() -> None:
        started.wait(10)
        while store.statistics().commits_failed_total == 0:
            store.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(StoreUnavailable) as caught:
        store.commit(batch)
    thread.join()
    assert caught.value.code == "store_deadline"
    assert readings(store) == []
    monkeypatch.setattr(module, "fold", original)
    store.commit(batch)
    assert len(readings(store)) == 1


def test_a_commit_that_failed_after_it_had_happened_counts(
    store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source()
    batch = source.batch(b'{"t":1}')

    def commits_then_fails(connection: object, sql: str, *rest: object) -> object:
        found = run(connection, sql, *rest)  # type: ignore[arg-type]
        if sql == "COMMIT":
            run(connection, "SELECT error('the answer was lost')")  # type: ignore[arg-type]
        return found

    monkeypatch.setattr(module, "run", commits_then_fails)
    store.commit(batch)
    monkeypatch.undo()
    assert store.read_cursor() == source.cursor
    store.commit(source.batch(b'{"t":2}'))
    assert len(readings(store)) == 2


def test_skipped_records_are_counted(store: TelemetryStore) -> None:
    store.skip(Cursor(), Cursor(0, 11, b"", 0))
    assert store.read_cursor().next_seq == 11
    assert store.read_state().totals.skipped in (0, 10)  # the state of the opening, or read anew
    assert store.read_state().totals.skipped == 10
    with pytest.raises(StorageError):
        store.skip(Cursor(), Cursor(0, 12, b"", 0))


def test_a_day_can_be_dropped(store: TelemetryStore) -> None:
    store.commit(Source().batch(b'{"ts":%d,"t":1}' % NOW, b'{"ts":%d,"t":2,"mode":"eco"}' % (NOW - DAY)))
    store.drop_day(NOW // DAY - 1)
    assert [row[3] for row in readings(store)] == [1.0]


def test_old_days_share_a_table(store: TelemetryStore) -> None:
    store.commit(Source().batch(*(b'{"ts":%d,"t":1}' % (NOW - day * DAY) for day in (0, 92, 93, 4000))))
    assert store.reading_tables() == [
        "readings_20230814",
        "readings_20231114",
        "readings_other",
        "texts_other",
    ]
    assert len(readings(store)) == 4


def test_the_oldest_dead_letters_go_first(store: TelemetryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "DEAD_LETTER_COUNT_MAX", 5)
    source = Source()
    for _ in range(3):
        store.commit(source.batch(b"x", b"y", b"z"))
    with store.reading() as connection:
        assert run(connection, "SELECT seq FROM dead_letters ORDER BY seq") == [(n,) for n in (5, 6, 7, 8, 9)]
    assert store.read_state().totals.dead_letters in (0, 9)


@pytest.mark.parametrize("damage", ["garbage", "empty", "truncated", "flipped header", "flipped middle"])
def test_a_damaged_file_is_set_aside_and_begun_anew(path: Path, damage: str) -> None:
    store = TelemetryStore.open(path)
    store.commit(Source().batch(b'{"t":1}'))
    store.tidy()
    store.close()
    content = bytearray(path.read_bytes())
    match damage:
        case "garbage":
            content[:] = b"x" * 5000
        case "empty":
            content.clear()
        case "truncated":
            del content[len(content) // 2 :]
        case "flipped header":
            content[20] ^= 0xFF
        case _:
            # Every block: one of them holds what the store can't do without.
            for at in range(12_300, len(content), 262_144 // 8):
                content[at] ^= 0xFF
    path.write_bytes(content)
    again = TelemetryStore.open(path, clock=ManualClock(now_ms=123))
    assert again.read_cursor() == Cursor()
    assert again.set_aside_path is not None
    assert again.set_aside_path.read_bytes() == content
    assert again.set_aside_path.name == "telemetry.duckdb.set-aside-123"
    assert again.statistics().set_aside == 1
    again.close()


def test_only_some_damaged_files_are_kept(path: Path) -> None:
    for at in range(SET_ASIDE_COUNT_MAX + 2):
        path.write_bytes(b"x" * 5000)
        TelemetryStore.open(path, clock=ManualClock(now_ms=at)).close()
    assert [p.name.rpartition("-")[2] for p in set_aside_files(path)] == ["2", "3", "4"]


@contextmanager
def held_by_another(path: Path) -> Iterator[None]:
    """Another program has the file."""
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import duckdb; c = duckdb.connect({str(path)!r}); print('held', flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
    finally:
        holder.communicate("\n", timeout=10)


def test_a_locked_file_is_not_set_aside(path: Path) -> None:
    with held_by_another(path):
        with pytest.raises(StoreUnavailable):
            TelemetryStore.open(path)
        assert set_aside_files(path) == []


def test_a_store_that_waits_for_its_file_says_why_whatever_it_is_asked(path: Path) -> None:
    why = "can't be used now: .*lock"
    with held_by_another(path):
        store = TelemetryStore.open(path, waits=True)
        with pytest.raises(StoreUnavailable, match=why):
            store.read_state()
        with pytest.raises(StoreUnavailable, match=why):
            store.reopen()
        with pytest.raises(StoreUnavailable, match=why), store.transaction():
            pass
    store.reopen()
    assert store.read_state().cursor == store.read_cursor()
    store.close()
    with pytest.raises(StoreUnavailable, match="is not open"):
        store.read_cursor()


def test_reopening_waits_for_queries_and_reads_the_state_again(store: TelemetryStore) -> None:
    store.commit(Source().batch(b'{"t":1}'))
    with store.reading() as connection:
        run(connection, "SELECT 1")
        with pytest.raises(StoreUnavailable):
            store.reopen()
        with pytest.raises(StoreUnavailable), store.reading():
            pass
    store.reopen()
    assert len(readings(store)) == 1
    assert store.read_state().totals.readings == 1


def test_nothing_reaches_outside_of_the_file(store: TelemetryStore, tmp_path: Path) -> None:
    with store.reading() as connection:
        for sql in (
            f"COPY (SELECT 1) TO '{tmp_path}/x.csv'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
        ):
            with pytest.raises(Exception, match=r"(?i)disabled|cannot|permission"):
                run(connection, sql)


def test_damage_is_told_from_refusal(store: TelemetryStore) -> None:
    import duckdb

    from storage.telemetry.database import as_store_error

    assert isinstance(
        as_store_error(duckdb.FatalException("database has been invalidated"), store.path), StoreDamaged
    )
    assert isinstance(
        as_store_error(duckdb.IOException("No space left on device"), store.path), StoreUnavailable
    )
    assert as_store_error(duckdb.OutOfMemoryException("x"), store.path).code == "store_out_of_memory"
    assert as_store_error(duckdb.BinderException("x"), store.path).code == "store_refused"
