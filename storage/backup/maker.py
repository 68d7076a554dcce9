"""Makes a backup while everything runs.

The order makes it consistent without stopping anything (DESIGN.md): while the log is held, keys and cursors, then the
catalog as of one moment, then the images of artifacts, the state's snapshots, the archive, and last the log up to the head it has by then. Each is
newer than the ones before, and needs nothing of them that is newer than they are.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from appliance.core.clock import Clock
from appliance.core.errors import StorageError, Unavailable
from appliance.core.ids import RandomBytes
from appliance.core.limits import BACKUP_CHUNK_BYTES, BACKUP_FILE_BYTES_MAX, BACKUP_FILE_COUNT_MAX
from storage.artifacts.layout import FOLDER
from storage.backup import hold
from storage.backup.archive_files import ARCHIVE, day_files, state_files
from storage.backup.artifact_files import ARTIFACTS, artifact_files
from storage.backup.catalog_copy import copy_catalog
from storage.backup.disk_folder import disk_failed
from storage.backup.errors import damaged
from storage.backup.log_files import LogFile, log_files
from storage.backup.manifest import FileEntry, Manifest, Piece, check_name
from storage.backup.repository import Progress, Repository
from storage.backup.small_files import mode_of, small_files
from storage.log import layout as log_layout
from storage.log.head import Head
from storage.log.reader import LogReader

LOG: Final = "log/telemetry"
CATALOG_LOG: Final = "log/catalog"
"""On a box with peers: the catalog's changes, as they have them."""
WORK: Final = "backup-work"
CATALOG: Final = "catalog.db"
CONFIG: Final = "config/homeport.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What is backed up.

    Attributes:
        config: The configuration's file, None where there is none.
        node_id: Hexadecimal.
        formats: Versions of what lies in the data folder, by name.
    """

    data_dir: Path
    config: Path | None
    node_id: str
    node_name: str
    program: str
    formats: dict[str, int] = field(default_factory=dict)


class BackupMaker:
    """Makes one backup. Blocks; for a thread of its own.

    Args:
        repository: Locked by the caller.
        progress: Told how far it is.
        stop: Whether to leave it; asked several times a second.
        step: Told what is about to be done; tests kill the process there.
    """

    def __init__(
        self,
        box: Box,
        repository: Repository,
        *,
        clock: Clock,
        progress: Progress = lambda done, total: None,
        stop: Callable[[], bool] = lambda: False,
        step: Callable[[str], None] = lambda name: None,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._box = box
        self._repository = repository
        self._clock = clock
        self._progress = progress
        self._stop = stop
        self._step = step
        self._random = random_bytes
        self._files: dict[str, FileEntry] = {}
        self._before: dict[str, FileEntry] = {}
        self._done = 0
        self._total = 0
        self._new_bytes = 0

    def make(self) -> Manifest:
        """Make it.

        Returns:
            The backup's manifest, which is in the repository and was read back from there.
        Raises:
            Conflict: `backup_running`. Unavailable: `backup_stopped`. StorageError: what is backed up or the backup's disk failed.
        """
        with hold.held(self._box.data_dir / hold.NAME):
            return self._make()

    def _make(self) -> Manifest:
        box, repository = self._box, self._repository
        made_at_ms = self._clock.now_ms()
        newest = self._newest()
        if newest is not None:
            self._before = {file.name: file for file in newest.files}
        self._total = size_of(box.data_dir)
        self._step("identity")
        for path, name in small_files(box.data_dir):
            self._add_if_there(path, name)
        if box.config is not None:
            self._add_if_there(box.config, CONFIG)
        self._step("catalog")
        catalog = self._add_catalog()
        self._step("artifacts")
        artifact_files(box.data_dir, self._add_fixed)
        self._step("archive")
        state_files(box.data_dir, self._add_fixed)
        day_files(box.data_dir, self._add_fixed, self._discard)
        self._step("log")
        if (box.data_dir / CATALOG_LOG).is_dir():
            self._add_stream(CATALOG_LOG)
        head = self._add_stream(LOG)
        self._step("manifest")
        made = Manifest(
            backup_id=self._next_id(made_at_ms, newest.backup_id if newest else ""),
            made_at_ms=made_at_ms,
            node_id=box.node_id,
            node_name=box.node_name,
            program=box.program,
            catalog=catalog,
            formats={"log": log_layout.FORMAT_VERSION, **self._formats()},
            log_epoch=head.epoch,
            log_next_seq=head.next_seq,
            new_bytes=self._new_bytes,
            files=tuple(self._files.values()),
        )
        repository.finish(made)
        self._step("check")
        return self._checked(made)

    def _formats(self) -> dict[str, int]:
        """What a program must know to use it: of images only where there are some, for the release before knows none."""
        has_images = any(name.startswith(f"{ARTIFACTS}/") for name in self._files)
        return {name: version for name, version in self._box.formats.items() if name != FOLDER or has_images}

    def _newest(self) -> Manifest | None:
        """The newest backup that can be read: what it has of files that never change isn't read again."""
        for backup_id in reversed(self._repository.ids()):
            try:
                return self._repository.manifest(backup_id)
            except StorageError:
                continue  # `verify` names it
        return None

    def _next_id(self, made_at_ms: int, before: str) -> str:
        """A name that sorts after every other, also when the clock went back: the newest must stay when others go."""
        at = dt.datetime.fromtimestamp(made_at_ms // 1000, tz=dt.UTC)
        names = [before, *self._repository.ids()]
        last = max(name[:16] for name in names)
        if last >= f"{at:%Y%m%dT%H%M%SZ}":
            at = dt.datetime.strptime(last, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC) + dt.timedelta(seconds=1)
        return f"{at:%Y%m%dT%H%M%SZ}-{self._random(4).hex()}"

    def _checked(self, made: Manifest) -> Manifest:
        """The quick check: the manifest is read back, and every piece is there with its size."""
        found = self._repository.manifest(made.backup_id)
        missing = self._repository.missing(found)
        if found != made or missing:
            raise damaged(f"The backup was written, and {len(missing)} pieces of it are not there.")
        return found

    def _add_catalog(self) -> tuple[tuple[int, str, int, str], ...]:
        work = self._box.data_dir / WORK
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        try:
            migrations = copy_catalog(self._box.data_dir / CATALOG, work / CATALOG)
            self._add(work / CATALOG, CATALOG)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return migrations

    def _add_if_there(self, path: Path, name: str) -> None:
        try:
            self._add(path, name)
        except FileNotFoundError:
            return  # replaced or removed since it was listed: the next backup has what came of it

    def _add_fixed(self, path: Path, name: str) -> None:
        self._add(path, name, is_fixed=True)

    def _add_stream(self, folder: str) -> Head:
        """A stream up to the head that it has by now, which is given."""

        def add(file: LogFile) -> None:
            self._add(file.path, f"{folder}/{file.name}", bytes_max=file.bytes_max, is_fixed=file.is_fixed)

        directory = self._box.data_dir / folder
        reader = LogReader(directory)
        try:
            head = reader.head()
        finally:
            reader.close()
        log_files(directory, head, add, lambda name: self._discard(f"{folder}/{name}"))
        return head

    def _discard(self, name: str) -> None:
        self._files.pop(name, None)

    def _add(self, path: Path, name: str, *, bytes_max: int | None = None, is_fixed: bool = False) -> None:
        """Keep a file, as it is or its first `bytes_max` bytes. Raises FileNotFoundError, StorageError."""
        _check_name(path, name)
        if len(self._files) >= BACKUP_FILE_COUNT_MAX:
            raise StorageError(
                f"There are more than {BACKUP_FILE_COUNT_MAX} files to back up.",
                hint="Shorten the archive (store.archive_days).",
                code="backup_too_large",
            )
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise source_failed(path, error) from error
        with os.fdopen(descriptor, "rb"):
            about = os.fstat(descriptor)
            entry = FileEntry(
                name=name,
                size=about.st_size,
                mode=mode_of(about),
                sha256=b"",
                pieces=(),
                mtime_ns=about.st_mtime_ns,
            )
            before = self._before.get(name)
            if (
                is_fixed
                and before is not None
                and _is_same(before, entry)
                and self._repository.has(before.pieces)
            ):
                self._files[name] = before
                self._count(before.size)
                return
            digest, pieces, size = hashlib.sha256(), [], 0
            left = BACKUP_FILE_BYTES_MAX if bytes_max is None else bytes_max
            while left and (content := self._read(descriptor, path, size, min(left, BACKUP_CHUNK_BYTES))):
                digest.update(content)
                pieces.append(self._put(content))
                size += len(content)
                left -= len(content)
            if bytes_max is not None and left:
                raise StorageError(
                    f"{path} has {size} bytes, and {bytes_max} are on disk by the log's head.",
                    hint="Run 'homeport log verify'.",
                    code="log_damaged",
                )
        self._files[name] = replace(
            entry,
            size=size,
            sha256=digest.digest(),
            pieces=tuple(pieces),
            mtime_ns=about.st_mtime_ns if is_fixed else 0,
        )

    def _read(self, descriptor: int, path: Path, offset: int, length: int) -> bytes:
        """A piece of a file, whole but at its end; the cache that others need isn't filled with it."""
        parts, got = [], 0
        try:
            while got < length and (part := os.pread(descriptor, length - got, offset + got)):
                parts.append(part)
                got += len(part)
            os.posix_fadvise(descriptor, offset, got, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise source_failed(path, error) from error
        return b"".join(parts)

    def _put(self, content: bytes) -> Piece:
        if self._stop():
            raise Unavailable(
                "The backup was left, because Homeport stops.",
                hint="Start it again: what was written is not written again.",
                code="backup_stopped",
            )
        piece, new_bytes = self._repository.put(content)
        self._new_bytes += new_bytes
        self._count(len(content))
        return piece

    def _count(self, done: int) -> None:
        self._done += done
        self._progress(self._done, max(self._total, self._done))


def _check_name(path: Path, name: str) -> None:
    try:
        check_name(name)
    except StorageError as error:
        raise StorageError(
            f"{path} has a name that a backup can't hold.",
            hint="Use letters, digits and . _ + @ = - in it, or move it out of the data folder.",
            code="backup_name",
        ) from error


def _is_same(before: FileEntry, now: FileEntry) -> bool:
    return (before.size, before.mtime_ns, before.mode) == (now.size, now.mtime_ns, now.mode)


def size_of(data_dir: Path) -> int:
    """About how many bytes a backup of a data folder has; what changes meanwhile is counted or not."""
    total = 0
    for folder in ("log", ARCHIVE, ARTIFACTS, "identity", "broker", "cursors"):
        for above, _, names in os.walk(data_dir / folder):
            for name in names:
                try:
                    total += os.lstat(os.path.join(above, name)).st_size
                except FileNotFoundError:
                    continue
    catalog = data_dir / CATALOG
    return total + (catalog.stat().st_size if catalog.exists() else 0)


def source_failed(path: Path, error: OSError) -> StorageError:
    """What is to be backed up can't be read."""
    failed = disk_failed(path, error)
    return StorageError(
        f"{path} can't be read for the backup: {error.strerror}.",
        hint="Look at the health of the data folder's disk: homeport doctor.",
        code="backup_source_failed" if failed.code == "backup_disk_failed" else failed.code,
    )
