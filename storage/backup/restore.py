"""Writes a backup's files into a folder beside the data folder's own, proved byte by byte; nothing is in use before that.

What can be refused is refused first, from the manifest alone: schemas and formats of a newer program, too little space.
Every file is made new, below a folder that was made for it, so that nothing which lies there is followed or written over.

Must not know: what was in the data folder before (switch.py).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from appliance.core.errors import StorageError
from appliance.core.limits import MIB
from storage.backup.catalog_copy import check_migrations
from storage.backup.errors import damaged, too_new
from storage.backup.manifest import FileEntry, Manifest, check_files
from storage.backup.repository import Progress, Repository
from storage.log import layout as log_layout

SPARE_BYTES: Final = 64 * MIB
"""Left free beside what is restored, for the first start: a segment of the log."""
_FOLDER_MODE: Final = 0o700


def check_usable(manifest: Manifest, formats: Mapping[str, int]) -> None:
    """Refuse what this program can't use, before anything is touched.

    Args:
        formats: The newest version that it knows of what may lie in a data folder, by name.
    Raises:
        StorageError: `backup_too_new`, `catalog_too_new`, `catalog_history_differs`, `backup_unsafe`.
    """
    known = {"log": log_layout.FORMAT_VERSION, **formats}
    for name, version in manifest.formats.items():
        if version > known.get(name, 0):
            raise too_new(
                f"The backup {manifest.backup_id} was made by Homeport {manifest.program[:40]}:"
                f" its {name[:40]} has format {version}, and this program knows {known.get(name, 0) or 'none'}."
            )
    check_migrations(manifest.catalog)
    check_files(manifest.files)


def check_space(manifest: Manifest, folder: Path) -> None:
    """Refuse what does not fit.

    Raises:
        StorageError: `restore_no_space`.
    """
    needed, free = manifest.total_bytes + SPARE_BYTES, shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"The backup needs {needed // MIB} MiB, and {free // MIB} MiB are free in {folder}.",
            hint="Use a larger disk, or remove what earlier restores put aside (replaced-…).",
            code="restore_no_space",
        )


def stage(
    repository: Repository,
    manifest: Manifest,
    folder: Path,
    *,
    progress: Progress = lambda done, total: None,
    step: Callable[[str], None] = lambda name: None,
) -> None:
    """Write all files below a folder, durably; what an earlier try left there is removed first.

    Args:
        manifest: Of this repository, checked.
        folder: Below a folder that is ours alone.
        step: Told what is about to be done; tests kill the process there.
    Raises:
        NotFound, StorageError: a piece is missing or damaged, or the disk failed; what was written is of no use.
    """
    step("clear")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=_FOLDER_MODE)
        total, done = manifest.total_bytes, 0
        made: set[Path] = {folder}
        for file in manifest.files:
            step("file")
            path = folder / file.name
            _make_folders(path.parent, made)
            _write(repository, file, path)
            done += file.size
            progress(done, total)
        step("sync")
        for each in made:
            _sync(each)
    except OSError as error:
        raise StorageError(
            f"{folder} can't be written: {error.strerror}.",
            hint="Look at the disk's free space and health, then restore again: nothing was changed.",
            code="restore_failed",
        ) from error


def _write(repository: Repository, file: FileEntry, path: Path) -> None:
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        for piece in file.pieces:
            content = repository.get(piece)
            size += len(content)
            if size > file.size:
                raise damaged(f"{file.name} has more than the {file.size} bytes that it should have.")
            digest.update(content)
            out.write(content)
        if size != file.size or not hmac.compare_digest(digest.digest(), file.sha256):
            raise damaged(f"{file.name} is not what was backed up.")
        out.flush()
        os.fchmod(descriptor, file.mode)
        os.fsync(descriptor)


def _make_folders(path: Path, made: set[Path]) -> None:
    missing = []
    while path not in made:
        missing.append(path)
        path = path.parent
    for each in reversed(missing):
        each.mkdir(mode=_FOLDER_MODE)
        made.add(each)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
