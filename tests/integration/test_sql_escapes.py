"""Each way out of the SQL box that we could think of, really tried: refused, and nothing was read, written or changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from appliance.core.errors import HomeportError, UsageError
from storage.telemetry.database import run
from storage.telemetry.sql_box import SqlBox
from storage.telemetry.store import TelemetryStore
from tests.sql_kit import escapes, store_with_readings

SECRET = "the-words-in-the-file-outside"


@dataclass
class _World:
    store: TelemetryStore
    folder: Path
    secret: Path
    archive: Path

    def picture(self) -> tuple[object, ...]:
        """Everything that a way out might change."""
        with self.store.reading() as connection:
            rows = run(connection, "SELECT count(*), sum(hash(v)) FROM v_readings v")
            tables = run(
                connection, "SELECT database_name, table_name, sql FROM duckdb_tables() ORDER BY ALL"
            )
            views = run(
                connection,
                "SELECT database_name, view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
            )
            settings = run(
                connection,
                "SELECT name, value FROM duckdb_settings() ORDER BY ALL",
            )
            databases = run(connection, "SELECT database_name FROM duckdb_databases() ORDER BY ALL")
        files = sorted(
            (str(path), path.read_bytes() if "t.duckdb" not in path.name else b"")
            for path in self.folder.rglob("*")
            if path.is_file()
        )
        return rows, tables, views, settings, databases, files


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_World]:
    monkeypatch.setenv("HOMEPORT_ESCAPE", SECRET)
    secret = tmp_path / "secret.txt"
    secret.write_text(f"{SECRET}\n{SECRET}\n")
    store = store_with_readings(tmp_path)
    archive = tmp_path / "archive" / "a.parquet"
    archive.parent.mkdir(exist_ok=True)
    with duckdb.connect() as plain:
        plain.execute(f"COPY (SELECT '{SECRET}' AS device) TO '{archive}' (FORMAT parquet)")
    with store.reading() as connection:
        # Another database that lies beside it, as a backup's or an import's might one day.
        connection.execute("ATTACH ':memory:' AS other")
        connection.execute(f"CREATE TABLE other.main.secrets AS SELECT '{SECRET}' AS secret")
        assert run(connection, f"SELECT device FROM '{archive}'") == [(SECRET,)], (
            "DuckDB itself would read it"
        )
    yield _World(store, tmp_path, secret, archive)
    store.close()


async def _what_became_of(box: SqlBox, text: str) -> str:
    """What is wrong with how it was refused; "" for nothing."""
    try:
        answer = await box.ask(text)
    except HomeportError as error:
        # By the check, before the store saw anything of it: what gets further is a hole that the locks behind it closed.
        is_checked = isinstance(error, UsageError) and error.code in (
            "sql_refused",
            "sql_syntax",
            "sql_too_large",
        )
        return "" if is_checked and error.hint and SECRET not in str(error) else f"{error.code}: {error}"
    return f"answered: {answer.rows[:3]}"


async def test_no_way_out(world: _World) -> None:
    box = SqlBox(world.store, timeout_ms=20_000)
    await box.ask("SELECT 1")
    before = world.picture()
    tried = escapes(world.secret, world.archive)
    assert len(tried) >= 150
    wrong = [(text, said) for text in tried if (said := await _what_became_of(box, text))]
    assert wrong == []
    assert world.picture() == before
    assert os.environ["HOMEPORT_ESCAPE"] == SECRET
    assert box.statistics().refused_total == len(tried)
    box.close()


async def test_the_locks_behind_the_check_hold_by_themselves(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a check that lets everything through, nothing is changed either, and no file outside is read."""
    box = SqlBox(world.store, timeout_ms=2_000)
    await box.ask("SELECT 1")
    monkeypatch.setattr(box._checker, "check", lambda text: None)
    before = world.picture()
    for text in (
        f"SELECT content FROM read_text('{world.secret}')",
        f"SELECT * FROM '{world.secret}'",
        f"COPY (SELECT 1) TO '{world.secret}'",
        f"COPY (SELECT 1) TO '{world.folder / 'new.csv'}'",
        f"ATTACH '{world.folder / 'new.duckdb'}'",
        "SELECT * FROM dead_letters",
        "SELECT * FROM series_of_nobody",
        "INSERT INTO telemetry.main.series VALUES (99, 'x', 'y', 0)",
        "UPDATE telemetry.main.series SET device = 'x'",
        "DELETE FROM telemetry.main.series",
        "DROP TABLE telemetry.main.series",
        "CREATE TABLE telemetry.main.x AS SELECT 1",
        "CREATE OR REPLACE VIEW memory.main.readings AS SELECT 1",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SELECT getenv('HOMEPORT_ESCAPE')",
    ):
        with pytest.raises(HomeportError):
            await box.ask(text)
    assert world.picture() == before
    box.close()
