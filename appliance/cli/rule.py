"""`homeport rule`: what is watched for."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import click

from appliance.cli.common import Context, printable, table, verb
from appliance.cli.rule_wish import condition_of, read_file, wish_options
from appliance.cli.scope_wish import scope_of, scope_options
from appliance.cli.times import shown_at
from appliance.core.errors import UsageError

_COLUMNS: Final = {
    "name": "NAME",
    "severity": "SEVERITY",
    "kind": "KIND",
    "metric": "METRIC",
    "state": "STATE",
    "rule_id": "ID",
}
_VERSIONS: Final = {"version": "VERSION", "at": "CHANGED", "by": "BY", "from": "FROM RECORD", "what": "HOLDS"}
_TRIED: Final = {"about": "ABOUT", "at": "FROM", "until": "UNTIL", "text": "WHAT"}
_TRIED_COUNT: Final = 50
"""Alarms that a try lists; --json has all that were answered."""
_HOUR_MS: Final = 3_600_000
_FILE = click.Path(path_type=Path)


@click.group()
def rule() -> None:
    """Rules: list, show, add, change, try, switch on and off, remove, export, import. Needs the running appliance."""


@rule.command("list")
@click.option("--filter", "text", default="", help="Part of a name or metric.")
@verb
def list_(context: Context, text: str) -> None:
    """List rules by name."""
    rules: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = context.api().get(f"/api/v1/rules?{urlencode({'q': text, 'limit': 200, **cursor})}")
        rules += page["rules"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    context.emit({"rules": rules}, table(list(map(_row, rules)), _COLUMNS))


@rule.command()
@click.argument("rule_id")
@verb
def show(context: Context, rule_id: str) -> None:
    """Show RULE_ID with its definition, as `rule add --definition` takes it, and its versions."""
    found = context.api().get(_one(rule_id))
    versions = context.api().get(f"{_one(rule_id)}/versions")["versions"]
    text = f"{table([_row(found)], _COLUMNS)}\n\n{json.dumps(found['definition'], indent=2)}\n\n"
    context.emit({**found, "versions": versions}, text + table(list(map(_version, versions)), _VERSIONS))


@rule.command()
@click.argument("name")
@scope_options
@wish_options
@click.option("--off", is_flag=True, help="Add it switched off.")
@verb
def add(context: Context, name: str, off: bool, **options: Any) -> None:
    """Watch for something under NAME from now on: --metric temp --above 80 --for 300 --all, or --definition FILE."""
    definition = _definition({}, options)
    made = context.api().post("/api/v1/rules", {"name": name, "enabled": not off, "definition": definition})
    context.emit(made, table([_row(made)], _COLUMNS))


@rule.command()
@click.argument("rule_id")
@click.option("--name", help="Another name.")
@scope_options
@wish_options
@verb
def edit(context: Context, rule_id: str, name: str | None, **options: Any) -> None:
    """Change RULE_ID; what isn't given stays. Another definition begins anew from now on."""
    changes: dict[str, Any] = {} if name is None else {"name": name}
    if any(value not in (None, (), False) for value in options.values()):
        changes["definition"] = _definition(context.api().get(_one(rule_id))["definition"], options)
    if not changes:
        raise UsageError("Say what is to change.", hint="See homeport rule edit --help.")
    changed = context.api().request("PATCH", _one(rule_id), changes)
    context.emit(changed, table([_row(changed)], _COLUMNS))


@rule.command()
@click.argument("rule_id")
@verb
def enable(context: Context, rule_id: str) -> None:
    """Switch RULE_ID on from now on."""
    _switch(context, rule_id, on=True)


@rule.command()
@click.argument("rule_id")
@verb
def disable(context: Context, rule_id: str) -> None:
    """Switch RULE_ID off; its alarms are withdrawn."""
    _switch(context, rule_id, on=False)


@rule.command()
@click.argument("rule_id")
@verb
def remove(context: Context, rule_id: str) -> None:
    """Remove RULE_ID; its alarms are withdrawn, their history stays."""
    context.api().request("DELETE", _one(rule_id))
    context.emit({"rule_id": rule_id}, "The rule is gone; it holds no more from now on.")


@rule.command("try")
@click.argument("rule_id", required=False)
@click.option("--hours", type=click.IntRange(1, 168), default=24, show_default=True, help="Of the past.")
@scope_options
@wish_options
@verb
def try_(context: Context, rule_id: str | None, hours: int, **options: Any) -> None:
    """Say which alarms RULE_ID, changed by what is given, or a new rule would have raised. Nothing is saved."""
    before = context.api().get(_one(rule_id))["definition"] if rule_id is not None else {}
    to_ms = time.time_ns() // 1_000_000
    query = {
        "definition": json.dumps(_definition(before, options)),
        "from_ms": to_ms - hours * _HOUR_MS,
        "to_ms": to_ms,
    }
    found = context.api().get(f"/api/v1/rules/try-out?{urlencode(query)}")
    said = (
        f"{found['count']} alarms out of {found['reading_count']} readings of {found['series_count']} series."
    )
    rows = [_tried(each) for each in found["alarms"][:_TRIED_COUNT]]
    context.emit(found, "\n\n".join([said, *([table(rows, _TRIED)] if rows else [])]))


@rule.command()
@click.argument("file", type=_FILE, required=False)
@verb
def export(context: Context, file: Path | None) -> None:
    """Write all rules to FILE, or to standard output."""
    found = context.api().get("/api/v1/rules/export")
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    if file is None:
        click.echo(text, nl=False)
        return
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(
            f"{file} can't be written: {error.strerror}.", hint="Choose another file.", code="file_unwritable"
        ) from error
    context.emit(
        {"file": str(file), "count": len(found["rules"])}, f"{len(found['rules'])} rules are in {file}."
    )


@rule.command("import")
@click.argument("file", type=_FILE)
@verb
def import_(context: Context, file: Path) -> None:
    """Make the rules of FILE (- for standard input), or change those of the same name. All of them or none."""
    done = context.api().post("/api/v1/rules/import", read_file(file, sys.stdin))
    words = ", ".join(f"{len(done[what])} {what}" for what in ("made", "changed", "unchanged"))
    context.emit(done, f"Rules: {words}.")


def _definition(before: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """A definition out of options, over what was before."""
    if options["definition"] is not None:
        rest = read_file(options["definition"], sys.stdin)
        if not isinstance(rest, dict):
            raise UsageError(
                f"{options['definition']} holds no definition.",
                hint="It is a JSON object: docs/RULES.md shows one.",
            )
        before = before | rest
    given = {
        "scope": scope_of(options),
        "condition": condition_of(options),
        **{field: options[field] for field in ("metric", "severity", "on_delay_s", "off_delay_s", "text")},
    }
    changed = before | {field: value for field, value in given.items() if value is not None}
    changed.setdefault("severity", "P2")
    if "condition" not in changed:
        raise UsageError(
            "The rule looks for nothing.",
            hint="Give --above, --below, --no-data, --stuck, or --definition FILE for the other kinds (docs/RULES.md).",
        )
    return changed


def _switch(context: Context, rule_id: str, *, on: bool) -> None:
    changed = context.api().request("PATCH", _one(rule_id), {"enabled": on})
    context.emit(changed, table([_row(changed)], _COLUMNS))


def _one(rule_id: str) -> str:
    return f"/api/v1/rules/{quote(rule_id, safe='')}"


def _row(each: dict[str, Any]) -> dict[str, Any]:
    definition = each["definition"]
    return {
        **each,
        "severity": definition["severity"],
        "metric": definition["metric"],
        "state": ("on" if each["enabled"] else "off") + (", built in" if each["built_in"] else ""),
    }


def _version(each: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": each["definition_version"],
        "at": shown_at(each["changed_at_ms"]),
        "by": printable(each["changed_by"]),
        "from": f"{each['from_epoch']}:{each['from_seq']}",
        "what": "yes" if each["definition"] is not None else "off from there on",
    }


def _tried(each: dict[str, Any]) -> dict[str, Any]:
    about = each["device_id"] or (f"group {each['group_id']}" if each["group_id"] else "all of them")
    return {
        "about": printable(f"{about} {each['series']}".strip()),
        "at": shown_at(each["at_ms"]),
        "until": shown_at(each["until_ms"]) if each["until_ms"] is not None else "active still",
        "text": printable(each["text"]),
    }
