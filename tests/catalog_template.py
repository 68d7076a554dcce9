"""The schema of a new catalog, made by the real migrations once in a process and copied from then on.

Thousands of tests open a new catalog, and its migrations are most of what they would do. What a copy holds is what the migrations make
(tests/unit/test_storage_catalog_schema.py compares); tests of the migrations, and processes that tests start, run them.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from types import SimpleNamespace

from storage.catalog import schema
from storage.catalog.schema import Migration


@cache
def _template(known: tuple[Migration, ...]) -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    made.execute("PRAGMA foreign_keys = ON")
    schema.migrate(made, node_id="0" * 32, now_ms=0, known=known)
    return made


def migrate(connection: sqlite3.Connection, *, node_id: str, now_ms: int) -> list[int]:
    """As schema.migrate; an empty catalog is one that nobody else opens just now."""
    if schema.version(connection):
        return schema.migrate(connection, node_id=node_id, now_ms=now_ms)
    known = schema.migrations()
    template = _template(known)
    template.backup(connection)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE change_clock SET node_id = ?", (node_id,))
    connection.execute("UPDATE schema_version SET applied_at_ms = ?", (now_ms,))
    connection.execute("COMMIT")
    return [each.version for each in known]


SCHEMA = SimpleNamespace(migrate=migrate, check=schema.check, version=schema.version)
"""In place of the module `schema`, where a catalog is opened."""
