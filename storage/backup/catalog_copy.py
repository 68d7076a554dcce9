"""A consistent copy of the catalog's file while it is written to: SQLite's own backup, in one step, checked."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

from appliance.core.errors import StorageError
from storage.catalog import schema
from storage.catalog.database import translated

Migrations = tuple[tuple[int, str, int, str], ...]
"""(version, name, compatible with, checksum), in order."""


def copy_catalog(source: Path, target: Path) -> Migrations:
    """Copy the catalog as of one moment, as one file; writers go on meanwhile. Blocks.

    Args:
        target: Not there yet; mode 0600.
    Returns:
        The migrations it has.
    Raises:
        StorageError: the catalog is damaged (`catalog_damaged`) or can't be read, or the disk is full.
    """
    target.touch(mode=0o600)
    with (
        translated(),
        contextlib.closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as live,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode = DELETE")
        found = [row[0] for row in copy.execute("PRAGMA quick_check(1)")]
        if found != ["ok"]:
            raise StorageError(
                f"The catalog is damaged: {found[0]}.",
                hint="Stop Homeport and restore an older backup; this one is not made.",
                code="catalog_damaged",
            )
        return migrations_of(copy)


def migrations_of(connection: sqlite3.Connection) -> Migrations:
    """The migrations that a catalog has."""
    if not schema.version(connection):
        return ()
    rows = connection.execute(
        "SELECT version, name, compatible_with, checksum FROM schema_version ORDER BY version"
    )
    return tuple((int(v), str(n), int(c), str(s)) for v, n, c, s in rows)


def check_migrations(found: Migrations) -> None:
    """Refuse a catalog that this program can't use, by its migrations alone.

    Raises:
        StorageError: `catalog_too_new`, `catalog_history_differs`.
    """
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(
            "CREATE TABLE schema_version (version INTEGER, name TEXT, compatible_with INTEGER, checksum TEXT)"
        )
        connection.executemany("INSERT INTO schema_version VALUES (?, ?, ?, ?)", found)
        schema.check(connection)
