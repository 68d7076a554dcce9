"""Addresses of regions behind a cloud node: what they name, and what connects them over the links."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.core.errors import ConfigError
from appliance.management.fleet import Roster
from replication.tier.engine import Opening, TierUnfit
from replication.tier.engines.address import parse_address
from replication.tier.gateway_client import GatewayClient

SCHEME: Final = "homeport"
"""homeport://NAME/REGION: the region that the cloud node of this name has under that name."""


def is_linked(address: str) -> bool:
    """Whether a region is behind a cloud node."""
    return address.partition("://")[0].lower() == SCHEME


def linked_opening(address: str, client: GatewayClient, roster: Callable[[], Roster]) -> Opening:
    """What connects a region behind a cloud node.

    Args:
        roster: Who there is now.
    Raises:
        ConfigError: `tier_address`.
    """
    parsed = parse_address(address)
    parsed.take()
    if len(parsed.hosts) != 1 or parsed.user or not parsed.path or "/" in parsed.path:
        raise parsed.refused(
            "it names no cloud node and one of its regions", f"Write {SCHEME}://NAME/REGION."
        )
    name = parsed.hosts[0]

    def find() -> str:
        found = [node for node in roster().admitted() if node.role == "cloud" and node.name == name]
        if not found:
            raise TierUnfit(
                f"This box's fleet has no cloud node of the name {name}.",
                hint="Join its fleet with an invitation (homeport peer join), or look at the name: homeport peer list.",
            )
        # Of one that was made anew under its name, the old body stays in the roster until it is taken out.
        return max(found, key=lambda node: (node.issued_at_ms, node.node_id)).node_id

    return client.opening(find, parsed.path)


def not_linked(address: str) -> ConfigError:
    """That something else than the replicator can't use such an address."""
    return ConfigError(
        f"{address} is a cloud node's, which gives nothing but to boxes of its fleet.",
        hint="Name the engine itself (s3://…, nats://…, postgresql://…): whoever runs the cloud node knows it.",
        code="tier_address",
    )
