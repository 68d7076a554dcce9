"""`homeport trace`: where a reading spent its time."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import click

from appliance.cli.common import Context, printable, table, verb
from appliance.cli.times import shown_at
from appliance.core.limits import PAGE_ITEM_COUNT_MAX
from appliance.tracing.book import Trace
from appliance.tracing.journeys import Journey, journeys, milliseconds, tree
from appliance.tracing.span import Span

_BAR_CHARS: Final = 32
_COLUMNS: Final = {
    "at": "ARRIVED",
    "device": "DEVICE",
    "took": "TOOK",
    "stages": "OF THAT",
    "trace": "TRACE",
}
_STEPS: Final = {"step": "STEP", "from": "FROM", "took": "TOOK", "bar": "", "words": "WHAT"}
_SHOWN: Final = (
    "messaging.destination.name",
    "http.response.status_code",
    "url.path",
    "homeport.fate",
    "homeport.rule.id",
    "homeport.alarm.id",
    "homeport.notification.target",
)


@click.group()
def trace() -> None:
    """Traces: list, show, trace the next reading of a device. Needs the running appliance."""


@trace.command("list")
@click.argument("device_id", required=False)
@click.option("--limit", type=click.IntRange(1, PAGE_ITEM_COUNT_MAX), default=20, show_default=True)
@verb
def list_(context: Context, device_id: str | None, limit: int) -> None:
    """List the newest traced readings, of DEVICE_ID where it is given."""
    address = "/api/v1/traces" if device_id is None else _of_device(device_id)
    found = context.api().get(f"{address}?limit={limit}")
    rows = [_row(each) for one in found["traces"] for each in journeys(_trace(one))]
    context.emit(found, table(rows, _COLUMNS))


@trace.command()
@click.argument("trace_id")
@verb
def show(context: Context, trace_id: str) -> None:
    """Show the steps of TRACE_ID."""
    found = context.api().get(f"/api/v1/traces/{quote(trace_id, safe='')}")
    one = _trace(found)
    head = f"{one.trace_id}: {milliseconds(found['duration_us'])} from {shown_at(one.start_us // 1000)}"
    if one.device_ids:
        head += f", {printable(', '.join(one.device_ids))}"
    rows = [_step(one, depth, span) for depth, span in tree(one.spans)]
    context.emit(found, f"{head}\n{table(rows, _STEPS)}")


@trace.command("next")
@click.argument("device_id")
@verb
def next_(context: Context, device_id: str) -> None:
    """Trace the next reading of DEVICE_ID; see it then with homeport trace list DEVICE_ID."""
    done = context.api().post(_of_device(device_id), None)
    minutes = done["waits_ms"] // 60_000
    context.emit(
        done, f"The next reading of {printable(device_id)} is traced, if it comes within {minutes} min."
    )


def _of_device(device_id: str) -> str:
    return f"/api/v1/devices/{quote(device_id, safe='')}/traces"


def _trace(answer: dict[str, Any]) -> Trace:
    spans = tuple(
        Span(
            answer["trace_id"],
            each["span_id"],
            each["parent_id"],
            each["name"],
            1,
            answer["start_at_us"] + each["start_us"],
            answer["start_at_us"] + each["start_us"] + each["duration_us"],
            each["attributes"],
            each["error"],
        )
        for each in answer["spans"]
    )
    return Trace(trace_id=answer["trace_id"], device_ids=tuple(answer["device_ids"]), spans=spans)


def _row(journey: Journey) -> dict[str, str]:
    return {
        "at": shown_at(journey.arrived_us // 1000),
        "device": printable(journey.device_id),
        "took": milliseconds(journey.duration_us),
        "stages": ", ".join(f"{each.name} {milliseconds(each.duration_us)}" for each in journey.stages),
        "trace": journey.trace_id,
    }


def _step(one: Trace, depth: int, span: Span) -> dict[str, str]:
    whole_us = max(1, one.end_us - one.start_us)
    before = (span.start_us - one.start_us) * _BAR_CHARS // whole_us
    length = max(1, round(span.duration_us * _BAR_CHARS / whole_us))
    words = [str(span.attributes[key]) for key in _SHOWN if key in span.attributes]
    return {
        "step": "  " * depth + printable(span.name),
        "from": f"+{milliseconds(span.start_us - one.start_us)}",
        "took": milliseconds(span.duration_us),
        "bar": (" " * before + "#" * length)[:_BAR_CHARS].ljust(_BAR_CHARS),
        "words": printable(" ".join([*words, f"failed: {span.error}"] if span.error else words)),
    }
