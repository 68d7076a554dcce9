"""One connection: opening, transactions, and SQLite's errors in our words."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import HomeportError, StorageError, UsageError
from storage.catalog import Catalog
from storage.catalog.database import translated

NODE = bytes(range(16))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=NODE)
    yield opened
    opened.close()


def test_the_file_is_private_durable_and_wipes_what_is_deleted(tmp_path: Path, catalog: Catalog) -> None:
    assert stat.S_IMODE((tmp_path / "catalog.db").stat().st_mode) == 0o600
    pragmas = {
        name: catalog.rows(f"PRAGMA {name}")[0][0]
        for name in ("journal_mode", "synchronous", "secure_delete")
    }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


def test_a_path_with_signs_that_mean_something_in_a_uri(tmp_path: Path) -> None:
    path = tmp_path / "a?b#c%20 d.db"
    Catalog.open(path, clock=ManualClock(), node_id=NODE).close()
    Catalog.open_read_only(path, clock=ManualClock()).close()
    assert path.exists()


def test_another_nodes_catalog_is_refused(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(StorageError) as refused:
        Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    assert refused.value.code == "catalog_of_another_node"


def test_a_file_that_is_no_catalog_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"this is text, and long enough to be read as a page" * 100)
    with pytest.raises(StorageError) as refused:
        Catalog.open(path, clock=ManualClock(), node_id=NODE)
    assert refused.value.code == "catalog_damaged"
    with pytest.raises(StorageError):
        Catalog.open_read_only(tmp_path / "missing.db", clock=ManualClock())


def test_a_reader_can_not_write(tmp_path: Path, catalog: Catalog) -> None:
    reader = Catalog.open_read_only(tmp_path / "catalog.db", clock=ManualClock())
    with pytest.raises(UsageError):
        reader.add_device("d")
    reader.close()


def test_a_transaction_within_another_is_part_of_it(catalog: Catalog) -> None:
    def fail() -> None:
        with catalog.transaction():
            with catalog.transaction():
                catalog.add_device("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert catalog.device_ids() == []
    with catalog.transaction():
        catalog.add_device("a")
        catalog.add_device("b")
    assert [change.key for change in catalog.last_changes] == ["a", "b"]


@pytest.mark.parametrize(
    ("sqlite_code", "code"),
    [
        (sqlite3.SQLITE_BUSY, "catalog_locked"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "catalog_locked"),
        (sqlite3.SQLITE_INTERRUPT, "catalog_timeout"),
        (sqlite3.SQLITE_FULL, "disk_full"),
        (sqlite3.SQLITE_CORRUPT, "catalog_damaged"),
        (sqlite3.SQLITE_NOTADB, "catalog_damaged"),
        (sqlite3.SQLITE_IOERR_FSYNC, "catalog_failed"),
    ],
)
def test_errors_carry_a_code_and_the_next_step(sqlite_code: int, code: str) -> None:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = sqlite_code
    with pytest.raises(HomeportError) as raised, translated():
        raise error
    assert raised.value.code == code
    assert raised.value.hint
    assert raised.value.__cause__ is error


def test_a_locked_catalog_is_unavailable_and_not_damaged(tmp_path: Path, catalog: Catalog) -> None:
    catalog.connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(HomeportError) as raised:
        catalog.add_device("d")
    assert raised.value.code == "catalog_locked"
    other.execute("ROLLBACK")
    other.close()
    assert catalog.add_device("d").device_id == "d"


def with_statistics_to_write(path: Path) -> Catalog:
    opened = Catalog.open(path, clock=ManualClock(), node_id=NODE)
    opened.add_device("d")
    assert opened.get_device("d").device_id == "d"
    assert opened.rows("PRAGMA optimize(-1)"), "closing has something to do"
    return opened


def assert_closed(catalog: Catalog) -> None:
    with pytest.raises(sqlite3.ProgrammingError):
        catalog.connection.execute("SELECT 1")


def test_it_closes_while_another_program_writes_and_leaves_the_statistics_to_it(tmp_path: Path) -> None:
    closing = with_statistics_to_write(tmp_path / "catalog.db")
    other = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    closing.close()
    assert_closed(closing)
    other.execute("ROLLBACK")
    assert other.execute("SELECT device_id FROM devices").fetchall() == [("d",)]
    other.close()


def test_a_writer_that_closes_alone_leaves_statistics(tmp_path: Path) -> None:
    with_statistics_to_write(tmp_path / "catalog.db").close()
    other = sqlite3.connect(tmp_path / "catalog.db")
    assert other.execute("SELECT DISTINCT tbl FROM sqlite_stat1").fetchall()
    other.close()


def test_what_else_keeps_statistics_from_being_written_is_said_and_it_is_closed(tmp_path: Path) -> None:
    closing = with_statistics_to_write(tmp_path / "catalog.db")
    closing.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StorageError) as raised:
        closing.close()
    assert raised.value.code == "catalog_failed"
    assert_closed(closing)
