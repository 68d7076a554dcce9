"""`homeport backup`: backups of everything that must survive, to a folder or a USB disk."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.recovery_kit import read_kit
from appliance.cli.secret_input import confirm
from appliance.core.config import Config
from appliance.core.errors import HomeportError
from appliance.core.limits import MIB
from appliance.identity.keys import SiteKeys
from appliance.run.backup_commands import backup_commands
from appliance.run.first_run import become_owner
from appliance.run.restoring import find_repository
from storage.backup.repository import Progress, Repository
from ui import backup_work

_DIRECTORY = click.argument("directory", type=click.Path(path_type=Path))
_KIT = click.option(
    "--kit",
    type=click.Path(path_type=Path, allow_dash=True),
    help="The recovery kit's file (- for standard input), for backups of another box.",
)


@click.group()
def backup() -> None:
    """Backups: make, list, verify, remove, schedule. `homeport restore` brings one back."""


@backup.command()
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@verb
def now(context: Context, directory: Path | None) -> None:
    """Make a backup in DIRECTORY (the schedule's folder if not given), and check it. The first one there takes longest."""
    with backup_commands(context.config()) as commands:
        row = commands.make(None if directory is None else directory.absolute(), _show_progress(context))
    text = (
        f"Backup {row['backup_id']} in {row['directory']}: {row['file_count']} files, {row['bytes'] / MIB:.1f} MiB,"
        f" of which {row['new_bytes'] / MIB:.1f} MiB were new. Only the recovery kit opens it."
    )
    context.emit(row, f"{text}\n{row['detail']}".strip())


@backup.command("list")
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@_KIT
@verb
def list_(context: Context, directory: Path | None, kit: Path | None) -> None:
    """Backups that this box knows of, or those that are in DIRECTORY."""
    if directory is not None:
        _list_directory(context, directory, kit)
        return
    with backup_commands(context.config()) as commands:
        found = commands.list()
    rows = [
        {
            "backup": row["backup_id"],
            "state": row["state"],
            "begun": _utc(row["started_at_ms"]),
            "verified": _utc(row["verified_at_ms"]),
            "mib": f"{row['bytes'] / MIB:.1f}",
            "new": f"{row['new_bytes'] / MIB:.1f}",
            "directory": row["directory"],
            "detail": row["detail"],
        }
        for row in found["backups"]
    ]
    columns = {"backup": "BACKUP", "state": "STATE", "begun": "BEGUN", "verified": "VERIFIED", "mib": "MIB",
               "new": "NEW MIB", "directory": "DIRECTORY", "detail": "DETAIL"}  # fmt: skip
    schedule = found["schedule"]
    words = f"Scheduled: {schedule['directory'] or 'nowhere'} ({schedule['state']})"
    context.emit(found, f"{table(rows, columns)}\n{words}")


@backup.command()
@_DIRECTORY
@click.option("--backup", "backup_id", help="Which one; all if not given.")
@click.option(
    "--restore-test",
    is_flag=True,
    help="Restore it (the newest if none is named) into a folder beside the data, open it, and remove it.",
)
@_KIT
@verb
def verify(
    context: Context, directory: Path, backup_id: str | None, restore_test: bool, kit: Path | None
) -> None:
    """Read backups in DIRECTORY back, every piece; exit code 9 if one is damaged."""
    config = context.config()
    repository = _repository(config, directory, kit)
    progress = _show_progress(context)
    if restore_test:
        manifest = backup_work.try_restore(repository, backup_id, config.node.data_dir, progress=progress)
        context.emit(
            {"ok": True, "backup_id": manifest.backup_id, "log_next_seq": manifest.log_next_seq},
            f"{manifest.backup_id} was restored beside the data, opened, and removed: it is good.",
        )
        return
    done = backup_work.verify_backups(
        repository, None if backup_id is None else [backup_id], progress=progress
    )
    is_ok = not done.problems
    lines = [
        f"{len(done.backup_ids)} backups, {done.chunk_count} pieces, {done.bytes / MIB:.1f} MiB read back."
    ]
    lines += [*done.problems, *(f"Can't be restored whole: {each}" for each in done.broken)]
    lines.append(
        "All of them are good."
        if is_ok
        else "Damaged pieces are written again by the next backup, if the box still has them."
    )
    context.emit(
        {
            "ok": is_ok,
            "backups": list(done.backup_ids),
            "pieces": done.chunk_count,
            "bytes": done.bytes,
            "problems": list(done.problems),
            "broken": list(done.broken),
        },
        "\n".join(lines),
    )
    sys.exit(0 if is_ok else 9)


@backup.command()
@click.argument("backup_id")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def remove(context: Context, backup_id: str, yes: bool) -> None:
    """Remove a backup; what others need stays."""
    confirm(f"Remove the backup {backup_id}?", yes=yes)
    with backup_commands(context.config()) as commands:
        commands.remove(backup_id)
    context.emit({"removed": backup_id}, f"{backup_id} is removed.")


@backup.command()
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@click.option("--off", is_flag=True, help="Make none by itself.")
@verb
def schedule(context: Context, directory: Path | None, off: bool) -> None:
    """Choose DIRECTORY for backups that are made by themselves, every backup.interval_hours; the first is made with `now`."""
    with backup_commands(context.config()) as commands:
        if off or directory is not None:
            commands.schedule(None if directory is None or off else directory.absolute())
        found = commands.list()["schedule"]
    context.emit(found, f"Backups are made in {found['directory'] or 'no folder'} ({found['state']}).")


def _list_directory(context: Context, directory: Path, kit: Path | None) -> None:
    repository = _repository(context.config(), directory, kit)
    rows = []
    for backup_id, found in backup_work.list_backups(repository):
        if isinstance(found, HomeportError):
            rows.append({"backup": backup_id, "problem": found.message})
            continue
        rows.append(
            {
                "backup": backup_id,
                "made": _utc(found.made_at_ms),
                "box": found.node_name,
                "program": found.program,
                "files": str(len(found.files)),
                "mib": f"{found.total_bytes / MIB:.1f}",
                "record": str(found.log_next_seq),
            }
        )
    columns = {"backup": "BACKUP", "made": "MADE", "box": "BOX", "program": "PROGRAM", "files": "FILES",
               "mib": "MIB", "record": "UP TO RECORD", "problem": "PROBLEM"}  # fmt: skip
    context.emit({"directory": str(repository.folder), "backups": rows}, table(rows, columns))


def _repository(config: Config, directory: Path, kit: Path | None) -> Repository:
    """A repository, by the box's own key or the kit's."""
    opened = None if kit is None else read_kit(kit)
    become_owner(config.node.data_dir)
    folder = find_repository(directory.absolute())
    if opened is not None:
        return backup_work.open_with_kit(folder, opened)
    keys = SiteKeys.load_existing(config.node.data_dir)
    return backup_work.open_repository(config.node.data_dir, keys, folder)


def _show_progress(context: Context) -> Progress:
    """A line on standard error that tells a terminal how far it is."""
    if context.json or not sys.stderr.isatty():
        return lambda done, total: None
    return lambda done, total: click.echo(
        f"\r{done / MIB:.0f} of {total / MIB:.0f} MiB ", nl=done >= total, err=True
    )


def _utc(at_ms: int | None) -> str:
    if at_ms is None:
        return ""
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
