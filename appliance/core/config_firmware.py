"""The section of the configuration about firmware: how much room artifacts have, how fast and from where they go out.

config.py says how it is loaded.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from appliance.core.config_values import Network, network
from appliance.core.settings import listing, text, whole

PRIVATE_NETWORKS: Final = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
)
"""RFC 1918, RFC 3927, RFC 4193, RFC 4291: addresses that no uplink carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareConfig:
    """Artifacts and how devices get them (docs/ARTIFACTS.md)."""

    artifact_max_mib: int = whole(512, unit="MiB", low=1, high=16_384, help="Largest image that is taken.")
    artifact_quota_mib: int = whole(
        4096,
        unit="MiB",
        low=1,
        high=1_048_576,
        help="Room for all images together, unfinished uploads with their whole size.",
    )
    delivery_kib_s: int = whole(
        8192,
        unit="KiB/s",
        low=0,
        high=1_048_576,
        help="What all downloads of firmware may take together, so that telemetry keeps its turn; 0 is no bound.",
    )
    uplink_kib_s: int = whole(
        0,
        unit="KiB/s",
        low=0,
        high=1_048_576,
        help="What downloads of devices may take together that are reached over the site's uplink; 0 is no bound.",
    )
    local_networks: tuple[Network, ...] = listing(
        network,
        of="networks",
        default=tuple(ipaddress.ip_network(each) for each in PRIVATE_NETWORKS),
        high=64,
        count_max=64,
        help="Networks that are not reached over the uplink: a device with any other address is behind it.",
    )
    devices_url: str = text(
        "",
        high=200,
        pattern=(
            r"(https://[^\s/:\[\]]+(:[0-9]{1,5})?|https://\[[0-9a-f:.]+\](:[0-9]{1,5})?)?",
            "an address such as https://homeport.example:8444",
        ),
        help="What addresses of firmware in jobs begin with, such as https://homeport.example:8444; empty: this box's first address and the devices' port.",
    )
