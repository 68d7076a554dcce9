"""The catalog's numbers as metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from storage.catalog import AsyncCatalog
from ui.metrics_table import Collected
from ui.services import BrokerStatus

DEVICE_CREDENTIALS: Final = "device_credentials"
"""The broker's own memory of who may sign in, among the caches."""


def add_catalog(out: Collected, catalog: AsyncCatalog) -> None:
    """The writer, the pools of readers, the caches."""
    statistics = catalog.statistics()
    alarms = {alarm.pool for alarm in catalog.watch.alarms()}
    for pool in (statistics.writer, *statistics.pools.values()):
        name = pool.name
        out.add("db_connection_pool_utilization", catalog.watch.utilization(name), name)
        out.add("homeport_catalog_pool_alarm", name in alarms, name)
        out.add("homeport_catalog_pool_waiting", pool.waiting, name)
        out.add("homeport_catalog_served", pool.served_total, name)
        out.add("homeport_catalog_refused", pool.refused_total, name)
        out.add("homeport_catalog_timeouts", pool.timeouts_total, name)
        out.add("homeport_catalog_left", pool.left_total, name)
        out.add("homeport_catalog_overdue", len(pool.overdue), name)
        held_ms = max((each.held_ms for each in pool.borrowers), default=0)
        out.add("homeport_catalog_held_seconds", held_ms / 1000, name)
        out.add("homeport_catalog_leaks", pool.leaks_total, name)
        out.add("homeport_catalog_busy_seconds", pool.busy_ms_total / 1000, name)
    for name, cache in statistics.caches.items():
        out.add("cache_fallback_rate", cache.fallback_ratio, name)
        out.add("homeport_cache_away", cache.away, name)
        out.add("homeport_cache_entries", cache.entries, name)
        out.add("homeport_cache_lookups", cache.lookups_total, name)
        out.add("homeport_cache_hits", cache.hits_total, name)
        out.add("homeport_cache_fallbacks", cache.fallbacks_total, name)
        out.add("homeport_cache_refused", cache.refused_total, name)
        out.add("homeport_cache_failures", cache.failures_total, name)
    out.add("homeport_catalog_changes", statistics.changes_total)


def add_device_credentials(out: Collected, broker: BrokerStatus) -> None:
    """The cache that devices sign in by, in the broker process; nothing where it is not known."""
    now = credentials_of(broker.statistics)
    if not now:
        return
    lookups, fallbacks = _counts(now)
    out.add("homeport_cache_lookups", lookups, DEVICE_CREDENTIALS)
    out.add("homeport_cache_fallbacks", fallbacks, DEVICE_CREDENTIALS)
    out.add("homeport_cache_entries", now.get("credentials"), DEVICE_CREDENTIALS)
    out.add("homeport_cache_failures", now.get("failures_total"), DEVICE_CREDENTIALS)
    out.add("homeport_cache_away", not now.get("readable", True), DEVICE_CREDENTIALS)
    before = credentials_of(broker.history[0][1]) if broker.history else {}
    lookups_before, fallbacks_before = _counts(before) if before else (0, 0)
    asked = lookups - lookups_before
    ratio = (fallbacks - fallbacks_before) / asked if asked > 0 else 0.0
    out.add("cache_fallback_rate", min(1.0, max(0.0, ratio)), DEVICE_CREDENTIALS)


def credentials_of(statistics: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the broker's statistics say of the credentials it holds; empty where they don't."""
    found = statistics.get("credentials")
    return found if isinstance(found, Mapping) else {}


def _counts(credentials: Mapping[str, Any]) -> tuple[int, int]:
    return int(credentials.get("lookups_total", 0)), int(credentials.get("fallbacks_total", 0))
