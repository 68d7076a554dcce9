"""A drill out of a region of the cloud: the box is had back as `homeport restore --from s3://…` would, pieces opened with the site's key and verified by the chain.

Nothing is written there: no epoch is claimed. A region behind a cloud node gives nothing to a box in no fleet, so neither does it for a drill: its store is asked itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import trio

from appliance.core.clock import SystemClock
from appliance.core.config import Config
from appliance.core.config_tier import TierRegionConfig
from appliance.core.errors import HomeportError, Unavailable
from appliance.identity.fleet import Fleet
from appliance.identity.keys import SiteKeys
from appliance.management.drill import DrillReport, check_region
from appliance.run.drilling import drill
from appliance.run.drilling_box import box_of_region, roster_of
from appliance.run.linked_regions import is_linked, not_linked
from appliance.run.tier_wiring import openings, site_tier_keys
from replication.tier.source import TierSource

CONNECT_S: Final = 60.0


async def carry_out_of_cloud(
    config: Config,
    drill_id: str,
    *,
    is_scheduled: bool,
    progress: Callable[[str, int, int], None],
    region: str = "",
) -> DrillReport:
    """A drill out of one region.

    Args:
        region: Its name; "" for the first that is not behind a cloud node.
    Raises:
        NotFound: `fleet_missing`, `tier_missing`, `tier_region_unknown`. Unavailable: `tier_away`. TierAway, TierUnfit: it can't be connected.
        ConfigError: its address or credentials can't be used, or it is behind a cloud node.
    """
    roster = roster_of(config)
    chosen = _chosen(config, region)
    keys = SiteKeys.load_existing(config.node.data_dir)
    fleet = Fleet.load(config.node.data_dir, keys)
    opens = openings(replace(config, tier_region=(chosen,)))[chosen.name]
    reports: list[DrillReport] = []
    errors: list[HomeportError] = []
    try:
        with trio.fail_after(CONNECT_S) as time:
            async with opens() as engine:
                source = TierSource(chosen.name, engine, site_tier_keys(config, keys))
                try:
                    there = await source.nodes()
                    time.deadline = float("inf")
                    box = box_of_region(config, keys, fleet, roster, region=chosen.name, there=there)
                    reports.append(
                        await drill(
                            box,
                            source,
                            drill_id=drill_id,
                            is_scheduled=is_scheduled,
                            clock=SystemClock(),
                            progress=progress,
                        )
                    )
                except HomeportError as error:  # out of the engine's nursery as itself, not in a group
                    errors.append(error)
    except trio.TooSlowError as error:
        raise Unavailable(
            f"The region {chosen.name} does not answer.",
            hint="Look at the network and the address: homeport tier check.",
            code="tier_away",
        ) from error
    if errors:
        raise errors[0]
    return reports[0]


def _chosen(config: Config, region: str) -> TierRegionConfig:
    check_region([each.name for each in config.tier_region], region)
    candidates = [each for each in config.tier_region if region in ("", each.name)]
    direct = [each for each in candidates if not is_linked(each.address)]
    if not direct:
        raise not_linked(candidates[0].address)
    return direct[0]
