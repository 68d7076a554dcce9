"""What is done with backups, step by step and blocking: for the node's threads and for the command line of a stopped node.

Must not know: requests, the catalog's rows of backups.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import HomeportError, NotFound, UsageError
from appliance.core.version import VERSION
from appliance.identity import backup_keys
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit
from storage.backup import repository as repositories
from storage.backup import restore, switch, verify
from storage.backup.errors import damaged
from storage.backup.formats import FORMATS
from storage.backup.maker import BackupMaker, Box
from storage.backup.manifest import Manifest
from storage.backup.repository import Progress, Repository
from storage.backup.sealing import RepositoryKeys
from storage.backup.verify import Verified

HEADER_LABEL: Final = "backup-header/1"


def _nobody(done: int, total: int) -> None:
    """Nobody is told of progress."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A backup that was made.

    Attributes:
        removed: Names of older ones that went.
        problem: Why older ones could not be removed; the backup itself is whole.
        is_same_disk: It lies on the disk that it is to save from.
    """

    manifest: Manifest
    removed: tuple[str, ...]
    freed_bytes: int
    problem: str
    is_same_disk: bool

    @property
    def note(self) -> str:
        """What is worth knowing of it, in words."""
        if self.problem or not self.is_same_disk:
            return self.problem
        return "It lies on the same disk as the data: it does not help when that disk dies."


def back_up(
    config: Config,
    keys: SiteKeys,
    directory: Path,
    *,
    clock: Clock,
    may_create: bool = True,
    progress: Progress = _nobody,
    stop: Callable[[], bool] = _never,
    step: Callable[[str], None] = lambda name: None,
) -> Made:
    """Make a backup, check it, and remove those beyond `backup.keep`.

    Args:
        directory: Of the repository; made where it isn't there and `may_create`. A disk that is not connected must not
            become a new repository in the folder that it would be mounted on, so the schedule says no.
    Raises:
        HomeportError: see `BackupMaker.make`, `repository.create`, `backup_keys.recipient`.
    """
    data_dir = config.node.data_dir
    check_outside(directory, data_dir)
    if not repositories.has_header(directory):
        if not may_create:
            raise NotFound(
                f"There is no repository in {directory}: the disk is probably not connected.",
                hint="Connect it; the next backup is made by itself then.",
                code="backup_repository_missing",
            )
        made = backup_keys.new_repository(
            data_dir, site_key=keys.derive(HEADER_LABEL), node_id=keys.node_id, now_ms=clock.now_ms()
        )
        repositories.create(directory, made)
    repository = open_repository(data_dir, keys, directory)
    box = Box(
        data_dir=data_dir,
        config=config.source,
        node_id=keys.node_id.hex(),
        node_name=config.node.name,
        program=VERSION,
        formats=FORMATS,
    )
    with repository.locked() as can_write:
        if not can_write:
            raise UsageError(
                f"{directory} can't be written.",
                hint="Connect the disk for writing.",
                code="backup_disk_refuses",
            )
        maker = BackupMaker(box, repository, clock=clock, progress=progress, stop=stop, step=step)
        manifest = maker.make()
        removed: list[str] = []
        freed, problem = 0, ""
        try:
            step("prune")
            removed, freed = repository.keep_newest(config.backup.keep)
        except HomeportError as error:
            problem = f"Older backups were not removed: {error.message}"
    return Made(
        manifest=manifest,
        removed=tuple(removed),
        freed_bytes=freed,
        problem=problem,
        is_same_disk=os.stat(directory).st_dev == os.stat(data_dir).st_dev,
    )


def open_repository(data_dir: Path, keys: SiteKeys, directory: Path) -> Repository:
    """This box's repository in a folder. Raises NotFound, NotAuthorized, StorageError."""
    header = repositories.read_header(directory)
    key = backup_keys.repository_key(data_dir, header, site_key=keys.derive(HEADER_LABEL))
    return Repository(directory, RepositoryKeys(key))


def open_with_kit(directory: Path, kit: RecoveryKit) -> Repository:
    """A repository, opened with the recovery kit. Raises NotFound, NotAuthorized, StorageError."""
    return Repository(
        directory, RepositoryKeys(backup_keys.key_from_kit(repositories.read_header(directory), kit))
    )


def list_backups(repository: Repository) -> list[tuple[str, Manifest | HomeportError]]:
    """All backups, the newest first, each with its manifest or why that can't be read. Raises StorageError."""
    found: list[tuple[str, Manifest | HomeportError]] = []
    for backup_id in reversed(repository.ids()):
        try:
            found.append((backup_id, repository.manifest(backup_id)))
        except HomeportError as error:
            found.append((backup_id, error))
    return found


def verify_backups(
    repository: Repository,
    backup_ids: list[str] | None,
    *,
    progress: Progress = _nobody,
    stop: Callable[[], bool] = _never,
) -> Verified:
    """Read every piece of backups back; of all where none is named. Raises Conflict, Unavailable, StorageError."""
    with repository.locked() as can_write:
        ids = backup_ids if backup_ids is not None else repository.ids()
        return verify.verify_chunks(repository, ids, can_write=can_write, progress=progress, stop=stop)


def try_restore(
    repository: Repository, backup_id: str | None, into: Path, *, progress: Progress = _nobody
) -> Manifest:
    """Restore a backup into a folder of its own, open what is there, and remove it.

    Args:
        backup_id: None for the newest.
        into: The folder in which that folder is made; needs room for the backup.
    Raises:
        HomeportError: it could not be restored: what a restore would say.
    """
    with repository.locked():
        manifest = find(repository, backup_id)
        restore.check_usable(manifest, FORMATS)
        restore.check_space(manifest, into)
        with tempfile.TemporaryDirectory(prefix=switch.TEST_PREFIX, dir=into) as folder:
            target = Path(folder) / secrets.token_hex(4)
            restore.stage(repository, manifest, target, progress=progress)
            problems = verify.open_restored(target, manifest)
            if problems:
                raise damaged(problems[0])
    return manifest


def remove_backup(repository: Repository, backup_id: str) -> int:
    """Remove one; gives the bytes that were freed. Raises NotFound, Conflict, StorageError."""
    with repository.locked():
        if backup_id not in repository.ids():
            repository.manifest(backup_id)  # says that there is none
        return repository.remove([backup_id])


def find(repository: Repository, backup_id: str | None) -> Manifest:
    """A backup's manifest, the newest one's for None. Raises NotFound: `backup_unknown`; StorageError."""
    if backup_id is not None:
        return repository.manifest(backup_id)
    newest = repository.newest()
    if newest is None:
        raise NotFound(
            f"There is no backup in {repository.folder}.", hint="Make one first.", code="backup_unknown"
        )
    return newest


def check_outside(directory: Path, data_dir: Path) -> None:
    """Refuse a folder within what is backed up, or around it.

    Raises:
        UsageError: `backup_directory_refused`.
    """
    wanted, data = directory.resolve(), data_dir.resolve()
    if not directory.is_absolute() or wanted == data or data in wanted.parents or wanted in data.parents:
        raise UsageError(
            f"{directory} can't hold backups: it must be a whole path, and neither in {data_dir} nor above it.",
            hint="Name a folder on another disk, such as /media/usb/homeport.",
            code="backup_directory_refused",
        )


def check_allowed(config: Config, directory: Path) -> None:
    """Refuse a folder that is not below one of `backup.directories`, also by a link.

    Raises:
        UsageError: `backup_directory_refused`.
    """
    check_outside(directory, config.node.data_dir)
    wanted = directory.resolve()
    if ".." in directory.parts or not any(
        root.resolve() in wanted.parents and root in directory.parents for root in config.backup.directories
    ):
        allowed = ", ".join(map(str, config.backup.directories)) or "none"
        raise UsageError(
            f"{directory} is not below a folder that is allowed for backups ({allowed}).",
            hint="Name a folder below one of these, or add one to backup.directories in homeport.toml.",
            code="backup_directory_refused",
        )
