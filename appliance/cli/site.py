"""`homeport site`: on a cloud node, what is at a site that lets it read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from appliance.cli.common import Context, printable, table, verb
from appliance.cli.times import after_ms, shown_at
from appliance.run.site_commands import device_path, read_site

_DEVICES: Final = {
    "device_id": "DEVICE",
    "name": "NAME",
    "presence": "STATE",
    "seen": "LAST SEEN",
    "reading": "LAST READING",
}
_VALUES: Final = {
    "metric": "METRIC",
    "value": "VALUE",
    "observed": "OBSERVED",
    "freshness": "FRESHNESS",
    "quality": "QUALITY",
}
_POINTS: Final = {"at": "AT", "metric": "METRIC", "value": "VALUE"}
_ALARMS: Final = {
    "severity": "PRIORITY",
    "rule_name": "RULE",
    "device_id": "DEVICE",
    "state": "STATE",
    "since": "SINCE",
    "text": "TEXT",
}


@click.group()
def site() -> None:
    """On a cloud node: devices, readings and alarms of a site, asked of its box now. SITE is the name of a box of it, or the beginning of its id."""


@site.command()
@click.argument("site_name", metavar="SITE")
@click.option("--search", default="", help="Only devices with this in id, name, serial or a tag.")
@click.option("--limit", default=100, show_default=True, help="How many at most.")
@click.option("--after", default="", help="From the device behind this one on.")
@verb
def devices(context: Context, site_name: str, search: str, limit: int, after: str) -> None:
    """List the devices of SITE."""
    asked = [("q", search), ("limit", str(limit)), ("cursor", after)]
    found = read_site(context.config(), site_name, "/devices", [pair for pair in asked if pair[1]])
    answer = found["answer"]
    rows = [
        {
            **_printable(each, "device_id", "name", "presence"),
            "seen": shown_at(each.get("last_seen_at_ms")),
            "reading": shown_at(each.get("last_reading_at_ms")),
        }
        for each in answer.get("devices", [])
    ]
    more = answer.get("next_cursor")
    lines = [table(rows, _DEVICES) if rows else "No device."]
    if more:
        lines.append(f"There are more: --after {printable(more)}")
    context.emit(found, "\n".join([*lines, _as_of(found)]))


@site.command()
@click.argument("site_name", metavar="SITE")
@click.argument("device_id")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Readings of this metric, instead of the newest values; again for others.",
)
@click.option(
    "--for",
    "duration",
    default="1h",
    show_default=True,
    help="Readings of so long until now, such as 15m, 24h or 7d.",
)
@verb
def readings(
    context: Context, site_name: str, device_id: str, metrics: tuple[str, ...], duration: str
) -> None:
    """Show the newest values of DEVICE_ID at SITE, or its readings over a while."""
    path = device_path(device_id)
    if not metrics:
        found = read_site(context.config(), site_name, f"{path}/newest")
        values = [
            {
                **_printable(each, "metric", "value", "freshness", "quality"),
                "observed": shown_at(each.get("observed_at_ms")),
            }
            for each in found["answer"].get("values", [])
        ]
        context.emit(found, "\n".join([table(values, _VALUES) if values else "No reading.", _as_of(found)]))
        return
    began = datetime.now(UTC) - timedelta(milliseconds=after_ms(0, duration))
    asked = [*(("metric", each) for each in metrics), ("from", began.isoformat()), ("aggregation", "mean")]
    found = read_site(context.config(), site_name, f"{path}/telemetry", asked)
    rows = [
        {"at": shown_at(at_ms), "metric": printable(series["metric"]), "value": printable(value)}
        for series in found["answer"].get("series", [])
        for at_ms, value in zip(series["at_ms"], series["value"], strict=False)
    ]
    context.emit(found, "\n".join([table(rows, _POINTS) if rows else "No reading.", _as_of(found)]))


@site.command()
@click.argument("site_name", metavar="SITE")
@click.option("--limit", default=100, show_default=True, help="How many at most.")
@verb
def alarms(context: Context, site_name: str, limit: int) -> None:
    """List the open alarms of SITE."""
    found = read_site(context.config(), site_name, "/alarms", [("limit", str(limit))])
    answer = found["answer"]
    rows = [
        {
            **_printable(each, "severity", "rule_name", "device_id", "state", "text"),
            "since": shown_at(each.get("raised_at_ms")),
        }
        for each in answer.get("alarms", [])
    ]
    lines = [table(rows, _ALARMS) if rows else "No alarm."]
    if answer.get("count", 0) > len(rows):
        lines.append(f"{len(rows)} of {answer['count']} are shown.")
    context.emit(found, "\n".join([*lines, _as_of(found)]))


def _printable(found: dict[str, Any], *keys: str) -> dict[str, str]:
    return {key: printable(found.get(key)) for key in keys}


def _as_of(found: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(found["answered_at_ms"] / 1000, UTC)
    return printable(f"As {found['node']} answered on {at:%Y-%m-%d %H:%M:%S} UTC.")
