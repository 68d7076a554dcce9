"""What the node asks of its dependencies to say whether it is ready (ui/health.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from appliance.alarms.desk import AlarmDesk
from appliance.core.config import Config
from appliance.pipeline.pipeline import Pipeline
from broker.link import BrokerLink
from storage.catalog import AsyncCatalog
from ui import health
from ui.services import ReadinessCheck


def readiness_of(
    config: Config,
    *,
    broker: BrokerLink,
    catalog: AsyncCatalog,
    pipeline: Pipeline,
    alarms: AlarmDesk,
    log_head: Callable[[], Any],
) -> dict[str, ReadinessCheck]:
    """By dependency. A cloud node has no broker, and so nothing that the broker knows."""
    found = {
        "catalog": health.catalog_check(catalog),
        "catalog_pools": health.pools_check(catalog),
        "store": health.store_check(pipeline),
        "pipeline": health.pipeline_check(pipeline),
        "rules": health.watch_check(pipeline),
        "updates": health.updates_check(catalog),
        "alarms": health.alarms_check(alarms),
    }
    if config.node.role == "cloud":
        return found
    return {
        "broker": health.broker_check(broker),
        "log": health.log_check(log_head),
        "disk": health.disk_check(broker),
        "catalog_caches": health.caches_check(catalog, broker),
        **found,
    }
