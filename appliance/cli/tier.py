"""`homeport tier`: copies in a cloud."""

from __future__ import annotations

import sys
from typing import Any

import click

from appliance.cli.common import Context, printable, table, verb
from appliance.cli.times import shown_at
from appliance.run import layout
from appliance.run.local_api import LocalApi
from appliance.run.tier_commands import check_regions, is_well, list_regions, list_sites

_COLUMNS = {
    "name": "REGION",
    "state": "STATE",
    "lag": "LACKS",
    "put": "PUT",
    "mended": "MENDED",
    "key": "KEY",
    "asked": "REQUESTS A DAY",
    "held": "HELD BACK",
    "rows": "ROWS",
    "problem": "PROBLEM",
}
_SITE_COLUMNS = {
    "site": "SITE",
    "name": "BOX",
    "link": "LINK",
    "rpo": "LOST NOW",
    "worst": "WORST OF 24 H",
    "lag": "WAITS",
    "stored": "RECORDS HERE",
    "heard": "LAST HEARD",
    "problem": "PROBLEM",
}
_NO_SITES = "No box of a site belongs to the fleet of this cloud node yet. docs/CLOUD.md says how one joins."
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


@tier.command("rotate-key")
@verb
def rotate_key(context: Context) -> None:
    """Begin a new key: it seals what the site's boxes put into the cloud from now on. What lies there stays readable with the recovery kit."""
    done = LocalApi(layout.node_socket(context.config())).post("/api/v1/replication/tier/rotate-key", {})
    when = "from now on" if done["is_in_use"] else "as soon as the replicator is there"
    context.emit(
        done, f"Key {done['generation']} seals what goes to the cloud {when}; older pieces stay readable."
    )


@tier.command()
@verb
def sites(context: Context) -> None:
    """On a cloud node: the boxes of all sites, and how safe each says that it is. Ends with 1 if one isn't heard from or lacks more than moments."""
    nodes = list_sites(context.config())
    text = table([_site_row(node) for node in nodes], _SITE_COLUMNS) if nodes else _NO_SITES
    context.emit(nodes, text)
    sys.exit(0 if all(is_well(node) for node in nodes) else 1)


def _site_row(node: dict[str, Any]) -> dict[str, Any]:
    rpo_ms, lag, heard_ms = node["rpo_ms"], node["lag_entries"], node["heard_at_ms"]
    records = [stored["next_seq"] - 1 for stored in node["stored"] if stored["name"] == "telemetry"]
    return {
        "site": node["site_id"][:8],
        "name": node["name"],
        "link": node["link"],
        "rpo": "?" if heard_ms is None else "all" if rpo_ms is None else f"{rpo_ms / 1000:.1f} s",
        "worst": "?" if node["rpo_worst_ms"] is None else f"{node['rpo_worst_ms'] / 1000:.1f} s",
        "lag": "?" if lag is None else f"{lag:,} records",
        "stored": f"{max(records):,}" if records else "?",
        "heard": "-" if heard_ms is None else shown_at(heard_ms),
        "problem": printable(node["problem"]) or "-",
    }


def _row(region: dict[str, Any]) -> dict[str, Any]:
    lag, per_day, held_ms = region["lag_entries"], region["requests_per_day"], region["budget_wait_ms"]
    rows = region.get("rows")
    return {
        "name": region["name"],
        "state": "away" if region["problem"] else "live" if region["is_live"] else "filled",
        "lag": "?" if lag is None else _records(lag),
        "put": f"{region['pieces']:,} pieces, {region['bytes']:,} bytes",
        "mended": region["mended"],
        "key": region["key_generation"] or "none",
        "asked": "?"
        if per_day is None
        else ", ".join(f"{count:,} {kind}" for kind, count in per_day.items()),
        "held": "-" if held_ms is None else f"{held_ms / 1_000:.1f} s",
        "rows": "-" if rows is None else _rows(rows),
        "problem": printable(region["problem"] or (rows["problem"] if rows else "")) or "-",
    }


def _rows(rows: dict[str, Any]) -> str:
    lag = rows["lag_entries"]
    waits = "?" if lag is None else _records(lag)
    erasures = f", {rows['erasures_waiting']} erasures wait" if rows["erasures_waiting"] else ""
    return f"{rows['rows']:,} uploaded, {waits} to go{erasures}"


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"
