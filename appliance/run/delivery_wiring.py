"""How devices get firmware, put together: budgets, blocks over MQTT, the devices' port with its files and hawkBit's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.limits import KIB
from appliance.core.settings import Bind
from appliance.device_port.ddi import Ddi
from appliance.device_port.dl import Downloads
from appliance.device_port.doorkeeper import Doorkeeper
from appliance.device_port.est import Est
from appliance.device_port.port import DevicePort
from appliance.device_port.published import Published
from appliance.device_requests.listeners import Listeners
from appliance.device_requests.router import Router
from appliance.identity import SiteKeys, TlsIdentity
from appliance.identity.addresses import machine_addresses
from appliance.identity.crl import CrlKeeper
from appliance.identity.device_rate_limit import DeviceRateLimit
from appliance.identity.issuing import Issuing
from appliance.updates.budget import Budgets
from appliance.updates.delivery import Blobs, Delivery, FirmwareStatistics
from appliance.updates.desk import Updates
from appliance.updates.documents import Link, plain_link
from appliance.updates.signed_urls import SignedUrls
from appliance.updates.streams import Streams
from broker.control_messages import SessionEvent
from storage.catalog import AsyncCatalog, Catalog

WILDCARD_HOSTS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound
_LOOPBACK: Final = ("127.", "::1")


@dataclass(frozen=True, slots=True)
class Urls:
    """Addresses of firmware; `link` is what a job's document has."""

    signed: SignedUrls
    link: Link


@dataclass(frozen=True, slots=True)
class DevicePortParts:
    """The devices' port, and what of it is counted apart."""

    port: DevicePort
    downloads: Downloads
    ddi: Ddi


def make_urls(config: Config, keys: SiteKeys, *, clock: Clock) -> Urls:
    """Where devices find firmware over HTTPS; a plain path where there is no port for it."""
    bind = config.devices.https_bind
    signed = SignedUrls(keys, clock=clock, base="" if bind is None else devices_url(config, bind))
    if bind is None:
        return Urls(signed, plain_link)
    return Urls(signed, lambda execution, sha256: signed.url(execution.device_id, sha256))


def devices_url(config: Config, bind: Bind) -> str:
    """What addresses on the devices' port begin with, for devices that have not come by it."""
    if config.firmware.devices_url:
        return config.firmware.devices_url
    host = bind.host
    if host in WILDCARD_HOSTS:
        others = [each for each in machine_addresses() if not each.startswith(_LOOPBACK)]
        host = others[0] if others else "127.0.0.1"
    return f"https://{f'[{host}]' if ':' in host else host}:{bind.port}"


def make_delivery(
    config: Config,
    catalog: AsyncCatalog,
    blobs: Blobs,
    updates: Updates,
    router: Router,
    listeners: Listeners,
    *,
    clock: Clock,
) -> Delivery:
    """Make it, and have the service `streams` answered."""
    firmware = config.firmware
    budgets = Budgets(
        clock=clock,
        total_bytes_s=firmware.delivery_kib_s * KIB,
        uplink_bytes_s=firmware.uplink_kib_s * KIB,
        local_networks=firmware.local_networks,
    )
    delivery = Delivery(catalog, blobs, budgets, updates, clock=clock)
    updates.on_fetched = budgets.leave

    def sessions(events: Sequence[SessionEvent]) -> None:
        for event in events:
            if event.what == "gone":
                budgets.away(event.principal)

    listeners.subscribe(sessions)
    router.register("streams", Streams(delivery).handle)
    return delivery


def make_device_port(
    config: Config,
    catalog: AsyncCatalog,
    keys: SiteKeys,
    issuing: Issuing,
    crl: CrlKeeper,
    certificate: TlsIdentity,
    updates: Updates,
    delivery: Delivery,
    urls: Urls,
    *,
    clock: Clock,
) -> DevicePortParts | None:
    """The port with all its routes; None where the configuration has none, and on a cloud node."""
    devices = config.devices
    if devices.https_bind is None or config.node.role == "cloud":
        return None
    planner = updates.engine.batches.planner

    def window_is_open(catalog: Catalog, rollout_id: str) -> bool:
        return planner.window(catalog, rollout_id, clock.now_ms()).is_open

    doorkeeper = Doorkeeper(catalog, keys, clock=clock, waits=devices.first_contact == "wait")
    rate = DeviceRateLimit(clock=clock)
    downloads = Downloads(delivery, doorkeeper, urls.signed)
    ddi = Ddi(catalog, updates, doorkeeper, urls.signed, clock=clock, window_is_open=window_is_open)
    port = DevicePort(
        devices.https_bind,
        [
            *Published(issuing, crl).routes(),
            *Est(issuing, doorkeeper, rate).routes(),
            *downloads.routes(),
            *ddi.routes(),
        ],
        rate,
        certificate=certificate.path,
        authorities=issuing.authority.devices_path,
    )
    issuing.on_renewal(port.reload)
    return DevicePortParts(port, downloads, ddi)


def statistics_of(delivery: Delivery, port: DevicePortParts | None) -> FirmwareStatistics:
    """Numbers of all ways together."""
    return FirmwareStatistics(
        delivery=delivery.statistics(),
        downloads=0 if port is None else port.downloads.running,
        feedbacks={} if port is None else dict(port.ddi.feedbacks),
    )
