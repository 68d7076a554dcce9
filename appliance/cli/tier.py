"""`homeport tier`: copies in a cloud."""

from __future__ import annotations

import sys
from typing import Any

import click

from appliance.cli.common import Context, printable, table, verb
from appliance.run.tier_commands import check_regions, list_regions

_COLUMNS = {
    "name": "REGION",
    "state": "STATE",
    "lag": "LACKS",
    "put": "PUT",
    "mended": "MENDED",
    "problem": "PROBLEM",
}
_CHECK_COLUMNS = {"name": "REGION", "address": "ADDRESS", "verdict": "VERDICT"}


@click.group()
def tier() -> None:
    """Copies in a cloud: regions, how far they are, and whether they can be used."""


@tier.command("list")
@verb
def list_(context: Context) -> None:
    """Each region, as the running replicator sees it."""
    regions = list_regions(context.config())
    if not regions:
        context.emit(regions, "No region is configured. docs/CLOUD.md says how one is.")
        return
    context.emit(regions, table([_row(region) for region in regions], _COLUMNS))


@tier.command()
@verb
def check(context: Context) -> None:
    """Connect to each region of the configuration, and look whether it keeps what it acknowledges. Ends with 1 if one can't be used."""
    found = check_regions(context.config())
    rows = [
        {**each, "verdict": "good" if each["is_good"] else printable(f"{each['problem']} {each['hint']}")}
        for each in found
    ]
    text = table(rows, _CHECK_COLUMNS) if rows else "No region is configured. docs/CLOUD.md says how one is."
    context.emit(found, text)
    sys.exit(0 if all(each["is_good"] for each in found) else 1)


def _row(region: dict[str, Any]) -> dict[str, Any]:
    lag = region["lag_entries"]
    return {
        "name": region["name"],
        "state": "away" if region["problem"] else "live" if region["is_live"] else "filled",
        "lag": "?" if lag is None else f"{lag:,} records",
        "put": f"{region['pieces']:,} pieces, {region['bytes']:,} bytes",
        "mended": region["mended"],
        "problem": printable(region["problem"]) or "-",
    }
