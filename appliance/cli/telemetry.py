"""`homeport telemetry`: readings of devices, the highest of a metric, files of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args
from urllib.parse import urlencode

import click

from appliance.cli.common import Context, table, verb
from appliance.core.errors import UsageError
from appliance.core.limits import TOP_COUNT_DEFAULT, TOP_COUNT_MAX
from ui.telemetry_file import MEDIA
from ui.telemetry_question import AGGREGATIONS, TopAggregation
from ui.utc import iso_utc

_F = TypeVar("_F", bound=Callable[..., Any])
_TOP_COLUMNS = {
    "device_id": "DEVICE",
    "metric": "METRIC",
    "shown": "VALUE",
    "count": "READINGS",
    "freshness": "NOW",
}
POINTS_DEFAULT = 50
"""Rows that a terminal shows at once."""


def _range(function: _F) -> _F:
    """The options that say from when to when."""
    for option in (
        click.option("--to", help="Before this time; now if left out."),
        click.option(
            "--from",
            "from_",
            default="-24h",
            show_default=True,
            help="From then on: -15m, -24h, -7d back from now, 2026-03-01T00:00:00Z, or UTC ms.",
        ),
    ):
        function = option(function)
    return function


@click.group()
def telemetry() -> None:
    """Readings: query, top, export. Needs the running appliance."""


@telemetry.command()
@click.argument("devices", nargs=-1, required=True)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Only this metric; may be repeated, * stands for any characters.",
)
@_range
@click.option(
    "--aggregation",
    type=click.Choice(AGGREGATIONS),
    default="band",
    show_default=True,
    help="What of each interval.",
)
@click.option(
    "--interval-ms",
    type=click.IntRange(min=1),
    help="Width of an interval; a round one that gives --points if left out.",
)
@click.option(
    "--points",
    type=click.IntRange(1, 10_000),
    default=POINTS_DEFAULT,
    show_default=True,
    help="So many points of each metric at most.",
)
@verb
def query(
    context: Context,
    devices: tuple[str, ...],
    metrics: tuple[str, ...],
    from_: str,
    to: str | None,
    aggregation: str,
    interval_ms: int | None,
    points: int,
) -> None:
    """Show readings of DEVICES (ids; * stands for any characters) over a range."""
    asked = [*_names(devices, metrics), ("from", from_), ("aggregation", aggregation)]
    if aggregation != "raw":
        asked.append(("interval_ms", str(interval_ms)) if interval_ms else ("width", str(points)))
    elif interval_ms:
        asked.append(("interval_ms", str(interval_ms)))
    found = context.api().get(_address("", asked, to))
    context.emit(found, "\n\n".join(_series_text(one) for one in found["series"]) or "(none)")


@telemetry.command()
@click.argument("metric")
@click.option(
    "--device",
    "devices",
    multiple=True,
    help="Only these devices; may be repeated, * stands for any characters.",
)
@_range
@click.option(
    "--aggregation",
    type=click.Choice(get_args(TopAggregation)),
    default="max",
    show_default=True,
    help="What is compared.",
)
@click.option("--lowest", is_flag=True, help="The lowest instead of the highest.")
@click.option(
    "--limit",
    type=click.IntRange(1, TOP_COUNT_MAX),
    default=TOP_COUNT_DEFAULT,
    show_default=True,
    help="So many at most.",
)
@verb
def top(
    context: Context,
    metric: str,
    devices: tuple[str, ...],
    from_: str,
    to: str | None,
    aggregation: str,
    lowest: bool,
    limit: int,
) -> None:
    """Show the devices with the highest value of METRIC (* stands for any characters) over a range."""
    asked = [
        *_names(devices, (metric,)),
        ("from", from_),
        ("aggregation", aggregation),
        ("order", "lowest" if lowest else "highest"),
        ("limit", str(limit)),
    ]
    found = context.api().get(_address("/top", asked, to))
    rows = [
        {
            **one,
            "device_id": _printable(one["device_id"]),
            "metric": _printable(one["metric"]),
            "shown": f"{_cell(one['value'])} {one['unit']}".rstrip(),
        }
        for one in found["values"]
    ]
    context.emit(found, table(rows, _TOP_COLUMNS))


@telemetry.command()
@click.argument("devices", nargs=-1)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Only this metric; may be repeated, * stands for any characters.",
)
@_range
@click.option("--format", "format_", type=click.Choice(list(MEDIA)), default="csv", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file; else standard output."
)
@verb
def export(
    context: Context,
    devices: tuple[str, ...],
    metrics: tuple[str, ...],
    from_: str,
    to: str | None,
    format_: str,
    output: Path | None,
) -> None:
    """Write every reading of DEVICES (all of them if none is named) over a range to a file."""
    pieces = context.api().download(
        _address("/export", [*_names(devices, metrics), ("from", from_), ("format", format_)], to)
    )
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    # What is wrong with the question is said before a file is made.
    first = next(pieces, b"")
    try:
        with output.open("xb") as file:
            size_bytes = file.write(first)
            for piece in pieces:
                size_bytes += file.write(piece)
    except OSError as error:
        raise UsageError(
            f"{output} can't be written: {error.strerror}.", hint="Name a file that isn't there yet."
        ) from error
    context.emit({"file": str(output), "size_bytes": size_bytes}, f"{output}: {size_bytes} bytes.")


def _names(devices: Sequence[str], metrics: Sequence[str]) -> list[tuple[str, str]]:
    return [("device", name) for name in devices] + [("metric", name) for name in metrics]


def _address(path: str, asked: list[tuple[str, str]], to: str | None) -> str:
    if to is not None:
        asked = [*asked, ("to", to)]
    return f"/api/v1/telemetry{path}?{urlencode(asked)}"


def _series_text(one: dict[str, Any]) -> str:
    unit = f", {one['unit']}" if one["unit"] else ""
    heading = f"{_printable(one['device_id'])} {_printable(one['metric'])}{unit} ({one['freshness']})"
    columns = {"at": "AT (UTC)", "value": "VALUE"} | {
        key: key.upper() for key in ("min", "max", "count", "quality") if one[key] is not None
    }
    rows = [
        {"at": iso_utc(at_ms)} | {key: _cell(one[key][index]) for key in columns if key != "at"}
        for index, at_ms in enumerate(one["at_ms"])
    ]
    more = "\nThere is more: ask for a shorter range." if one["truncated"] else ""
    return f"{heading}\n{table(rows, columns)}{more}"


def _cell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "on", False: "off"}[value]
    return f"{value:.6g}" if isinstance(value, float) else _printable(str(value))


def _printable(text: str) -> str:
    """Without what a terminal would take for a command: names and texts come from devices."""
    return "".join(each if each.isprintable() else "�" for each in text)
