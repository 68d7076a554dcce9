"""`homeport mapping`: by which topics and payloads become readings."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode

import click

from appliance.cli.common import Context, printable, table, verb
from appliance.core.errors import UsageError
from appliance.core.limits import TRY_OUT_COUNT_MAX
from appliance.management.field_text import parse_fields
from appliance.management.mapping import FORMATS

_COLUMNS: Final = {
    "position": "TRIED",
    "pattern": "TOPIC",
    "format": "FORMAT",
    "metric": "METRIC",
    "field_count": "FIELDS",
    "mapping_id": "ID",
    "note": "NOTE",
}
_TRIED: Final = {"topic": "TOPIC", "result": "GIVES", "reading": "FIRST READING", "position": "RECORD"}

_FORMAT = click.option("--format", "format_", type=click.Choice(FORMATS), help="How the payload reads.")
_METRIC = click.option("--metric", help="Name for a plain value, and front part of an object's keys.")
_FIELD = click.option(
    "--field", "fields", multiple=True, help='Such as "ENERGY.Power = power_kw * 0.001"; may be given again.'
)
_ONLY = click.option(
    "--only-fields/--all-fields", default=None, help="Whether fields that aren't named are left out."
)
_NOTE = click.option("--note", help="Why it is there.")
_POSITION = click.option("--position", type=click.IntRange(min=1), help="1 is tried first; without it, last.")


@click.group()
def mapping() -> None:
    """Mappings: list, add, change, remove, try on recent messages. Needs the running appliance."""


@mapping.command("list")
@verb
def list_(context: Context) -> None:
    """List mappings in the order in which they are tried, those of the configuration at the end."""
    found = context.api().get("/api/v1/mappings")
    rows = [_row(each) for each in found["mappings"]]
    rows += [{**each, "position": "", "note": "from the configuration"} for each in found["configured"]]
    rows += [{**each, "position": "", "note": "always there"} for each in found["defaults"]]
    context.emit(found, table(rows, _COLUMNS))


@mapping.command()
@click.argument("topic")
@_FORMAT
@_METRIC
@_FIELD
@_ONLY
@_NOTE
@_POSITION
@verb
def add(context: Context, topic: str, **options: Any) -> None:
    """Read messages of TOPIC, a pattern such as tele/{device}/SENSOR, from now on."""
    made = context.api().post("/api/v1/mappings", {"pattern": topic, **_changes(**options)})
    context.emit(made, table([_row(made)], _COLUMNS))


@mapping.command()
@click.argument("mapping_id")
@click.option("--topic", help="Another pattern.")
@_FORMAT
@_METRIC
@_FIELD
@_ONLY
@_NOTE
@_POSITION
@verb
def edit(context: Context, mapping_id: str, topic: str | None, **options: Any) -> None:
    """Change MAPPING_ID; what isn't given stays. Holds from now on."""
    changes = _changes(**options) | ({} if topic is None else {"pattern": topic})
    if not changes:
        raise UsageError("Say what is to change.", hint="See homeport mapping edit --help.")
    changed = context.api().request("PATCH", _one(mapping_id), changes)
    context.emit(changed, table([_row(changed)], _COLUMNS))


@mapping.command()
@click.argument("mapping_id")
@verb
def remove(context: Context, mapping_id: str) -> None:
    """Remove MAPPING_ID; the readings that it gave stay."""
    context.api().request("DELETE", _one(mapping_id))
    context.emit({"mapping_id": mapping_id}, "The mapping is gone; it holds no more from now on.")


@mapping.command("try")
@click.argument("topic")
@_FORMAT
@_METRIC
@_FIELD
@_ONLY
@_POSITION
@click.option("--dead-letters", is_flag=True, help="Try it on dead letters instead of the newest messages.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, TRY_OUT_COUNT_MAX))
@verb
def try_(context: Context, topic: str, dead_letters: bool, limit: int, **options: Any) -> None:
    """Show what a mapping of TOPIC would make of recent messages. Nothing is changed."""
    lines = options.pop("fields")
    parse_fields(lines)
    chosen = {key: value for key, value in _changes(**options, fields=()).items() if value is not None}
    query: list[tuple[str, Any]] = [("pattern", topic), ("limit", limit), *chosen.items()]
    query += [("field", line) for line in lines]
    if dead_letters:
        query.append(("source", "dead_letters"))
    encoded = urlencode(
        [(key, str(value).lower() if isinstance(value, bool) else value) for key, value in query]
    )
    found = context.api().get(f"/api/v1/mappings/try?{encoded}")
    count = len(found["messages"])
    summary = f"{found['fit_count']} of {count} messages would become readings; {found['looked_at']} records were looked at."
    context.emit(found, f"{table(list(map(_tried, found['messages'])), _TRIED)}\n{summary}")


def _changes(
    *,
    format_: str | None,
    metric: str | None,
    fields: tuple[str, ...],
    only_fields: bool | None,
    position: int | None,
    note: str | None = None,
) -> dict[str, Any]:
    """What was given, as the API takes it."""
    rules = [
        {"path": rule.path, "metric": rule.metric, "scale": rule.scale, "offset": rule.offset}
        for rule in parse_fields(fields)
    ]
    given = {
        "format": format_,
        "metric": metric,
        "fields": rules or None,
        "only_fields": only_fields,
        "note": note,
        "position": position,
    }
    return {key: value for key, value in given.items() if value is not None}


def _one(mapping_id: str) -> str:
    return f"/api/v1/mappings/{quote(mapping_id, safe='')}"


def _row(each: dict[str, Any]) -> dict[str, Any]:
    return {**each, "field_count": len(each["fields"])}


def _tried(message: dict[str, Any]) -> dict[str, Any]:
    first = message["rows"][0] if message["rows"] else None
    if message["taken_by"]:
        result = f"taken by {message['taken_by']}"
    elif first:
        result = f"{message['row_count']} readings"
    else:
        result = " ".join(filter(None, (message["reason"], message["detail"])))
    return {
        "topic": printable(message["topic"]),
        "result": printable(result),
        "reading": printable(f"{first['device']} {first['metric']} = {first['value']}") if first else "",
        "position": f"{message['epoch']}:{message['seq']}",
    }
