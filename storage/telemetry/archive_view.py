"""`v_archived`: the readings that are in the archive alone, as a view; v_readings has it beside the store's own tables.

A view names its files by their whole path, and DuckDB opens one of them to know its columns. So the view is made again when
the registered files change, and when the store is opened: the folder may have been moved, a file may be gone. Files that are not there are
left out, or the store could not be opened for the lack of one of them; `homeport archive verify` names them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import duckdb

from storage.telemetry.database import STORE_SCHEMA, run

_COLUMNS: Final = "device, metric, observed_at, num, text, quality, kind"
_MAGIC: Final = b"PAR1"
_EMPTY: Final = (
    "SELECT ''::VARCHAR AS device, ''::VARCHAR AS metric, 0::BIGINT AS observed_at, NULL::DOUBLE AS num,"
    " NULL::VARCHAR AS text, 0::UTINYINT AS quality, 0::UTINYINT AS kind WHERE false"
)


def create_archive_view(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Make v_archived over the registered files of days that are not whole.

    Args:
        folder: The archive's.
    """
    found = run(
        connection,
        "SELECT path FROM archive_files WHERE day IN (SELECT day FROM days WHERE NOT is_whole) ORDER BY path",
    )
    paths = [path for (name,) in found if _is_parquet(path := folder / name)]
    listed = ", ".join(_quoted(path) for path in _from_first_usable(connection, paths))
    _create(connection, f"SELECT {_COLUMNS} FROM read_parquet([{listed}])" if listed else _EMPTY)  # noqa: S608


def missing_days(connection: duckdb.DuckDBPyConnection, folder: Path) -> tuple[str, ...]:
    """Days, as YYYY-MM-DD, of which a registered file is gone or broken: the view is without it."""
    found = run(
        connection,
        f"SELECT (DATE '1970-01-01' + f.day)::VARCHAR, f.path FROM {STORE_SCHEMA}.main.archive_files f"  # noqa: S608
        f" JOIN {STORE_SCHEMA}.main.days d ON d.day = f.day WHERE NOT d.is_whole ORDER BY f.day",
    )
    return tuple(dict.fromkeys(day for day, path in found if not _is_parquet(folder / path)))


def _from_first_usable(connection: duckdb.DuckDBPyConnection, paths: list[Path]) -> list[Path]:
    """The files from the first on whose columns DuckDB can read: a view over any before it could not be made.

    Tried on a connection of its own: an error would abort the transaction that the view is made in.
    """
    probe = connection.cursor()
    try:
        for at, path in enumerate(paths):
            try:
                run(probe, f"FROM read_parquet([{_quoted(path)}]) LIMIT 0")
            except (duckdb.IOException, duckdb.InvalidInputException):
                # Broken within: `archive verify` names it, and questions about its day say so.
                continue
            return paths[at:]
        return []
    finally:
        probe.close()


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _is_parquet(path: Path) -> bool:
    """Whether a file is there, and begins and ends as Parquet does."""
    try:
        with path.open("rb") as file:
            if file.read(4) != _MAGIC:
                return False
            file.seek(-4, os.SEEK_END)
            return file.read(4) == _MAGIC
    except OSError:
        return False


def _create(connection: duckdb.DuckDBPyConnection, select: str) -> None:
    run(connection, f"CREATE OR REPLACE VIEW v_archived AS {select}")
