"""Opening the DuckDB file: its settings, what its errors mean, and setting a damaged one aside.

A damaged store is no loss, only a delay: it is renamed, kept for a post-mortem (SET_ASIDE_COUNT_MAX of them), and
an empty one is filled from the log. What is merely in the way (a lock, rights, a full disk) is never set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import duckdb

from appliance.core.errors import StorageError
from appliance.core.limits import SET_ASIDE_COUNT_MAX, SQL_NICENESS, SQL_TEMPORARY_DISK_MIB_MAX
from storage.telemetry.niceness import nicely


class StoreDamaged(StorageError):  # noqa: N818 - as in the error tree
    """The file can't be read as a store: set it aside and fill a new one from the log."""

    default_code = "store_damaged"


class StoreUnavailable(StorageError):  # noqa: N818
    """The store can't take this now; the same again later is right."""

    default_code = "store_unavailable"


CHECKPOINT_BYTES: Final = 64 * 1024 * 1024
"""Size of the write-ahead log at which a commit also checkpoints. Measured in DESIGN.md."""

ROW_GROUP_ROWS: Final = 8_192
"""Rows that share one entry of lowest and highest values. A batch is written in order of series, so that a question about
one series skips nearly all row groups of it; with DuckDB's default, 122,880 rows, it reads them all. Measured in DESIGN.md."""
STORE_SCHEMA: Final = "telemetry"

_ENVIRONMENTAL: Final = (
    "could not set lock",
    "permission denied",
    "too many open files",
    "read-only file system",
    "input/output error",
)
"""In an IOException's message: the file isn't at fault, so it isn't set aside."""


_SUSPICIOUS: Final = (
    duckdb.IOException,
    duckdb.FatalException,
    duckdb.InternalException,
    duckdb.SerializationException,
)
"""Errors after which the file is opened anew, which finds out whether it can still be read."""


def connect(path: Path, *, memory_limit_mib: int, threads: int) -> duckdb.DuckDBPyConnection:
    """Open the file, or make it, with nothing of DuckDB that reaches outside of it.

    Raises:
        StoreDamaged: it is no DuckDB file, or a checksum is wrong.
        StoreUnavailable: another process has it, or the system refuses.
    """
    temporary = path.parent / f"{path.name}.tmp"
    try:
        opening = partial(
            duckdb.connect,
            ":memory:",
            config={
                "threads": threads,
                "memory_limit": f"{memory_limit_mib}MiB",
                "preserve_insertion_order": False,
                "temp_directory": str(temporary),
                "max_temp_directory_size": f"{SQL_TEMPORARY_DISK_MIB_MAX}MiB",
                "checkpoint_threshold": f"{CHECKPOINT_BYTES}B",
                "autoload_known_extensions": False,
                "autoinstall_known_extensions": False,
                "python_enable_replacements": False,
            },
        )
        # DuckDB's own threads give way: a commit is the work of the thread that commits, questions are work for all of them.
        connection = nicely(opening, by=SQL_NICENESS)
        run(connection, f"ATTACH '{_quoted(path)}' AS {STORE_SCHEMA} (ROW_GROUP_SIZE {ROW_GROUP_ROWS})")
        use(connection)
        # The archive's Parquet files, and no other: what this allows can't be changed once external access is off.
        run(connection, f"SET allowed_directories = ['{_quoted(archive_folder(path))}']")
        # After the file is attached and the temporary directory is set: neither can be changed any more then.
        run(connection, "SET enable_external_access = false")
    except duckdb.Error as error:
        raise as_store_error(error, path) from error
    return connection


def closed() -> duckdb.DuckDBPyConnection:
    """In place of a connection to a file that can't be opened now: whatever it is asked, it is closed."""
    connection = duckdb.connect(":memory:")
    connection.close()
    return connection


def archive_folder(path: Path) -> Path:
    """Where the Parquet files of a store lie: the only folder that its statements may read and write."""
    return path.parent.absolute() / "archive"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def use(connection: duckdb.DuckDBPyConnection) -> None:
    """Let names without a database mean the store's; each connection must be told."""
    run(connection, f"USE {STORE_SCHEMA}")


def run(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Sequence[object] | dict[str, object] | None = None,
) -> list[tuple[Any, ...]]:
    """Execute a statement to its end and return all rows (of a changing statement: one with the count).

    Always to the end: DuckDB 2 refuses further work on a connection whose last result was not fetched to the last row.
    """
    return connection.execute(sql, parameters).fetchall()


def lacks_memory(error: duckdb.Error) -> bool:
    """Whether memory is what an error of DuckDB is about; in a commit it comes as another kind of error, by its words."""
    return isinstance(error, duckdb.OutOfMemoryException) or "failed to pin block" in str(error).lower()


def as_store_error(error: duckdb.Error, path: Path, away: StoreUnavailable | None = None) -> StorageError:
    """What an error of DuckDB means for its file.

    Args:
        away: Why it could not be opened, where it isn't.
    """
    if isinstance(error, duckdb.ConnectionException):
        if away is not None:
            return StoreUnavailable(away.message, hint=away.hint, code=away.code)
        return StoreUnavailable(
            f"The store {path.name} is not open.", hint="It is opened by itself, as soon as it can be."
        )
    text = str(error)
    lower = text.lower()
    first_line = text.splitlines()[0] if text else type(error).__name__
    if isinstance(error, duckdb.InterruptException):
        return StoreUnavailable(
            "The store did not finish in time and was interrupted.",
            hint="The disk is slow or busy; readings wait in the log meanwhile.",
            code="store_deadline",
        )
    if "no space left" in lower:
        return StoreUnavailable(
            f"The disk that holds the store {path.name} is full: {first_line}",
            hint="Free space on it; readings wait in the log meanwhile, and are stored by themselves then.",
            code="store_full",
        )
    if isinstance(error, duckdb.IOException) and any(words in lower for words in _ENVIRONMENTAL):
        return StoreUnavailable(
            f"The store {path.name} can't be used now: {first_line}",
            hint="Free the file, its rights or the disk; readings wait in the log meanwhile.",
        )
    if lacks_memory(error):
        return StoreUnavailable(
            f"The store ran out of its memory: {first_line}",
            hint="Raise store.memory_limit_mib or lower store.batch_messages_max.",
            code="store_out_of_memory",
        )
    if not isinstance(error, _SUSPICIOUS) and "corrupt" not in lower and "checksum" not in lower:
        return StoreUnavailable(
            f"The store {path.name} refused a statement: {first_line}",
            hint="This is a defect of Homeport; readings wait in the log. Please report it with this message.",
            code="store_refused",
        )
    return StoreDamaged(
        f"The store {path.name} failed: {first_line}",
        hint="It is set aside and rebuilt from the log by itself; look at the disk's health.",
    )


def set_aside(path: Path, at_ms: int) -> Path:
    """Rename a damaged store and its write-ahead log; removes the oldest when there are too many.

    Args:
        at_ms: Now, UTC ms; becomes part of the name.
    Returns:
        Where the file is now.
    """
    aside = path.with_name(f"{path.name}.set-aside-{at_ms}")
    wal = path.with_name(f"{path.name}.wal")
    if wal.exists():
        wal.rename(aside.with_name(f"{aside.name}.wal"))
    if path.exists():
        path.rename(aside)
    kept = set_aside_files(path)
    for old in kept[: max(0, len(kept) - SET_ASIDE_COUNT_MAX)]:
        old.unlink(missing_ok=True)
        old.with_name(f"{old.name}.wal").unlink(missing_ok=True)
    return aside


def set_aside_files(path: Path) -> list[Path]:
    """Damaged stores that are kept, oldest first."""
    prefix = f"{path.name}.set-aside-"
    found = [
        p for p in path.parent.iterdir() if p.name.startswith(prefix) and p.name[len(prefix) :].isdigit()
    ]
    return sorted(found, key=lambda p: int(p.name[len(prefix) :]))
