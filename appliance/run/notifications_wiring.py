"""Notifications of a node, put together: who is told, by which way, and what the desk shows of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.version import VERSION
from appliance.identity import SiteKeys
from appliance.identity.addresses import machine_addresses
from appliance.notifications.desk import NotificationDesk
from appliance.notifications.destinations import Destinations
from appliance.notifications.mail import MailSender
from appliance.notifications.scheduler import Scheduler
from appliance.notifications.sender import Sender
from appliance.notifications.telling import Telling
from appliance.notifications.ways import Broker, Ways
from appliance.notifications.webhook import WebhookSender
from appliance.tracing.recorder import Recorder
from storage.catalog import AsyncCatalog
from storage.catalog.database import Change

_RANDOM_BITS = 53
_LOOPBACK = ("127.", "::1")


@dataclass(frozen=True, slots=True)
class NotificationParts:
    """What `run` keeps going."""

    desk: NotificationDesk
    catalog: AsyncCatalog

    def note(self, changes: tuple[Change, ...]) -> None:
        """Rows have changed: something may be due, or to be sent."""
        self.desk.scheduler.note(changes)
        for change in changes:
            if change.table == "notification_targets":
                self.desk.sender.forget_pause(change.key)
            elif change.table == "notifications":
                self.desk.sender.wake()

    async def run(self) -> None:
        """Until cancelled."""
        stop_listening = self.catalog.subscribe(self.note)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.desk.scheduler.run)
                nursery.start_soon(self.desk.sender.run)
        finally:
            stop_listening()


def make_notifications(
    config: Config,
    catalog: AsyncCatalog,
    keys: SiteKeys,
    broker: Broker,
    *,
    clock: Clock,
    flap_ms: int | None = None,
    recorder: Recorder | None = None,
) -> NotificationParts:
    """Make them. `desk.telling.on_moves` belongs into the transaction that moves alarms.

    Args:
        flap_ms: For so long an alarm must be cleared until people are told that it is over; None for as long as one that
            comes back counts as the same.
        recorder: As Sender.
    """
    destinations = Destinations(own_ports=own_ports(config), own_addresses=machine_addresses)
    telling = make_telling(config, clock=clock, flap_ms=flap_ms)
    ways = Ways(
        catalog,
        keys,
        broker,
        WebhookSender(destinations, now_s=lambda: clock.now_ms() // 1000, user_agent=f"Homeport/{VERSION}"),
        MailSender(destinations),
        clock=clock,
    )
    scheduler = Scheduler(catalog, telling, clock=clock)
    sender = Sender(
        catalog,
        ways,
        clock=clock,
        random=lambda: secrets.randbits(_RANDOM_BITS) / (1 << _RANDOM_BITS),
        recorder=recorder,
    )
    desk = NotificationDesk(
        catalog, keys, telling, scheduler, sender, clock=clock, random_bytes=secrets.token_bytes
    )
    return NotificationParts(desk, catalog)


def make_telling(config: Config, *, clock: Clock, flap_ms: int | None = None) -> Telling:
    """Who is told of what; also for a command that moves alarms while the node is stopped. Arguments as `make_notifications`."""
    return Telling(
        clock=clock,
        flap_ms=config.alarms.flap_s * 1_000 if flap_ms is None else flap_ms,
        default_base_url=default_base_url(config),
        default_site=config.node.name,
    )


def own_ports(config: Config) -> frozenset[int]:
    """Ports of this box that are Homeport's own."""
    binds = [config.ui.bind, config.devices.https_bind]
    binds += [
        value
        for name in dir(config.broker)
        if name.endswith("bind") and (value := getattr(config.broker, name))
    ]
    return frozenset(bind.port for bind in binds if bind is not None)


def default_base_url(config: Config) -> str:
    """How a browser on the site reaches this box, as far as the box can tell."""
    bind = config.ui.bind
    host = bind.host
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared with, not bound
        outward = [each for each in machine_addresses() if not each.startswith(_LOOPBACK)]
        host = outward[0] if outward else "127.0.0.1"
    return f"https://{f'[{host}]' if ':' in host else host}:{bind.port}"
