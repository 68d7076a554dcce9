"""The catalog of a site with several nodes, on this one: what is changed here goes out, what is changed elsewhere comes in, and what a
node that is gone drove goes on here. Also what the audit is told of the fleet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.identity import SiteKeys
from appliance.pipeline.live import LiveView
from appliance.pipeline.mapping_desk import MappingDesk
from appliance.pipeline.rule_set_desk import RuleSetDesk
from appliance.run.catalog_following import CatalogFollowing, make_catalog_following
from appliance.run.catalog_streaming import CatalogStreaming, make_catalog_streaming
from appliance.run.fleet_audit import FleetAudit
from appliance.run.replication_asking import replication_source
from appliance.run.standing_in import StandingIn
from appliance.twins.room import TwinRoom
from appliance.updates.engine import Engine
from storage.catalog import AsyncCatalog
from storage.fleet.roster_file import fleet_folder
from storage.log.source import LogSource


class SiteCatalog:
    """Both directions, and standing in. A box without peers has none of it."""

    def __init__(
        self,
        streaming: CatalogStreaming,
        following: CatalogFollowing,
        standing_in: StandingIn,
        audit: FleetAudit,
    ) -> None:
        self._streaming = streaming
        self._following = following
        self._standing_in = standing_in
        self._audit = audit

    @property
    def rooms(self) -> Mapping[str, Callable[[], Mapping[str, Any]]]:
        """Their statistics, by name."""
        return {
            "catalog_stream": self._streaming.statistics,
            "catalog_following": self._following.statistics,
            "standing_in": self._standing_in.statistics,
        }

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._streaming.run)
            nursery.start_soon(self._following.run)
            nursery.start_soon(self._standing_in.run)
            nursery.start_soon(self._audit.run)


def make_site_catalog(
    config: Config,
    catalog: AsyncCatalog,
    keys: SiteKeys,
    rules: RuleSetDesk,
    mappings: MappingDesk,
    reader: LogSource,
    engine: Engine,
    twins: TwinRoom,
    live: LiveView,
    *,
    clock: Clock,
) -> SiteCatalog:
    """The node's.

    Args:
        reader: Of the log that readings come from.
        live: Knows at which node devices are connected.
        engine, twins: Through which what another node drove goes on, and devices hear what they are wanted to be.
    """
    standing_in = StandingIn(
        catalog,
        engine,
        twins.commands,
        replication=replication_source(config),
        fleet=fleet_folder(config.node.data_dir),
        where=live.nodes_of,
        away=live.set_away,
        clock=clock,
    )
    return SiteCatalog(
        make_catalog_streaming(config, catalog, keys, clock),
        make_catalog_following(
            config, catalog, keys, rules, mappings, reader, clock, on_twins=twins.desk.look
        ),
        standing_in,
        FleetAudit(catalog, fleet_folder(config.node.data_dir)),
    )
