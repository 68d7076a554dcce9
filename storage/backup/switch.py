"""Puts what was restored in the place of what is in the data folder: by renaming, resumable at each step, deleting nothing.

    restoring/            what was restored, proved and durable
    restoring.json        written then: from here on the switch is finished, whoever is interrupted
    replaced-TIME/        everything that was in the data folder before

Each step is done if it was not: an entry that is still in `restoring` has not been moved in, so one of that name in the
data folder is the old one; entries of other names are old ones until they are moved away. `homeport run` finishes a
switch before it starts anything.

Must not know: what the entries are.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from appliance.core.errors import Conflict, StorageError
from storage.backup.disk_folder import sync_folder, write_file

STAGING: Final = "restoring"
PLAN: Final = "restoring.json"
TEST_PREFIX: Final = "restore-test-"
"""Of folders in which a restore is tried."""
DRILL: Final = "drill"
"""The folder in which a restore from others is tried."""
_REPLACED: Final = re.compile(r"replaced-[0-9]{8}T[0-9]{6}Z(?:-[0-9]+)?\Z")
_STAYS: Final = frozenset(
    {STAGING, PLAN, PLAN + ".part", "node.lock", "backup.lock", "lost+found", "backup-work"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A switch that is to be finished.

    Attributes:
        backup_id: What is restored.
        entries: Names in `restoring`.
        aside: The folder for what was there before.
    """

    backup_id: str
    entries: tuple[str, ...]
    aside: str


def check_replaceable(data_dir: Path, *, replace: bool) -> None:
    """Refuse to take the place of what is there, unless that was said.

    Raises:
        Conflict: `data_dir_in_use`, `data_dir_of_parts`: something in it is a disk of its own, which can't be renamed.
    """
    found = _old(data_dir)
    disk = os.lstat(data_dir).st_dev
    apart = [name for name in found if os.lstat(data_dir / name).st_dev != disk]
    if apart:
        raise Conflict(
            f"{data_dir / apart[0]} is a disk of its own: it can't be moved aside.",
            hint="Unmount it while you restore, and move what was restored there afterwards.",
            code="data_dir_of_parts",
        )
    if found and not replace:
        raise Conflict(
            f"{data_dir} is not empty: there is {', '.join(found[:3])}.",
            hint="Give --replace: what is there is moved aside, and nothing of it is deleted.",
            code="data_dir_in_use",
        )


def decide(data_dir: Path, backup_id: str, *, stamp: str) -> Plan:
    """From here on what lies in `restoring` takes its place, whatever happens.

    Args:
        stamp: The time for the name of the folder with what was there before, such as 20261127T135804Z.
    Raises:
        StorageError: it can't be written.
    """
    entries = tuple(sorted(os.listdir(data_dir / STAGING)))
    aside = f"replaced-{stamp}"
    count = 1
    while (data_dir / aside).exists():  # two restores within a second, or a clock that went back
        count += 1
        aside = f"replaced-{stamp}-{count}"
    plan = Plan(backup_id=backup_id, entries=entries, aside=aside)
    assert _REPLACED.match(plan.aside)
    write_file(data_dir / PLAN, json.dumps(asdict(plan)).encode())
    return plan


def pending(data_dir: Path) -> Plan | None:
    """The switch that is to be finished, None where there is none.

    Raises:
        StorageError: `restore_plan_damaged`.
    """
    path = data_dir / PLAN
    try:
        fields = json.loads(path.read_bytes())
        plan = Plan(
            backup_id=str(fields["backup_id"]),
            entries=tuple(str(name) for name in fields["entries"]),
            aside=str(fields["aside"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _plan_damaged(path) from error
    if not _REPLACED.match(plan.aside) or not all(
        name and "/" not in name and name[0] != "." for name in plan.entries
    ):
        raise _plan_damaged(path)
    return plan


def finish(data_dir: Path, plan: Plan, *, step: Callable[[str], None] = lambda name: None) -> None:
    """Do what is left of a switch. Nothing else may use the data folder.

    Raises:
        StorageError: `restore_switch_failed`; doing it again goes on where it stopped.
    """
    staging, aside = data_dir / STAGING, data_dir / plan.aside
    try:
        aside.mkdir(mode=0o700, exist_ok=True)
        for name in _old(data_dir):
            if name not in plan.entries or (staging / name).exists():
                step("aside")
                (data_dir / name).rename(aside / name)
        sync_folder(aside)
        sync_folder(data_dir)
        for name in plan.entries:
            if (staging / name).exists():
                step("in")
                (staging / name).rename(data_dir / name)
        sync_folder(data_dir)
        step("done")
        shutil.rmtree(staging, ignore_errors=True)
        (data_dir / PLAN).unlink()
        if not os.listdir(aside):
            aside.rmdir()
        sync_folder(data_dir)
    except OSError as error:
        raise StorageError(
            f"What was restored can't be put in place: {error}.",
            hint="Look at the data folder's disk and owner; `homeport run` goes on where this stopped.",
            code="restore_switch_failed",
        ) from error


def discard(data_dir: Path) -> None:
    """Remove what a restore, or the test of one, left that was interrupted before it was decided: it is of no use."""
    for name in os.listdir(data_dir):
        if name in (STAGING, DRILL) or name.startswith(TEST_PREFIX):
            shutil.rmtree(data_dir / name, ignore_errors=True)


def refuse_pending(data_dir: Path) -> None:
    """Refuse to work on a data folder that is half old and half new.

    Raises:
        Conflict: `restore_unfinished`. StorageError: as `pending`.
    """
    plan = pending(data_dir)
    if plan is not None:
        raise Conflict(
            f"Restoring the backup {plan.backup_id} is not finished.",
            hint="Start Homeport (`homeport run`), which finishes it first.",
            code="restore_unfinished",
        )


def _old(data_dir: Path) -> list[str]:
    """What is in the data folder beside what belongs to a restore, and locks."""
    return sorted(name for name in os.listdir(data_dir) if name not in _STAYS and not _REPLACED.match(name))


def _plan_damaged(path: Path) -> StorageError:
    return StorageError(
        f"{path} can't be read.",
        hint=f"Nothing was deleted: look into {path.with_name(STAGING)} and replaced-…, then remove that file.",
        code="restore_plan_damaged",
    )
