"""`homeport log`: the log that every reading is in before it is acknowledged."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from appliance.cli.common import Context, verb
from appliance.core.errors import NotFound
from appliance.run import layout
from storage.log.verify import verify as verify_stream


@click.group()
def log() -> None:
    """The log of readings."""


@log.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="A stream's folder; data_dir/log/telemetry if not given.",
)
@verb
def verify(context: Context, directory: Path | None) -> None:
    """Read every block and check hashes, chain and signatures; exit code 9 if something is damaged."""
    directory = directory or layout.telemetry_log(context.config())
    if not directory.is_dir():
        raise NotFound(
            f"There is no log in {directory}.",
            hint="Name the folder with --directory, or the right --config.",
        )
    report = verify_stream(directory)
    data = dataclasses.asdict(report)
    lines = [f"{key}: {value}" for key, value in data.items() if not isinstance(value, (list, tuple, dict))]
    for key, value in data.items():
        if isinstance(value, (list, tuple)):
            lines += [f"{key}: {each}" for each in value]
    context.emit(
        {**data, "ok": report.ok},
        "\n".join([*lines, "The log is whole." if report.ok else "The log is damaged."]),
    )
    sys.exit(0 if report.ok else 9)
