"""`homeport log`: the log that every reading is in before it is acknowledged."""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from appliance.cli.common import Context, printable, verb
from appliance.cli.secret_input import confirm
from appliance.core.clock import SystemClock
from appliance.core.config import Config
from appliance.core.errors import NotFound, Unavailable, UsageError
from appliance.core.limits import MIB
from appliance.run import layout
from appliance.run.first_run import become_owner
from appliance.run.local_api import NODE_STOPPED, LocalApi
from appliance.run.node_or_catalog import running_node
from storage.log.scan import DamagedRange
from storage.log.scrub import Scrubber
from storage.log.scrub_state import read_scrub_state
from storage.log.verify import verify as verify_stream
from ui.api.lost_structs import REASON_LENGTH_MAX

_RANGE: Final = re.compile(
    r"([0-9a-f]{32})/([a-z]+(?:\.fork-[0-9a-f]{8})?):([0-9]{1,10}):([0-9]{1,19})-([0-9]{1,18})"
)
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
            f"{name}: {one.segment_count} sealed segments, {one.bytes / MIB:.1f} MiB, {one.damaged_total} damaged,"
            f" {one.lost_total} records marked lost; {_utc(one.began_at_ms)}{until}"
        )
        lines += [f"  {damage_line(each)}" for each in one.damaged]
    is_ok = not state.damaged_total
    context.emit({**dataclasses.asdict(state), "ok": is_ok}, "\n".join(lines))
    sys.exit(0 if is_ok else 9)


def damage_line(damaged: DamagedRange) -> str:
    """A damaged range for people: which records, where, why, and what to do."""
    records = "no record"
    if damaged.next_seq > damaged.first_seq:
        records = f"records {damaged.first_seq} to {damaged.next_seq - 1}"
    place = f"{damaged.segment}, bytes {damaged.offset} to {damaged.end_offset - 1}"
    return f"damaged: {records} ({place}): {damaged.reason}. {damaged.hint}"


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
    lines = [
        f"{report.directory}: log {report.stream} of {report.node_id}, epoch {report.epoch}, records {report.first_seq} to {report.next_seq - 1}",
        f"{report.record_count} records in {report.frame_count} blocks, {len(report.segments)} segments, {report.bytes / MIB:.1f} MiB",
        *(f"note: {each}" for each in report.notes),
        *(damage_line(each) for each in report.damaged),
        "The log is whole." if report.ok else "The log is damaged.",
    ]
    context.emit(dataclasses.asdict(report), "\n".join(lines))
    sys.exit(0 if report.ok else 9)


@log.command()
@verb
def missing(context: Context) -> None:
    """List records of logs on this box that nobody who is reached has, and those that are marked lost; exit code 9 if some are missing."""
    state = _api(context.config()).get("/api/v1/replication")["state"] or {}
    gone, lost = state.get("missing", []), state.get("lost", [])
    lines = [f"missing: {_range(each)}" for each in gone]
    lines += [
        printable(f"lost: {_range(each)}, marked by {each['by']} at {_utc(each['at_ms'])}: {each['reason']}")
        for each in lost
    ]
    context.emit(
        {"missing": gone, "lost": lost}, "\n".join(lines) or "Nothing is missing, and nothing marked lost."
    )
    sys.exit(9 if gone else 0)


@log.command()
@click.argument("records", metavar="RANGE")
@click.option("--reason", default="", help="Why, for people; it is kept with the log.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def lost(context: Context, records: str, reason: str, yes: bool) -> None:
    """Mark RANGE lost, as `homeport log missing` names it: a gap for good, behind which everything goes on, on all boxes."""
    wanted = _RANGE.fullmatch(records)
    if wanted is None:
        raise UsageError(
            f"{records[:100]} is no range of records.",
            hint="Give one as homeport log missing shows it: NODE/LOG:EPOCH:FIRST-LAST.",
            code="range_unreadable",
        )
    api = _api(context.config())
    confirm(f"Mark {records} lost for good? Nothing brings these records back.", yes=yes)
    node_id, name, epoch, first, last = wanted.groups()
    body = {
        "node_id": node_id,
        "name": name,
        "epoch": int(epoch),
        "first_seq": int(first),
        "next_seq": int(last) + 1,
    }
    done = api.post("/api/v1/replication/lost", {**body, "reason": reason[:REASON_LENGTH_MAX]})
    context.emit(
        done, f"{_range(done)} is marked lost. Whatever reads the log goes on behind it, on all boxes."
    )


def _range(fields: Mapping[str, Any]) -> str:
    place = f"{fields['epoch']}:{fields['first_seq']}-{fields['next_seq'] - 1}"
    return f"{fields['node_id']}/{fields['name']}:{place}"


def _api(config: Config) -> LocalApi:
    """The running node: only its replicator can ask the other boxes."""
    api = running_node(config)
    if api is None:
        raise Unavailable(
            "Homeport does not run: nobody can be asked for records that are missing.",
            hint="Start it, and wait until the other boxes are connected.",
            code=NODE_STOPPED,
        )
    return api
