"""Reads backups back: every piece, or by restoring one into a folder and opening what was restored."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from appliance.core.errors import NotFound, StorageError, Unavailable
from storage.archive.checking import check_generation
from storage.archive.layout import day_text, generations
from storage.backup.archive_files import ARCHIVE
from storage.backup.artifact_files import digest_of_name
from storage.backup.catalog_copy import migrations_of
from storage.backup.errors import damaged
from storage.backup.manifest import Manifest
from storage.backup.repository import Progress, Repository, each_piece_once
from storage.catalog import schema
from storage.catalog.database import translated
from storage.log.verify import verify as verify_log


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verification found.

    Attributes:
        backup_ids: What was verified, the oldest first.
        bytes: Read from the repository.
        problems: In words; none where all is well.
        broken: Of those backups, the ones that can't be restored whole.
    """

    backup_ids: tuple[str, ...]
    chunk_count: int
    bytes: int
    problems: tuple[str, ...]
    broken: tuple[str, ...]


def verify_chunks(
    repository: Repository,
    backup_ids: Collection[str],
    *,
    can_write: bool,
    progress: Progress = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> Verified:
    """Read every piece of some backups, each once, and prove it.

    A damaged one is set aside, so that the next backup writes it again where the box still has what was in it.

    Args:
        repository: Locked by the caller.
        can_write: As `Repository.locked` gave it.
    Raises:
        Unavailable: `backup_stopped`. StorageError: the disk failed.
    """
    problems: list[str] = []
    broken: set[str] = set()
    manifests: list[Manifest] = []
    for backup_id in backup_ids:
        try:
            manifests.append(repository.manifest(backup_id))
        except (StorageError, NotFound) as error:
            if error.code not in ("backup_damaged", "backup_unsafe", "backup_too_new", "backup_unknown"):
                raise
            problems.append(error.message)
            broken.add(backup_id)
    pieces = each_piece_once(manifests)
    total, done, bad = sum(piece.stored_bytes for piece in pieces), 0, set()
    for piece in pieces:
        if stop():
            raise Unavailable(
                "Verifying was left, because Homeport stops.", hint="Start it again.", code="backup_stopped"
            )
        try:
            repository.get(piece)
        except (StorageError, NotFound) as error:
            if error.code not in ("backup_damaged", "backup_file_missing"):
                raise
            problems.append(error.message)
            bad.add(piece.chunk_id)
            if can_write:
                repository.set_aside(piece)
        done += piece.stored_bytes
        progress(done, total)
    broken |= {each.backup_id for each in manifests if bad & each.stored().keys()}
    return Verified(
        backup_ids=tuple(sorted(backup_ids)),
        chunk_count=len(pieces),
        bytes=done,
        problems=tuple(problems),
        broken=tuple(sorted(broken)),
    )


def open_restored(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Open what was restored below a folder: the catalog as a database, the archive by its manifests, the log frame by frame.

    Returns:
        What is wrong with archive and log, in words. Every byte is as it was backed up, so it was wrong then: a box with
        a damaged range in its log must come back all the same.
    Raises:
        StorageError: the catalog can't be used, or the log is not what the manifest says.
    """
    _open_catalog(folder / "catalog.db", manifest)
    problems = []
    root = folder / ARCHIVE
    for day, generation, _ in generations(root):
        faults = check_generation(root, day, generation)
        if faults:
            problems.append(
                f"The archive of {day_text(day)} is damaged: {faults[0].file} {faults[0].problem}."
            )
    problems += [
        f"The image {wanted[:12]}… is damaged."
        for file in manifest.files
        if (wanted := digest_of_name(file.name)) and file.sha256.hex() != wanted
    ]
    directory = folder / "log" / "telemetry"
    if not directory.exists():
        if manifest.log_next_seq > 1:
            raise damaged("The log is missing.")
        return tuple(problems)
    report = verify_log(directory)
    problems += [f"The log is damaged: {each.reason}." for each in report.damaged]
    if report.segments and report.next_seq != manifest.log_next_seq:
        raise damaged(f"The log ends at {report.next_seq}, and the backup says {manifest.log_next_seq}.")
    return tuple(problems)


def _open_catalog(path: Path, manifest: Manifest) -> None:
    with (
        translated(),
        contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection,
    ):
        found = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
        if found != ["ok"]:
            raise damaged(f"The catalog is damaged: {found[0]}.")
        schema.check(connection)
        if migrations_of(connection) != manifest.catalog:
            raise damaged("The catalog has another schema than the manifest says.")
