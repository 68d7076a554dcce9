"""This box's own certificate as its configuration wants it: also for the names by which others are told to reach it."""

from __future__ import annotations

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.identity import SiteKeys, TlsIdentity, tls


def box_certificate(config: Config, keys: SiteKeys, clock: Clock) -> TlsIdentity:
    """Load it, or have it made. Raises as `tls.load_or_create`."""
    return tls.load_or_create(
        config.node.data_dir, keys, node_name=config.node.name, clock=clock, also=reached_by(config)
    )


def reached_by(config: Config) -> tuple[str, ...]:
    """Hosts of replication.addresses: devices of the site are told brokers there."""
    return tuple(address.host for address in config.replication.addresses)
