"""What `homeport tier` does: asks the replicator how regions are, or the regions themselves."""

from __future__ import annotations

from typing import Any, Final

import trio

from appliance.core.config import Config
from appliance.core.errors import HomeportError
from appliance.run import layout
from appliance.run.tier_wiring import openings
from replication.control import ask
from replication.tier.engine import Opening

CHECK_S: Final = 60.0
"""For one region to be connected."""


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


def check_regions(config: Config) -> list[dict[str, Any]]:
    """Connect to each region, one after the other: `is_good`, or `problem` and `hint`.

    Raises:
        ConfigError: an address or a file of credentials can't be used.
    """
    found = []
    for region, opening in zip(config.tier_region, openings(config).values(), strict=True):
        outcome = trio.run(_checked, opening)
        found.append({"name": region.name, "address": region.address, **outcome})
    return found


async def _checked(opening: Opening) -> dict[str, Any]:
    try:
        with trio.fail_after(CHECK_S):
            async with opening():
                return {"is_good": True, "problem": "", "hint": ""}
    except HomeportError as error:
        return {"is_good": False, "problem": error.message, "hint": error.hint or ""}
    except trio.TooSlowError:
        return {"is_good": False, "problem": "It did not answer in time.", "hint": "Look at the network."}
