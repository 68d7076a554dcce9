"""The alarm desk of a node, put together: what moves alarms, and what makes open pages look again."""

from __future__ import annotations

from appliance.alarms.book import AlarmBook
from appliance.alarms.desk import AlarmDesk
from appliance.core.clock import Clock
from appliance.core.config_alarms import AlarmsConfig
from storage.catalog import AsyncCatalog
from ui.live.hub import Hub

ALARMS_KEY = "alarms"
"""What pages that show alarms watch at the hub."""
_MS_PER_S = 1_000


def make_book(config: AlarmsConfig, *, clock: Clock) -> AlarmBook:
    """What moves alarms; also for a command while the node is stopped."""
    return AlarmBook(
        clock=clock, flap_ms=config.flap_s * _MS_PER_S, wait_ms=config.explain_wait_s * _MS_PER_S
    )


def make_alarms(config: AlarmsConfig, catalog: AsyncCatalog, hub: Hub, *, clock: Clock) -> AlarmDesk:
    """Make the desk; its outbox is set where there is one."""
    desk = AlarmDesk(catalog, make_book(config, clock=clock), clock=clock)
    desk.subscribe(lambda alarm_ids: hub.touch([ALARMS_KEY]))
    return desk
