"""The store of readings and what looks into it, as the configuration wants them."""

from __future__ import annotations

from typing import Final

from appliance.core import logs
from appliance.core.believed_time import BelievedTime
from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.management.mapping import TopicMapping
from appliance.pipeline.keeper import Keeper
from appliance.pipeline.pipeline import Pipeline
from appliance.run.archive_conditions import ArchiveConditions
from storage.telemetry.sql_box import SqlBox
from storage.telemetry.store import TelemetryStore

HOUR_MS: Final = 3_600_000

_log = logs.get(__name__)


def open_store(config: Config, clock: Clock) -> TelemetryStore:
    """Open it, begun anew where it can't be used. Blocks. Raises StorageError."""
    store = TelemetryStore.open(
        config.node.data_dir / "telemetry.duckdb",
        memory_limit_mib=config.store.memory_limit_mib,
        threads=config.store.threads,
        clock=clock,
        waits=True,
    )
    if store.set_aside_path is not None:
        _log.error("the store can't be used and is built anew", set_aside=str(store.set_aside_path))
    return store


def make_keeper(
    config: Config,
    store: TelemetryStore,
    pipeline: Pipeline,
    conditions: ArchiveConditions,
    believed: BelievedTime,
    *,
    clock: Clock,
) -> Keeper:
    """What archives the store's days and lets them go."""
    return Keeper(
        store,
        pipeline.work,
        conditions=conditions,
        erasures=conditions,
        forget=pipeline.start_anew,
        clock=clock,
        lateness_ms=config.store.lateness_hours * HOUR_MS,
        believed=believed,
    )


def make_sql(config: Config, store: TelemetryStore) -> SqlBox:
    """Where questions in SQL are answered; closed with the store."""
    limits = config.store
    return SqlBox(
        store,
        timeout_ms=limits.sql_timeout_ms,
        memory_mib=limits.sql_memory_mib,
        rows_max=limits.sql_rows_max,
        memory_limit_mib=limits.memory_limit_mib,
    )


def configured_mappings(config: Config) -> list[TopicMapping]:
    """The mappings of the configuration."""
    return [
        TopicMapping(pattern=each.topic, format=each.format, metric=each.metric) for each in config.mapping
    ]
