"""A box out of a backup: what `homeport restore` does, and what a start finishes.

Everything is proved in a folder beside before anything of the box changes; then it is renamed into place, which a start
finishes if it was interrupted. What was in the data folder is moved aside and never deleted.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import HomeportError, NotFound, StorageError
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit
from appliance.management.audit import LOCAL, Act
from appliance.run import layout
from appliance.run.first_run import lock
from appliance.run.node_or_catalog import sign
from appliance.run.restore_pending import HOLDER, finish_pending
from appliance.run.tier_key import generation_in, keep_generation
from appliance.updates.fence import raise_fence
from storage.backup import repository as repositories
from storage.backup import restore, switch, verify
from storage.backup.errors import damaged
from storage.backup.formats import FORMATS
from storage.backup.manifest import Manifest
from storage.backup.repository import Progress
from storage.catalog.catalog import Catalog
from storage.catalog_stream.rebuilding import rebuild_catalog
from storage.catalog_stream.stream_writer import CatalogStreamWriter
from storage.log import new_epoch
from storage.log.disk import OsDisk
from ui.backup_work import find, open_with_kit


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored, and where what was there before lies (None: there was nothing)."""

    manifest: Manifest
    replaced: Path | None
    problems: tuple[str, ...] = ()
    """What was damaged already when the backup was made, in words."""


def restore_backup(
    config: Config,
    directory: Path,
    kit: RecoveryKit,
    *,
    clock: Clock,
    backup_id: str | None = None,
    replace: bool = False,
    progress: Progress = lambda done, total: None,
    step: Callable[[str], None] = lambda name: None,
) -> Restored:
    """Restore a backup into the data folder of a stopped box, whose folders are there. Blocks.

    Args:
        directory: With the repository.
        backup_id: None for the newest.
        replace: What is in the data folder may be moved aside.
        step: Told what is about to be done; tests kill the process there.
    Raises:
        Conflict: the box runs, or its data folder is in use. NotFound, NotAuthorized, StorageError: the backup can't be used;
            nothing was changed.
    """
    data_dir = config.node.data_dir
    with ExitStack() as held:
        held.enter_context(lock(layout.supervisor_lock(config), holder=HOLDER))
        held.enter_context(lock(layout.node_lock(config), holder=HOLDER))
        if layout.telemetry_log(config).is_dir():
            held.enter_context(lock(layout.telemetry_log(config) / "lock", holder=HOLDER))
        finish_pending(config, is_locked=True)
        switch.check_replaceable(data_dir, replace=replace)
        repository = open_with_kit(directory, kit)
        held.enter_context(repository.locked())
        manifest = find(repository, backup_id)
        restore.check_usable(manifest, FORMATS)
        restore.check_space(manifest, data_dir)
        staging = data_dir / switch.STAGING
        try:
            restore.stage(repository, manifest, staging, progress=progress, step=step)
            step("open")
            problems = verify.open_restored(staging, manifest)
            step("prepare")
            _prepare(staging, manifest, kit, clock)
        except HomeportError:
            shutil.rmtree(staging, ignore_errors=True)  # of no use, and the disk may be full of it
            raise
        step("decide")
        plan = switch.decide(data_dir, manifest.backup_id, stamp=_stamp(clock))
        switch.finish(data_dir, plan, step=step)
    aside = data_dir / plan.aside
    return Restored(manifest=manifest, replaced=aside if aside.exists() else None, problems=problems)


def _prepare(staging: Path, manifest: Manifest, kit: RecoveryKit, clock: Clock) -> None:
    """Make of a copy a box of its own: it is said in the audit, and the log goes on in a new epoch."""
    keys = SiteKeys.load_existing(staging)
    if not keys.is_site_key(kit.site_key) or keys.node_id.hex() != manifest.node_id:
        raise damaged("The keys in the backup are not the recovery kit's.")
    catalog = Catalog.open(staging / "catalog.db", clock=clock, node_id=keys.node_id)
    catalog_log = staging / "log" / "catalog"
    try:
        if catalog_log.is_dir():
            # It was copied after the catalog, so peers may have of it what the catalog of the backup has not.
            stream = CatalogStreamWriter.open(
                catalog_log, node_id=keys.node_id, signer=keys.signer, clock=clock
            )
            stream.close()  # where it ends is known now: a backup has no head file
            node_id = keys.node_id.hex()
            rebuild_catalog(catalog, [(node_id, catalog_log)], own_id=node_id)
            catalog.outbox_raise(stream.position)
        with catalog.transaction(Act(action="backup.restore", actor=LOCAL)):
            catalog.note("backup.restore", object_kind="backup", object_id=manifest.backup_id)
            catalog.fail_interrupted_backups()
            if catalog.list_rollouts(limit=1).rollouts:
                # What the box of before may still say to devices must be of no effect.
                raise_fence(catalog, clock.now_ms())
        sign(catalog, keys, staging, clock)
        keep_generation(staging, generation_in(catalog))
    finally:
        catalog.close()
    try:
        for directory in (staging / "log" / "telemetry", catalog_log):
            if directory.is_dir():
                new_epoch.ask(OsDisk(), directory)
    except OSError as error:
        raise StorageError(
            f"{staging / 'log'} can't be written: {error.strerror}.",
            hint="Look at the data folder's disk, then restore again: nothing was changed.",
            code="restore_failed",
        ) from error


def find_repository(directory: Path) -> Path:
    """The folder with the repository: the one that was named, or the only one directly below it that is one.

    Raises:
        NotFound: `backup_repository_missing`.
    """
    if repositories.has_header(directory):
        return directory
    try:
        below = [
            each for each in sorted(directory.iterdir()) if each.is_dir() and repositories.has_header(each)
        ]
    except OSError:
        below = []
    if len(below) == 1:
        return below[0]
    repositories.read_header(directory)
    raise NotFound(f"There are several repositories in {directory}.", hint="Name one of them.")


def _stamp(clock: Clock) -> str:
    return dt.datetime.fromtimestamp(clock.now_ms() / 1000, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
