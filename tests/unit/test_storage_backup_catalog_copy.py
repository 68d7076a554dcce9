"""Copies of the catalog, and which of them this program can use."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError
from storage.backup.catalog_copy import check_migrations, copy_catalog
from storage.catalog import schema
from storage.catalog.catalog import Catalog
from tests.acts import ACT

OURS = tuple((each.version, each.name, each.compatible_with, each.checksum) for each in schema.migrations())
NEWEST = OURS[-1][0]


def test_a_copy_is_one_file_with_everything_that_was_committed(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    with catalog.transaction(ACT):
        catalog.add_device("d1")
    assert copy_catalog(tmp_path / "catalog.db", tmp_path / "copy.db") == OURS
    catalog.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.db", "copy.db"]
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    copy = Catalog.open_read_only(tmp_path / "copy.db", clock=ManualClock())
    assert copy.get_device("d1").device_id == "d1"
    copy.close()


def test_what_is_no_catalog_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"no database at all" * 500)
    with pytest.raises(StorageError) as found:
        copy_catalog(tmp_path / "catalog.db", tmp_path / "copy.db")
    assert found.value.code == "catalog_damaged"
    with pytest.raises(StorageError):
        copy_catalog(tmp_path / "none.db", tmp_path / "copy.db")


def test_an_empty_database_has_no_migrations(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "catalog.db").close()
    assert copy_catalog(tmp_path / "catalog.db", tmp_path / "copy.db") == ()


def test_which_schemas_can_be_used() -> None:
    check_migrations(OURS)
    check_migrations(OURS[:-1])
    check_migrations(())
    check_migrations((*OURS, (NEWEST + 1, "next", NEWEST, "x")))
    with pytest.raises(StorageError) as found:
        check_migrations((*OURS, (NEWEST + 1, "next", NEWEST + 1, "x")))
    assert found.value.code == "catalog_too_new"
    with pytest.raises(StorageError) as found:
        check_migrations(((1, "first", 1, "another"),))
    assert found.value.code == "catalog_history_differs"
