"""`homeport drill`: a restore from other boxes, tried beside the data while Homeport runs."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

import click

from appliance.cli.common import Context, printable, table, verb
from appliance.cli.times import shown_at
from appliance.core.errors import UsageError
from appliance.core.limits import MIB
from appliance.run import layout
from appliance.run.local_api import LocalApi

PATH: Final = "/api/v1/replication/drills"
CLOUD_PATH: Final = "/api/v1/replication/tier/drills"
LOOK_S: Final = 0.5
DIFFERENT: Final = 9
"""Exit code where something was found that is not right, as of `backup verify`."""
_COLUMNS = {
    "drill": "DRILL",
    "begun": "BEGUN",
    "source": "FROM",
    "outcome": "OUTCOME",
    "rpo": "RPO S",
    "serve": "SERVES AFTER S",
    "whole": "ALL AFTER S",
    "mib": "MIB",
    "differences": "DIFFERENCES",
    "by": "BY",
}


@click.group(invoke_without_command=True)
@click.option("--detach", is_flag=True, help="Don't wait for it.")
@click.option("--from-cloud", is_flag=True, help="From a region of the cloud, and not from other boxes.")
@click.option(
    "--region", default="", help="With --from-cloud: which one; the first that can be asked if not given."
)
@verb
def drill(context: Context, detach: bool, from_cloud: bool, region: str) -> None:
    """Lose a scratch copy of this box on purpose, have it back from other boxes or the cloud, and compare; nothing else is changed.

    Exit code 9 if what came back is not what is here, or the drill could not be carried out.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    api = LocalApi(layout.node_socket(context.config()))
    if region and not from_cloud:
        raise UsageError("--region names a region of the cloud.", hint="Add --from-cloud.")
    begun: dict[str, Any] = api.post(CLOUD_PATH, {"region": region}) if from_cloud else api.post(PATH, {})
    if detach:
        context.emit(begun, f"Drill {begun['drill_id']} is under way: homeport drill list.")
        return
    report = _wait(api, begun["drill_id"], is_shown=not context.json and sys.stderr.isatty())
    context.emit(report, "\n".join(lines_of(report)))
    sys.exit(0 if report["outcome"] == "good" else DIFFERENT)


@drill.command("list")
@verb
def list_(context: Context) -> None:
    """What the newest drills found, and how far one is that is under way."""
    found = LocalApi(layout.node_socket(context.config())).get(PATH)
    lines = [table([_row(each) for each in found["drills"]], _COLUMNS)]
    if found["running"] is not None:
        lines.append(f"Under way: {found['running']['drill_id']}, {_progress(found['running'])}.")
    if found["drills"]:
        lines += ["The newest:", *lines_of(found["drills"][0])]
    if found["cloud_days"]:
        lines.append(
            f"From the cloud by itself every {found['cloud_days']} days, next {shown_at(found['cloud_due_at_ms'])}."
        )
    lines.append(
        f"By itself every {found['days']} days, next {shown_at(found['due_at_ms'])}."
        if found["days"]
        else "None is begun by itself (replication.drill_days)."
    )
    context.emit(found, "\n".join(lines))


@drill.command()
@verb
def stop(context: Context) -> None:
    """Call off the drill that is under way."""
    stopped = LocalApi(layout.node_socket(context.config())).post(f"{PATH}/stop", {})
    context.emit(stopped, f"Drill {stopped['drill_id']} is called off; its scratch copy is removed.")


def lines_of(report: dict[str, Any]) -> list[str]:
    """What a drill found, for people."""
    if report["rpo_ms"] is None:
        return [printable(f"{_OUTCOMES[report['outcome']]} {report['problem']}".strip())]
    lines = [
        _OUTCOMES[report["outcome"]],
        f"Would have been lost: {report['rpo_records']} records, the oldest {report['rpo_ms'] / 1000:.1f} s old."
        if report["rpo_records"]
        else "Nothing would have been lost.",
        f"A box could serve devices after {report['serve_ms'] / 1000:.1f} s; all was there after"
        f" {report['whole_ms'] / 1000:.1f} s, {report['bytes'] / MIB:.1f} MiB, out of {', '.join(report['asked'])}.",
        f"Compared: {report['compared_records']} records of {report['compared_series']} topics of devices,"
        f" {sum(each['rows'] for each in report['tables'])} rows of {len(report['tables'])} tables of the catalog:"
        f" {report['difference_count'] or 'no'} differences.",
    ]
    lines += [f"Different: {each}." for each in report["differences"]]
    lines += [f"Missing: {each}." for each in report["lacking"]]
    if report["away"]:
        lines.append(f"Not reached, and may have more: {', '.join(report['away'])}.")
    lines += report["notes"]
    return [printable(line) for line in lines]


_OUTCOMES: Final = {
    "good": "What came back is what is here.",
    "different": "What came back is not what is here.",
    "failed": "The drill could not be carried out.",
    "called_off": "The drill was called off.",
}


def _wait(api: LocalApi, drill_id: str, *, is_shown: bool) -> dict[str, Any]:
    while True:
        found = api.get(PATH)
        running = found["running"]
        if running is None or running["drill_id"] != drill_id:
            if is_shown:
                click.echo("", err=True)
            report: dict[str, Any] = next(each for each in found["drills"] if each["drill_id"] == drill_id)
            return report
        if is_shown:
            click.echo(f"\r{_progress(running):<70}", nl=False, err=True)
        time.sleep(LOOK_S)  # until the node says that it is done, or is gone


def _progress(running: dict[str, Any]) -> str:
    return (
        f"{running['step']}: {running['done']} of {running['total']}" if running["total"] else running["step"]
    )


def _row(report: dict[str, Any]) -> dict[str, Any]:
    def seconds(name: str) -> str:
        return "" if report[name] is None else f"{report[name] / 1000:.1f}"

    return {
        "drill": report["drill_id"],
        "begun": shown_at(report["begun_at_ms"]),
        "source": report["source"],
        "outcome": report["outcome"].replace("_", " "),
        "rpo": seconds("rpo_ms"),
        "serve": seconds("serve_ms"),
        "whole": seconds("whole_ms"),
        "mib": f"{report['bytes'] / MIB:.1f}",
        "differences": str(report["difference_count"]),
        "by": "schedule" if report["is_scheduled"] else report["by"],
    }
