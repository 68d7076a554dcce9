"""Numbered, forward migrations of the catalog, one SQL file each.

`migrations/NNNN_name.sql` begins with a line `-- compatible-with: N`: the oldest schema version whose programs may
still read and write the result. That line is what lets the previous release run on the new schema. A migration
and its row in schema_version are one transaction; a migration that was applied is never edited, which its
checksum shows.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from dataclasses import dataclass
from functools import cache
from importlib import resources

from appliance.core.errors import StorageError

_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
    version         INTEGER PRIMARY KEY,
    name            TEXT NOT NULL,
    compatible_with INTEGER NOT NULL,
    checksum        TEXT NOT NULL,
    applied_at_ms   INTEGER NOT NULL
) STRICT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    version: int
    name: str
    compatible_with: int
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations of this program, in order; their numbers are dense from 1."""
    found = []
    for file in resources.files("storage.catalog").joinpath("migrations").iterdir():
        if not file.name.endswith(".sql"):
            continue
        number, _, name = file.name.removesuffix(".sql").partition("_")
        sql = file.read_text("utf-8")
        header = re.match(r"-- compatible-with: (\d+)\n", sql)
        assert header, f"{file.name} does not begin with '-- compatible-with: N'"
        found.append(Migration(version=int(number), name=name, compatible_with=int(header.group(1)), sql=sql))
    found.sort(key=lambda migration: migration.version)
    assert [m.version for m in found] == list(range(1, len(found) + 1))
    return tuple(found)


def version(connection: sqlite3.Connection) -> int:
    """The schema's version, 0 for an empty file."""
    exists = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchone()
    if not exists:
        return 0
    (found,) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    return int(found)


def check(connection: sqlite3.Connection, known: tuple[Migration, ...] | None = None) -> None:
    """Refuse a catalog that this program must not touch.

    Raises:
        StorageError: `catalog_too_new`, or `catalog_history_differs` when an applied migration is not ours.
    """
    known = migrations() if known is None else known
    if not version(connection):
        return
    newest = known[-1].version
    for number, name, compatible_with, checksum in connection.execute(
        "SELECT version, name, compatible_with, checksum FROM schema_version ORDER BY version"
    ):
        if number > newest:
            if compatible_with > newest:
                raise StorageError(
                    f"The catalog has schema {number} ({name}), which needs a newer Homeport than this.",
                    hint="Start the newer release again, or restore the backup made before the upgrade.",
                    code="catalog_too_new",
                )
        elif checksum != known[number - 1].checksum:
            raise StorageError(
                f"Migration {number} ({name}) of the catalog is not the one this program has.",
                hint="This catalog was made by a development build; restore a backup or start with an empty data folder.",
                code="catalog_history_differs",
            )


def migrate(
    connection: sqlite3.Connection,
    *,
    node_id: str,
    now_ms: int,
    known: tuple[Migration, ...] | None = None,
) -> list[int]:
    """Bring a catalog to the newest schema.

    Args:
        connection: In autocommit mode, the only writer.
        node_id: 32 hex digits; becomes the origin of this node's rows.
        now_ms: Wall time, UTC ms.
    Returns:
        Versions applied now.
    Raises:
        StorageError: see `check`; or a migration failed, which then changed nothing.
    """
    known = migrations() if known is None else known
    check(connection, known)
    connection.execute(_VERSIONS)
    applied = []
    for migration in known[version(connection) :]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # A second process may have been here between the look and the lock.
            if version(connection) < migration.version:
                _apply(connection, migration, node_id, now_ms)
                applied.append(migration.version)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return applied


def _apply(connection: sqlite3.Connection, migration: Migration, node_id: str, now_ms: int) -> None:
    from storage.catalog import capture  # It needs sqlite-utils, and the broker only checks the version.

    capture.remove(connection)
    for statement in statements(migration.sql):
        connection.execute(statement)
    capture.install(connection)
    connection.execute(
        "INSERT OR IGNORE INTO change_clock (id, node_id, hlc, capture) VALUES (1, ?, 0, 1)", (node_id,)
    )
    connection.execute(
        "INSERT INTO schema_version (version, name, compatible_with, checksum, applied_at_ms) VALUES (?, ?, ?, ?, ?)",
        (migration.version, migration.name, migration.compatible_with, migration.checksum, now_ms),
    )


def statements(script: str) -> list[str]:
    """Cut a script into statements. (`executescript` would commit the transaction it runs in.)"""
    found, lines = [], ""
    for line in script.splitlines(keepends=True):
        lines += line
        if sqlite3.complete_statement(lines):
            found.append(lines)
            lines = ""
    assert not re.sub(r"--.*", "", lines).strip(), "the script ends in the middle of a statement"
    return found
