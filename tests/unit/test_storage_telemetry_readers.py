"""Connections for questions: none while the store is opened anew, and whoever has one is interrupted."""

from __future__ import annotations

import duckdb
import pytest

from storage.telemetry.database import StoreUnavailable, run
from storage.telemetry.readers import Readers


@pytest.fixture
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    run(connection, "ATTACH ':memory:' AS telemetry")
    return connection


def test_nobody_is_let_in_while_closed(database: duckdb.DuckDBPyConnection) -> None:
    readers = Readers()
    with readers.reading(database.cursor) as connection:
        assert run(connection, "SELECT 1") == [(1,)]
        with pytest.raises(StoreUnavailable, match="still use"):
            readers.close()
        with pytest.raises(StoreUnavailable, match="opened anew"), readers.reading(database.cursor):
            pass
    readers.close()
    readers.open()
    with readers.reading(database.cursor) as connection:
        assert run(connection, "SELECT 2") == [(2,)]
