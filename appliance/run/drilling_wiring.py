"""Drills, put together for the node: which program carries one out, and where things lie."""

from __future__ import annotations

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.run import layout
from appliance.run.drilling_process import command
from storage.catalog import AsyncCatalog
from ui.drill_desk import DrillDesk, DrillPlaces


def make_drills(config: Config, catalog: AsyncCatalog, clock: Clock) -> DrillDesk:
    """The node's. Its processes are given the configuration as the node was: by the environment."""
    places = DrillPlaces(
        command=command(),
        reports=layout.drill_reports(config),
        scratch=layout.drill_folder(config),
        fleet=layout.fleet(config),
    )
    return DrillDesk(
        places,
        catalog,
        days=config.replication.drill_days,
        cloud_days=config.tier.drill_days if config.tier_region else 0,
        clock=clock,
    )
