"""Whether the archive's files are what was written: sizes and hashes against the manifest, and what is read from them.

A file that is damaged, cut short, swapped with another or gone is named, with its day. Blocks; see export.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from storage.archive.export import hash_of
from storage.archive.layout import day_text, generation_folder
from storage.archive.manifest import ArchiveDamaged, Manifest, read_manifest
from storage.archive.rows import CONTENT_HASH, ROW_HASH, parquet
from storage.telemetry.database import run


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a generation. `file` is "" for its manifest."""

    day: int
    generation: int
    file: str
    problem: str


def check_generation(
    root: Path,
    day: int,
    generation: int,
    *,
    connection: duckdb.DuckDBPyConnection | None = None,
    check_stop: Callable[[], None] = lambda: None,
) -> list[Fault]:
    """Read a generation's files whole and compare them with its manifest.

    Args:
        connection: To read the rows as well, and compare count and content; None to look at the bytes only.
    Raises:
        OSError: the disk can't be read. What check_stop raises.
    """
    folder = generation_folder(root, day, generation)
    try:
        manifest = read_manifest(folder, day, generation)
    except FileNotFoundError:
        return [Fault(day, generation, "", "the manifest is missing")]
    except ArchiveDamaged as error:
        return [Fault(day, generation, "", error.message)]
    faults = []
    for file in manifest.files:
        problem = _problem_of(folder / file.name, file.bytes, file.sha256, check_stop)
        if problem:
            faults.append(Fault(day, generation, file.name, problem))
    if not faults and connection is not None:
        problem = _content_problem(connection, folder, manifest)
        if problem:
            faults.append(Fault(day, generation, "", problem))
    return faults


def check_files(root: Path, day: int, generation: int, check_stop: Callable[[], None]) -> None:
    """Refuse to go on from a generation that is damaged.

    Raises:
        ArchiveDamaged: naming the first file.
    """
    for fault in check_generation(root, day, generation, check_stop=check_stop):
        raise ArchiveDamaged(
            f"Generation {generation} of {day_text(day)} in the archive is damaged: {fault.file or 'manifest'}: {fault.problem}.",
            hint="Run homeport archive verify; put the file back from a backup, or the readings in it are lost.",
        )


def _problem_of(path: Path, bytes_: int, sha256: str, check_stop: Callable[[], None]) -> str:
    try:
        found_bytes = path.stat(follow_symlinks=False).st_size
        if found_bytes != bytes_:
            return f"it has {found_bytes} bytes, {bytes_} were written"
        return "" if hash_of(path, check_stop) == sha256 else "its bytes are others than were written"
    except FileNotFoundError:
        return "it is missing"


def _content_problem(connection: duckdb.DuckDBPyConnection, folder: Path, manifest: Manifest) -> str:
    if not manifest.files:
        return ""
    paths = [folder / file.name for file in manifest.files]
    try:
        rows, content_sum = run(
            connection,
            f"SELECT count(*), coalesce(sum({ROW_HASH}), 0) FROM ({parquet(paths)})",  # noqa: S608
        )[0]
    except duckdb.IOException as error:
        return f"its rows can't be read: {str(error).splitlines()[0]}"
    if rows != manifest.rows:
        return f"it has {rows} rows, {manifest.rows} were written"
    if manifest.content_hash == CONTENT_HASH and str(content_sum) != manifest.content_sum:
        return "its rows are others than were written"
    return ""
