"""`homeport device import` and `export`: lists of devices as CSV (docs/DEVICES.md)."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import click

from appliance.cli.common import Context, table, verb
from appliance.core.errors import Conflict, NotFound, StorageError, UsageError
from appliance.management.device_csv import csv_line
from appliance.run.device_commands import device_commands

_PROBLEM_COLUMNS = {
    "line": "LINE",
    "device_id": "DEVICE",
    "column": "COLUMN",
    "reason": "WHY",
    "hint": "NEXT STEP",
}


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--update", is_flag=True, help="Change devices that differ from their row.")
@click.option(
    "--tokens",
    "tokens_path",
    type=click.Path(path_type=Path),
    help="Make a token for each new device and write them to this new file, which only its owner can read.",
)
@verb
def import_(context: Context, file: Path, dry_run: bool, update: bool, tokens_path: Path | None) -> None:
    """Register the devices of a CSV FILE, - for standard input, and report what came of each row."""
    with ExitStack() as stack:
        source = _opened(file, stack)
        tokens_file, kept = None, ExitStack()
        if tokens_path is not None and not dry_run:
            # Before anything is made: tokens that can't be kept would be lost.
            tokens_file = stack.enter_context(_created(tokens_path))
            # If nothing comes of it, the empty file is not in the way of the next attempt.
            stack.enter_context(kept)
            kept.callback(tokens_path.unlink)
        commands = stack.enter_context(device_commands(context.config()))
        report = commands.import_list(source, update=update, tokens=tokens_path is not None, dry_run=dry_run)
        made = report.pop("tokens")
        if tokens_file is not None:
            kept.pop_all()
            tokens_file.write(csv_line(("device_id", "token")).encode())
            for each in made:
                tokens_file.write(csv_line((each["device_id"], each["token"])).encode())
    counts = ", ".join(
        f"{report[f'{outcome}_count']} {outcome}"
        for outcome in ("created", "updated", "unchanged", "differs", "refused")
    )
    words = f"{'Would be' if dry_run else 'Done'}: {counts}."
    if made and tokens_path is not None:
        words += f" {len(made)} token{' is' if len(made) == 1 else 's are'} in {tokens_path}."
    if report["problems"]:
        words += "\n\n" + table(report["problems"], _PROBLEM_COLUMNS)
    if report["problems_left_off_count"]:
        words += f"\n… and {report['problems_left_off_count']} more."
    context.emit({**report, "tokens_file": str(tokens_path) if tokens_file is not None else None}, words)


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default=Path("-"))
@verb
def export_(context: Context, file: Path) -> None:
    """Write all devices as CSV to a new FILE, or to standard output; it can be imported again."""
    if file == Path("-"):
        if context.json:
            raise UsageError(
                "A list on standard output is CSV, and --json wants JSON there.",
                hint="Name a file, or use `homeport device list --json`.",
            )
        with device_commands(context.config()) as commands:
            for piece in commands.export_list():
                sys.stdout.buffer.write(piece)
        return
    with device_commands(context.config()) as commands, _created(file) as target:
        for piece in commands.export_list():
            target.write(piece)
    context.emit({"file": str(file)}, f"The devices are in {file}.")


def _opened(path: Path, stack: ExitStack) -> BinaryIO:
    if path == Path("-"):
        return sys.stdin.buffer
    try:
        return stack.enter_context(path.open("rb"))
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", hint="Check the path.", code="file_missing") from error
    except OSError as error:
        raise StorageError(
            f"{path} can't be read: {error}.", hint="Check the path and its rights."
        ) from error


def _created(path: Path) -> BinaryIO:
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError as error:
        raise Conflict(f"{path} is there already.", hint="Name a new file.", code="file_exists") from error
    except OSError as error:
        raise StorageError(
            f"{path} can't be written: {error}.", hint="Check the path and its rights."
        ) from error
