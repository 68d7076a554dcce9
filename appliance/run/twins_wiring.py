"""The room of twins and commands in the node: its services answer devices, and open pages hear of what becomes of it."""

from __future__ import annotations

import trio

from appliance.core.clock import Clock
from appliance.device_requests.listeners import Listeners
from appliance.device_requests.router import Router
from appliance.twins.room import TwinRoom
from storage.catalog import AsyncCatalog
from ui.live.hub import Hub
from ui.live.twin_keys import commands_key, twin_key


def twin_room(
    catalog: AsyncCatalog, router: Router, listeners: Listeners, hub: Hub, clock: Clock, stopping: trio.Event
) -> TwinRoom:
    """The room, put between those that it works with; somebody runs it."""
    room = TwinRoom(catalog, listeners, clock=clock, stopping=stopping)
    room.register(router)
    room.desk.subscribe(lambda changed: hub.touch([twin_key(changed.after.device_id)]))
    room.commands.subscribe(lambda device_ids: hub.touch(map(commands_key, device_ids)))
    return room
