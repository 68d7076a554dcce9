"""What a node needs for acts that its replicator carries out: one that says that it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx

from storage.fleet import write_roster
from tests.fleet_kit import Box, entry_of_box, give_peer
from tests.node_kit import Node

A_LOST_RANGE: Final[dict[str, Any]] = {
    "node_id": "a" * 32,
    "name": "telemetry",
    "epoch": 1,
    "first_seq": 5,
    "next_seq": 9,
    "reason": "both cards died",
}


async def a_peer(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    config = node.services.config
    peer = give_peer(config, node.services.keys, config.node.data_dir / "peer")

    async def decommission(node_id: str, reason: str) -> dict[str, Any]:
        return {"node_id": node_id, "name": reason, "state": "decommissioned"}

    object.__setattr__(node.services, "decommission_node", decommission)
    return {"{node_id}": peer.node_id}


async def a_cloud_node(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    """Of the fleet, that could be let read."""
    return {"{node_id}": give_cloud_node(node).node_id}


def give_cloud_node(node: Node, name: str = "cloud-1") -> Box:
    """Have a cloud node belong to the fleet that this node begins."""
    config = node.services.config
    cloud = give_peer(config, node.services.keys, config.node.data_dir / "peer", name)
    own = Box(config=config, keys=node.services.keys)
    entry = entry_of_box(cloud, version=2, role="cloud")
    write_roster(config.node.data_dir, own.roster.merged([entry])[0])
    return cloud


async def a_range_that_is_missing(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    async def mark(fields: Mapping[str, Any]) -> dict[str, Any]:
        return {**fields, "at_ms": 1, "key_id": "k" * 64}

    object.__setattr__(node.services, "mark_lost", mark)
    return {}
