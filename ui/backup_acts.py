"""What people do with backups, for the API and the pages alike: checked, in the audit under their name, then begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from appliance.core.errors import NotFound
from appliance.identity import backup_keys
from appliance.management.audit import Act
from storage.backup.manifest import Manifest
from storage.catalog import Catalog
from storage.catalog.backups import BackupRow
from ui.backup_desk import DIRECTORY_SETTING, Job
from ui.services import Services


async def start(services: Services, act: Act, directory: Path | None) -> Job:
    """Begin a backup.

    Args:
        directory: None for the schedule's.
    Raises:
        UsageError: `backup_directory_refused`, `recovery_kit_unconfirmed`, `backup_key_missing`.
        NotFound: `backup_directory_missing`. Conflict: `backup_running`.
    """
    desk = services.backups
    directory = directory or desk.statistics().directory
    if directory is None:
        raise NotFound(
            "No folder is named, and none is chosen for the schedule.",
            hint=f"Name one below {', '.join(map(str, services.config.backup.directories))}.",
            code="backup_directory_missing",
        )
    wanted = directory
    await _check(services, wanted)
    job = desk.reserve("backup", wanted)

    def write(catalog: Catalog) -> None:
        catalog.begin_backup(job.row_id, str(wanted))
        catalog.note(act.action, object_kind="backup", object_id=str(wanted))

    await _write_or_release(services, act, write)
    desk.begin_backup(job)
    return job


async def schedule(services: Services, act: Act, directory: Path | None) -> None:
    """Choose where backups are made by themselves; None for nowhere. Raises UsageError: `backup_directory_refused`."""
    if directory is not None:
        await services.backups.check_directory(directory)
    text = None if directory is None else str(directory)
    await services.catalog.write(lambda catalog: catalog.set_setting(DIRECTORY_SETTING, text), by=act)
    await services.backups.look()


async def verify(services: Services, act: Act, backup_id: str, *, restore_test: bool) -> Job:
    """Begin to read a backup back, or to restore it for a test. Raises NotFound: `backup_unknown`; Conflict: `backup_running`."""
    desk, row = services.backups, await find(services, backup_id)
    job = desk.reserve("restore test" if restore_test else "verify", Path(row.directory))
    await _write_or_release(
        services, act, lambda catalog: catalog.note(act.action, object_kind="backup", object_id=backup_id)
    )
    if restore_test:
        desk.begin_restore_test(job, backup_id)
    else:
        desk.begin_verify(job, backup_id)
    return job


async def remove(services: Services, act: Act, backup_id: str) -> int:
    """Remove a backup; gives the bytes freed. Raises NotFound, Conflict, StorageError."""
    row = await find(services, backup_id)
    async with services.audit.noted(act, object_kind="backup", object_id=backup_id):
        freed = await services.backups.remove(Path(row.directory), backup_id)
    await services.catalog.write(lambda catalog: catalog.forget_backup(backup_id), by=act)
    await services.backups.look()
    return freed


async def contents(services: Services, backup_id: str) -> Manifest:
    """What is in a backup, read from its disk. Raises NotFound, NotAuthorized, StorageError."""
    row = await find(services, backup_id)
    return await services.backups.contents(Path(row.directory), backup_id)


async def find(services: Services, backup_id: str) -> BackupRow:
    """A backup that is known and done. Raises NotFound: `backup_unknown`."""
    return await services.catalog.read(lambda catalog: catalog.done_backup(backup_id))


async def _check(services: Services, directory: Path) -> None:
    await services.backups.check_directory(directory)
    await trio.to_thread.run_sync(backup_keys.recipient, services.config.node.data_dir)


async def _write_or_release(services: Services, act: Act, write: Callable[[Catalog], None]) -> None:
    try:
        await services.catalog.write(write, by=act)
    except BaseException:
        services.backups.release()
        raise
