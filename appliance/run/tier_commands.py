"""What `homeport tier` does: asks the replicator how regions are, or the regions themselves."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

import trio

from appliance.core.config import Config
from appliance.core.errors import HomeportError, UsageError
from appliance.run import layout
from appliance.run.linked_regions import is_linked
from appliance.run.tier_checking import checked
from appliance.run.tier_rows import rows_opening
from appliance.run.tier_wiring import openings
from replication.control import ask

CHECK_S: Final = 60.0
"""For one region to be connected."""
WELL_MS: Final = 15_000
"""So much that is only there is the usual pace of copying."""


def list_regions(config: Config) -> list[dict[str, Any]]:
    """The regions, as the running replicator sees them (TierRegionState); none where none is configured.

    Raises:
        Unavailable: `replicator_away`.
    """
    if not config.tier_region:
        return []
    status = trio.run(ask, layout.replicator_socket(config), "status")
    found: list[dict[str, Any]] = status.get("tier", [])
    return found


def list_sites(config: Config) -> list[dict[str, Any]]:
    """The boxes of all sites, as a running cloud node knows them (SiteNodeState).

    Raises:
        UsageError: this is no cloud node. Unavailable: `replicator_away`.
    """
    if config.node.role != "cloud":
        raise UsageError(
            "This is no cloud node, and knows of no other box's safety.",
            hint="Ask on the cloud node; here, homeport peer list and homeport tier list say how safe this box is.",
        )
    status = trio.run(ask, layout.replicator_socket(config), "status")
    found: list[dict[str, Any]] = status.get("sites", [])
    return found


def is_well(node: dict[str, Any]) -> bool:
    """Whether a box was heard of lately, and nothing but its last moments is only there."""
    return bool(node["is_fresh"]) and node["rpo_ms"] is not None and node["rpo_ms"] <= WELL_MS


def check_regions(config: Config) -> list[dict[str, Any]]:
    """Connect to each region, one after the other: `is_good`, or `problem` and `hint`.

    Raises:
        ConfigError: an address or a file of credentials can't be used.
    """
    found = []
    for region in config.tier_region:
        if is_linked(region.address):
            outcome = trio.run(partial(_asked, config, region.name))
        else:
            opening = openings(replace(config, tier_region=(region,)))[region.name]
            outcome = trio.run(checked, opening, CHECK_S)
            if region.readings and outcome["is_good"]:
                outcome = trio.run(checked, rows_opening(region), CHECK_S)
        found.append({"name": region.name, "address": region.address, **outcome})
    return found


async def _asked(config: Config, region: str) -> dict[str, Any]:
    """Behind a cloud node: only the replicator has links."""
    try:
        said = await ask(layout.replicator_socket(config), "tier_check", region=region)
    except HomeportError as error:
        return {"is_good": False, "problem": error.message, "hint": error.hint or ""}
    return dict(said)
