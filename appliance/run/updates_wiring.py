"""The updates of a node, put together: engine, what it knows of devices, who tells them, and the service `jobs`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from appliance.core.clock import Clock
from appliance.device_requests.listeners import Listeners
from appliance.device_requests.router import Router
from appliance.pipeline.live import LiveView
from appliance.updates.desk import Updates
from appliance.updates.device_health import LiveHealth
from appliance.updates.device_watch import DeviceWatch, HealthWatch
from appliance.updates.documents import Link, plain_link
from appliance.updates.engine import Engine
from appliance.updates.jobs import Jobs
from appliance.updates.rollout_planner import RolloutPlanner
from appliance.updates.surroundings import Alarms, NoAlarms, Surroundings
from appliance.updates.teller import Teller
from appliance.updates.twin_firmware import TwinFirmware
from broker.control_messages import SessionEvent
from storage.catalog import AsyncCatalog

_RANDOM_BITS = 53


@dataclass(frozen=True, slots=True)
class UpdatesParts:
    """What `run` keeps going."""

    updates: Updates
    watch: DeviceWatch
    teller: Teller
    twins: TwinFirmware
    stop_listening: Callable[[], None]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started once the deadlines are armed and what the store knows is handed over."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.updates.engine.run)
                await nursery.start(self.watch.run)
                nursery.start_soon(self.teller.run)
                task_status.started()
        finally:
            self.stop_listening()


def make_updates(
    catalog: AsyncCatalog,
    live: LiveView,
    router: Router,
    listeners: Listeners,
    *,
    clock: Clock,
    stale_after_ms: int,
    link: Link = plain_link,
    alarms: Alarms | None = None,
) -> UpdatesParts:
    """Make them, and have the service `jobs` answered; `listeners.link` may be set later.

    Args:
        stale_after_ms: Of devices that don't say how often they report.
        link: Where a device gets bytes over HTTPS.
        alarms: Which speak against an update that a device tests.
    """
    health = HealthWatch(live, clock=clock)
    surroundings = Surroundings(
        clock,
        health=health,
        alarms=alarms or NoAlarms(),
        random=lambda: secrets.randbits(_RANDOM_BITS) / (1 << _RANDOM_BITS),
    )
    planner = RolloutPlanner(health=LiveHealth(live, stale_after_ms=stale_after_ms))
    engine = Engine(catalog, clock=clock, surroundings=surroundings, planner=planner)
    updates = Updates(engine, catalog, clock=clock, link=link)
    teller = Teller(updates, _Link(listeners), clock=clock)
    engine.tell = teller.tell
    router.register("jobs", Jobs(updates, clock=clock).handle)

    def sessions(events: Sequence[SessionEvent]) -> None:
        for event in events:
            engine.listening(event.principal, event.what == "listening")

    return UpdatesParts(
        updates,
        DeviceWatch(engine, live, health),
        teller,
        TwinFirmware(engine, clock=clock),
        listeners.subscribe(sessions),
    )


class _Link:
    """The broker's link, which is made after this."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners

    async def push(self, principal: str, messages: Sequence[tuple[str, bytes]]) -> int:
        return await self._listeners.link.push(principal, messages)
