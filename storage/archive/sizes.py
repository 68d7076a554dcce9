"""How large the store's file is, free blocks counted: DuckDB gives what was deleted back to itself, not to the disk."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from storage.telemetry.database import run


@dataclass(frozen=True, slots=True)
class StoreSize:
    """Of the store's file, bytes. free_bytes: Blocks within it that new readings take first."""

    used_bytes: int = 0
    free_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        return self.used_bytes + self.free_bytes


def read_size(connection: duckdb.DuckDBPyConnection) -> StoreSize:
    """As of the last checkpoint."""
    found = run(
        connection,
        "SELECT block_size * used_blocks, block_size * free_blocks FROM pragma_database_size()"
        " WHERE database_name = current_database()",
    )
    return StoreSize(*map(int, found[0]))
