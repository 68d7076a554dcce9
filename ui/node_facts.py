"""The numbers behind the node's watches (appliance/management/node_watches.py), from the very statistics that pages and metrics show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import trio

from appliance.core.clock_state import clock_state
from appliance.management.drill import is_failing
from appliance.management.node_watches import WATCHES
from appliance.pipeline.watch_statistics import WatchState
from storage.log.disk_level import DiskLevel
from ui.replication import ReplicationNow, replication
from ui.services import Services
from ui.storage_room import disk_room_bytes

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
BOX_DIGITS: Final = 8
"""Of a box's node id behind its name, since boxes of two sites may have the same."""
_CLOCK: Final = {"synchronized": 0.0, "unsynchronized": 1.0}


async def node_facts(services: Services) -> Mapping[str, float | None]:
    """Numbers by watch; None for what isn't known now.

    Raises:
        Unavailable: the catalog does not answer.
    """
    now_ms = services.clock.now_ms()
    pipeline = services.pipeline.statistics()
    audit = services.audit.statistics()
    in_need = await services.catalog.read(lambda catalog: catalog.count_in_need(scope=None))
    told = await services.catalog.read(lambda catalog: catalog.notification_counts(now_ms - HOUR_MS))
    return {
        **_of_the_log(services),
        "broker": 0.0 if services.config.node.role == "cloud" else float(not services.broker.connected),
        "lag": pipeline.lag_s if pipeline.breaker == "closed" else None,
        "store": float(pipeline.breaker != "closed"),
        "dead_letters": float(pipeline.dead_letters_total),
        "catalog_pool": services.catalog.watch.highest_utilization(),
        "clock": _CLOCK.get(await trio.to_thread.run_sync(clock_state)),
        "certificate_days": (services.tls.not_after_ms - now_ms) / DAY_MS,
        "authority_days": (services.issuing.authority.ends_at_ms - now_ms) / DAY_MS,
        "backup_age": _backup_age(services, now_ms),
        "audit": float(bool(audit.signing.broken) or audit.last_check_ok is False),
        "work_queue": float(in_need),
        "rules": None if pipeline.watch is None else float(pipeline.watch.state is not WatchState.UP_TO_DATE),
        "notifications": float(told.given_up_recently),
        "disk_days": await _disk_days(services),
        "drill": float(is_failing(services.drills.now().kept)),
        **_of_other_boxes(await replication(services)),
    }


async def box_facts(services: Services) -> Mapping[str, Mapping[str, float | None]]:
    """On a cloud node, what may be only at each box of a site, by watch and box, s; nothing while the replicator does not answer.

    A box that was not heard of since this cloud node began is unknown until it was silent for longer than the limit: an alarm of before goes
    on meanwhile.
    """
    state = (await replication(services)).state
    if state is None:
        return {}
    found: dict[str, dict[str, float | None]] = {}
    for watch, watched in WATCHES.items():
        if not watched.is_of_boxes:
            continue
        of_boxes = found[watch] = {}
        for box in state.sites:
            value = None if box.at_risk_ms is None else box.at_risk_ms / 1_000
            if box.heard_at_ms is None and value is not None and value <= watched.limit:
                value = None
            of_boxes[f"{box.name}/{box.node_id[:BOX_DIGITS]}"] = value
    return found


def _of_other_boxes(now: ReplicationNow) -> dict[str, float | None]:
    """What is only here. A box that is alone has nothing wrong in this; no age where it isn't known."""
    if now.is_alone:
        return {"rpo": 0.0, "rpo_long": 0.0, "replicator": 0.0, "unreadable": 0.0, "forks": 0.0}
    state = now.state
    rpo_s = None if state is None or state.rpo_ms is None else state.rpo_ms / 1_000
    return {
        "rpo": rpo_s,
        "rpo_long": rpo_s,
        "replicator": float(state is None or bool(state.problem)),
        "unreadable": None if state is None else float(bool(state.unreadable)),
        "forks": None if state is None else float(len(state.forks)),
    }


def _of_the_log(services: Services) -> dict[str, float | None]:
    """What the broker and the scrubber say of log and disk; unknown while the broker is away."""
    log = _map(services.broker.statistics, "log") if services.broker.connected else {}
    house = _map(log, "housekeeping")
    level = house.get("disk_level_name")
    scrub = services.scrub() if services.scrub is not None else {}
    damaged = [_count(log, "damaged_ranges"), _count(scrub, "damaged_ranges")]
    return {
        "disk_level": float(DiskLevel[level.upper()]) if isinstance(level, str) else None,
        "disk_failures": _count(log, "write_failures_total"),
        "log_dropped": _count(house, "dropped_unread_records"),
        "log_damaged": max((each for each in damaged if each is not None), default=None),
    }


def _map(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def _count(value: Mapping[str, Any], name: str) -> float | None:
    found = value.get(name)
    return float(found) if isinstance(found, int) else None


def _backup_age(services: Services, now_ms: int) -> float | None:
    """Of the newest backup, in intervals of the schedule; unknown while none is wanted or none was made."""
    backups = services.backups.statistics()
    if backups.directory is None or backups.newest is None:
        return None
    return (now_ms - backups.newest.started_at_ms) / (services.config.backup.interval_hours * HOUR_MS)


async def _disk_days(services: Services) -> float | None:
    if services.keeper is None:
        return None
    forecast = services.keeper.forecast(await disk_room_bytes(services))
    days: float | None = forecast.days_left
    return days
