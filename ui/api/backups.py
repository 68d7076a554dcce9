"""Endpoints about backups: making, verifying and removing them, what is in one, and the folder that the schedule uses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from appliance.core.limits import BACKUP_FILE_LIST_COUNT_MAX, PATH_LENGTH_MAX
from appliance.management.audit import Act
from storage.backup.manifest import Manifest
from storage.catalog.backups import BackupRow
from ui import backup_acts
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of
from ui.backup_desk import BackupStatistics, Job
from ui.services import Services

Directory = Annotated[str, msgspec.Meta(min_length=1, max_length=PATH_LENGTH_MAX)]


class Backup(msgspec.Struct, kw_only=True, frozen=True):
    """A backup that was made, or tried. Times are UTC ms; `detail` says what is wrong or worth knowing."""

    backup_id: str
    directory: str
    state: str
    started_at_ms: int
    finished_at_ms: int | None
    verified_at_ms: int | None
    file_count: int
    bytes: int
    new_bytes: int
    detail: str


class BackupJob(msgspec.Struct, kw_only=True, frozen=True):
    """What is under way: `kind` is backup, verify or restore test; `done` and `total` are bytes."""

    kind: str
    directory: str
    backup_id: str
    began_at_ms: int
    done: int
    total: int


class BackupSchedule(msgspec.Struct, kw_only=True, frozen=True):
    """What is made by itself. `state` is off, waiting, away (the disk is not connected), due or running."""

    directory: str | None
    state: str
    interval_hours: int
    keep: int
    due_at_ms: int | None


class BackupList(msgspec.Struct, kw_only=True, frozen=True):
    """Backups that this node knows of, the newest first."""

    backups: tuple[Backup, ...]
    schedule: BackupSchedule
    running: BackupJob | None
    directories: tuple[str, ...]
    last_problem: str


class BackupWish(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Where a backup is to be made; the schedule's folder if it is left out."""

    directory: Directory | None = None


class ScheduleWish(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The folder for backups that are made by themselves; null for none."""

    directory: Directory | None


class VerifyWish(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How a backup is verified: every piece read back, or restored into a folder of its own, opened and removed."""

    restore_test: bool = False


class BackupFile(msgspec.Struct, kw_only=True, frozen=True):
    """A file in a backup."""

    name: str
    bytes: int


class BackupContents(msgspec.Struct, kw_only=True, frozen=True):
    """What is in a backup. `files` are the first ones by name; `file_count` counts all."""

    backup_id: str
    made_at_ms: int
    node_name: str
    program: str
    log_epoch: int
    log_next_seq: int
    bytes: int
    new_bytes: int
    file_count: int
    files: tuple[BackupFile, ...]


def backup_of(row: BackupRow) -> Backup:
    return Backup(**{name: getattr(row, name) for name in Backup.__struct_fields__})


def job_of(job: Job) -> BackupJob:
    return BackupJob(
        kind=job.kind,
        directory=str(job.directory),
        backup_id=job.row_id,
        began_at_ms=job.began_at_ms,
        done=job.done,
        total=job.total,
    )


def schedule_of(services: Services, now: BackupStatistics) -> BackupSchedule:
    return BackupSchedule(
        directory=None if now.directory is None else str(now.directory),
        state=now.state,
        interval_hours=services.config.backup.interval_hours,
        keep=services.config.backup.keep,
        due_at_ms=now.due_at_ms,
    )


def contents_of(found: Manifest) -> BackupContents:
    files = sorted(found.files, key=lambda file: file.name)
    return BackupContents(
        backup_id=found.backup_id,
        made_at_ms=found.made_at_ms,
        node_name=found.node_name,
        program=found.program,
        log_epoch=found.log_epoch,
        log_next_seq=found.log_next_seq,
        bytes=found.total_bytes,
        new_bytes=found.new_bytes,
        file_count=len(files),
        files=tuple(
            BackupFile(name=file.name, bytes=file.size) for file in files[:BACKUP_FILE_LIST_COUNT_MAX]
        ),
    )


async def backup_list(services: Services) -> BackupList:
    """All that there is to say of backups."""
    rows = await services.catalog.read(lambda reader: reader.backups())
    now = services.backups.statistics()
    return BackupList(
        backups=tuple(backup_of(row) for row in rows),
        schedule=schedule_of(services, now),
        running=None if now.running is None else job_of(now.running),
        directories=tuple(map(str, services.config.backup.directories)),
        last_problem=now.last_problem,
    )


async def list_backups(call: Call) -> Reply:
    return Reply(content=await backup_list(call.services))


async def start_backup(call: Call) -> Reply:
    wish: BackupWish = call.body
    directory = None if wish.directory is None else Path(wish.directory)
    return Reply(content=job_of(await backup_acts.start(call.services, await _act(call), directory)))


async def set_backup_schedule(call: Call) -> Reply:
    wish: ScheduleWish = call.body
    directory = None if wish.directory is None else Path(wish.directory)
    await backup_acts.schedule(call.services, await _act(call), directory)
    return Reply(content=schedule_of(call.services, call.services.backups.statistics()))


async def get_backup(call: Call) -> Reply:
    return Reply(content=contents_of(await backup_acts.contents(call.services, call.path["backup_id"])))


async def verify_backup(call: Call) -> Reply:
    wish: VerifyWish = call.body
    job = await backup_acts.verify(
        call.services, await _act(call), call.path["backup_id"], restore_test=wish.restore_test
    )
    return Reply(content=job_of(job))


async def remove_backup(call: Call) -> Reply:
    await backup_acts.remove(call.services, await _act(call), call.path["backup_id"])
    return Reply(content=None)


async def _act(call: Call) -> Act:
    return Act(action=call.action, actor=await actor_of(call.request))


_TAGS = ("backups",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/backups",
        handler=list_backups,
        needs="backups.read",
        summary="Backups that this node knows of, what is under way, and the schedule",
        answer=BackupList,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/backups",
        handler=start_backup,
        needs="backups.manage",
        action="backup.start",
        is_bulk=True,
        summary="Begin a backup; GET /backups says how far it is",
        body=BackupWish,
        answer=BackupJob,
        status=202,
        errors=(404, 409),
        codes={
            404: ("backup_directory_missing",),
            409: ("backup_running",),
            422: ("backup_directory_refused", "recovery_kit_unconfirmed", "backup_key_missing"),
        },
        tags=_TAGS,
    ),
    Endpoint(
        method="PUT",
        path="/backups/schedule",
        handler=set_backup_schedule,
        needs="backups.manage",
        action="backup.schedule",
        summary="Choose the folder for backups that are made by themselves",
        body=ScheduleWish,
        answer=BackupSchedule,
        codes={422: ("backup_directory_refused",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/backups/{backup_id}",
        handler=get_backup,
        needs="backups.read",
        summary="What is in a backup, read from its disk",
        answer=BackupContents,
        errors=(404, 409),
        codes={
            404: ("backup_unknown", "backup_repository_missing", "backup_of_another_box"),
            409: ("backup_damaged",),
            503: ("backup_disk_failed",),
        },
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/backups/{backup_id}/verify",
        handler=verify_backup,
        needs="backups.manage",
        action="backup.verify",
        is_bulk=True,
        summary="Begin to read a backup back; GET /backups says how it went",
        body=VerifyWish,
        answer=BackupJob,
        status=202,
        errors=(404, 409),
        codes={404: ("backup_unknown",), 409: ("backup_running",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path="/backups/{backup_id}",
        handler=remove_backup,
        needs="backups.manage",
        action="backup.remove",
        summary="Remove a backup; what others need stays",
        errors=(404, 409),
        codes={
            404: ("backup_unknown", "backup_repository_missing", "backup_of_another_box"),
            409: ("backup_running", "backup_in_use"),
            503: ("backup_disk_failed", "backup_disk_refuses"),
        },
        tags=_TAGS,
    ),
)
