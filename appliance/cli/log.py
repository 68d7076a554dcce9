"""`homeport log`: the log that every reading is in before it is acknowledged."""

from __future__ import annotations

import dataclasses
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from appliance.cli.common import Context, verb
from appliance.core.clock import SystemClock
from appliance.core.errors import NotFound
from appliance.core.limits import MIB
from appliance.run import layout
from appliance.run.first_run import become_owner
from storage.log.scrub import Scrubber
from storage.log.scrub_state import read_scrub_state
from storage.log.verify import verify as verify_stream

NOW_INTERVAL_MS = 1000
"""For a pass that is asked for: paced as if everything had to be read in a second."""


@click.group()
def log() -> None:
    """The log of readings."""


@log.command()
@click.option("--now", is_flag=True, help="Read the whole log now, as fast as its disk is left room.")
@verb
def scrub(context: Context, now: bool) -> None:
    """How far the log was read and verified in the background; exit code 9 if something is damaged."""
    config = context.config()
    directory = layout.telemetry_log(config)
    if not directory.is_dir():
        raise NotFound(f"There is no log in {directory}.", hint="Name the right --config.")
    become_owner(config.node.data_dir)
    scrubber = Scrubber(directory, SystemClock(), interval_ms=NOW_INTERVAL_MS, pause=time.sleep)
    state = scrubber.run_pass() if now else read_scrub_state(directory)
    lines = []
    for name, one in (("this pass", state.now), ("last pass", state.last)):
        if not one.began_at_ms:
            lines.append(f"{name}: none yet")
            continue
        until = f" to {_utc(one.ended_at_ms)}" if one.ended_at_ms else ", under way"
        lines.append(
            f"{name}: {one.segment_count} sealed segments, {one.bytes / MIB:.1f} MiB, {one.damaged_total} damaged;"
            f" {_utc(one.began_at_ms)}{until}"
        )
        lines += [f"{name}: {each}" for each in one.damaged]
    is_ok = not state.damaged_total
    context.emit({**dataclasses.asdict(state), "ok": is_ok}, "\n".join(lines))
    sys.exit(0 if is_ok else 9)


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


@log.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="A stream's folder; data_dir/log/telemetry if not given.",
)
@verb
def verify(context: Context, directory: Path | None) -> None:
    """Read every block and check hashes, chain and signatures; exit code 9 if something is damaged."""
    if directory is None:
        config = context.config()
        become_owner(config.node.data_dir)
        directory = layout.telemetry_log(config)
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
