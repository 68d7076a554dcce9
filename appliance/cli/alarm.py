"""`homeport alarm`: what is wrong, since when, and who sees to it."""

from __future__ import annotations

from typing import Any, Final, get_args

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.times import after_ms, shown_at
from appliance.management.alarms import AlarmState
from appliance.management.rule import Severity
from appliance.run.alarm_commands import alarm_commands

_COLUMNS: Final = {
    "severity": "SEV",
    "state": "STATE",
    "where": "WHERE",
    "text": "WHAT",
    "since": "SINCE",
    "times": "TIMES",
    "aside": "SET ASIDE",
    "alarm_id": "ALARM",
}
_EVENTS: Final = {"at": "AT", "event": "EVENT", "to_state": "STATE", "actor": "WHO", "note": "NOTE"}


@click.group()
def alarm() -> None:
    """Alarms: list, show, acknowledge, shelve. Works whether the appliance runs or not."""


@alarm.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in AlarmState]),
    help="Only those in it; repeatable. Without, all that aren't normal.",
)
@click.option(
    "--severity", "severities", multiple=True, type=click.Choice(get_args(Severity)), help="Repeatable."
)
@click.option("--device", default="", help="Of a device.")
@click.option("--group", default="", help="Of a group, or of its devices.")
@click.option("--tag", default="", help="Of devices with a tag.")
@click.option("--rule", default="", help="Of a rule, by its id.")
@click.option(
    "--filter", "text", default="", help="Part of a rule's name, a device, a series or the explanation."
)
@verb
def list_(
    context: Context, states: tuple[str, ...], severities: tuple[str, ...], text: str, **of: str
) -> None:
    """List alarms, those that want somebody first."""
    with alarm_commands(context.config()) as commands:
        alarms = list(commands.list(state=states, severity=severities, q=text, **of))
    context.emit(
        {"alarms": alarms}, table(list(map(_row, alarms)), _COLUMNS) if alarms else "Nothing is wrong."
    )


@alarm.command()
@click.argument("alarm_id", metavar="ALARM")
@verb
def show(context: Context, alarm_id: str) -> None:
    """Show ALARM with what happened to it, and what to do."""
    with alarm_commands(context.config()) as commands:
        found = commands.get(alarm_id)
    rule = found["rule"] or {"name": f"{found['alarm']['rule_name']} (removed)"}
    lines = [
        f"Rule: {rule['name']}",
        *(rule[key] for key in ("description", "text", "runbook") if rule.get(key)),
    ]
    events = [{**each, "at": shown_at(each["at_ms"])} for each in found["events"]]
    context.emit(
        found,
        "\n\n".join([table([_row(found["alarm"])], _COLUMNS), "\n".join(lines), table(events, _EVENTS)]),
    )


@alarm.command()
@click.argument("alarm_ids", metavar="ALARM…", nargs=-1, required=True)
@click.option("--note", default="", help="For its history, in one line.")
@verb
def acknowledge(context: Context, alarm_ids: tuple[str, ...], note: str) -> None:
    """Say that somebody has seen ALARM…."""
    with alarm_commands(context.config()) as commands:
        done = commands.acknowledge(alarm_ids, note=note)
    _say(context, done, "acknowledged")


@alarm.command()
@click.argument("alarm_ids", metavar="ALARM…", nargs=-1, required=True)
@click.option("--for", "duration", required=True, help="How long, such as 90m, 8h or 2d; at most 7 days.")
@click.option("--reason", required=True, help="Why, in one line.")
@verb
def shelve(context: Context, alarm_ids: tuple[str, ...], duration: str, reason: str) -> None:
    """Have nobody told of ALARM… for a while."""
    with alarm_commands(context.config()) as commands:
        done = commands.shelve(alarm_ids, until_ms=after_ms(commands.now_ms(), duration), reason=reason)
    _say(context, done, "shelved")


@alarm.command()
@click.argument("alarm_ids", metavar="ALARM…", nargs=-1, required=True)
@verb
def unshelve(context: Context, alarm_ids: tuple[str, ...]) -> None:
    """Have people told of ALARM… again."""
    with alarm_commands(context.config()) as commands:
        done = commands.unshelve(alarm_ids)
    _say(context, done, "taken off the shelf")


def _say(context: Context, done: dict[str, Any], what: str) -> None:
    parts = [
        f"{done['changed_count']} {what}",
        *([f"{done['unchanged_count']} had been so already"] if done["unchanged_count"] else []),
        *([f"{done['unknown_count']} not found"] if done["unknown_count"] else []),
    ]
    context.emit(done, f"{'; '.join(parts)}.")


def _row(found: dict[str, Any]) -> dict[str, Any]:
    where = found["device_id"] or (f"group {found['group_id']}" if found["group_id"] else "this site")
    aside = ""
    if found["shelved_until_ms"] is not None:
        aside = f"shelved until {shown_at(found['shelved_until_ms'])}"
    elif found["suppressed_by"]:
        aside = f"suppressed by {found['suppressed_by']}"
    return {
        **found,
        "state": found["state"].replace("_", " "),
        "where": f"{where} {found['series']}".strip(),
        "text": found["text"] or found["rule_name"],
        "since": shown_at(found["episode_began_at_ms"]),
        "times": found["raised_count"],
        "aside": aside,
    }
