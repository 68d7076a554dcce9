"""What uploads readings as rows, put together: one for each region that takes them; without one nothing is loaded."""

from __future__ import annotations

from functools import partial

import msgspec
import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import ConfigError
from appliance.identity.fleet import site_id_of
from appliance.identity.keys import SiteKeys
from appliance.management.replication_state import TierRowsState
from appliance.pipeline.directory import DeviceDirectory
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.pipeline import Pipeline
from appliance.pipeline.rows_reading import RowsReading
from appliance.run import layout
from appliance.run.rows_uploading import Box, RowsUploading
from appliance.run.site_wiring import Site
from appliance.run.tier_rows import rows_opening
from replication.control import ask
from storage.catalog import AsyncCatalog
from storage.log.reader import LogReader
from storage.site.places import OWN

log = structlog.get_logger(__name__)


class SiteNumbers:
    """How own records are called on the site (appliance.pipeline.rows_reading.Numbering)."""

    def __init__(self, site: Site) -> None:
        self._order = site.order

    def of_site(self, seq: int) -> int:
        return self._order.position(OWN, seq) or 1

    def own(self, site_seq: int) -> int:
        # Where all that is left of the own stream lies before that place, nothing of it is named.
        return self._order.positions(site_seq).get(self._order.own_log, 1)


class Rows:
    """All of them."""

    def __init__(self) -> None:
        self.uploading: list[RowsUploading] = []
        self._readings: list[RowsReading] = []

    def add(self, uploading: RowsUploading, reading: RowsReading) -> None:
        self.uploading.append(uploading)
        self._readings.append(reading)

    async def run(self) -> None:
        """Upload until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                for each in self.uploading:
                    nursery.start_soon(each.run)
        finally:
            for reading in self._readings:
                reading.close()


def make_rows(
    config: Config,
    keys: SiteKeys,
    site: Site,
    catalog: AsyncCatalog,
    mappings: MappingSets,
    pipeline: Pipeline,
    directory: DeviceDirectory,
    clock: Clock,
) -> Rows:
    """What uploads to each region with `readings = true`. Blocks for some ms.

    An address or a file of credentials that can't be used is logged, and told by `homeport tier check`: the box serves without rows.
    """
    rows = Rows()
    numbers = SiteNumbers(site)
    box = Box(
        node_id=keys.node_id.hex(),
        site=site_id_of(keys),
        name=config.node.name,
        catalog=catalog,
        mappings=mappings,
        complete_seq=lambda: pipeline.reading.complete_seq,
        own_seq=numbers.own,
        known=directory.known,
    )
    for region in config.tier_region:
        if not region.readings:
            continue
        try:
            connect = rows_opening(region)
        except ConfigError as error:
            log.error(
                "readings can't go to a region as rows",
                region=region.name,
                error=error.message,
                hint=error.hint,
            )
            continue
        reading = RowsReading(LogReader(layout.telemetry_log(config), stream="telemetry"), numbers)
        uploading = RowsUploading(
            region.name,
            region.readings_schema,
            box,
            reading,
            connect,
            partial(_turn, config),
            clock,
            days=region.readings_days,
            bytes_per_s=config.tier.kib_s * 1_024,
        )
        rows.add(uploading, reading)
    return rows


async def _turn(config: Config, region: str, size_bytes: int, state: TierRowsState) -> tuple[int, bool]:
    said = await ask(
        layout.replicator_socket(config),
        "rows_turn",
        region=region,
        size_bytes=size_bytes,
        state=msgspec.to_builtins(state),
    )
    return int(said["wait_ms"]), bool(said["is_past_missing"])
