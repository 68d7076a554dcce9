"""What a question met that can't be read: noted by whoever asked, looked at by whoever mends it."""

from __future__ import annotations

import duckdb

from appliance.core.errors import StorageError
from storage.telemetry.database import StoreDamaged, run


class Damage:
    """The last thing that was noted. From any thread: a reference is replaced, nothing more."""

    def __init__(self) -> None:
        self._noted: StoreDamaged | None = None

    def note(self, error: StorageError) -> StorageError:
        """Take note of an error if it says that the file is damaged; gives it back, to be raised."""
        if isinstance(error, StoreDamaged):
            self._noted = error
        return error

    def take(self) -> StoreDamaged | None:
        """What was noted since the last call."""
        noted, self._noted = self._noted, None
        return noted


def damaged_tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Read every table whole, and name those that can't be. Takes seconds a gigabyte; between two tables, another may be dropped."""
    found = []
    names = run(connection, "SELECT table_name FROM duckdb_tables() WHERE NOT temporary ORDER BY table_name")
    for (name,) in names:
        try:
            # A hash of all of each row: lowest and highest values alone are known without reading.
            run(connection, f"SELECT bit_xor(hash(t)) FROM {name} t")  # noqa: S608 - the store's own names
        except duckdb.InterruptException:
            raise
        except duckdb.CatalogException:
            continue
        except duckdb.Error:
            found.append(str(name))
    return found
