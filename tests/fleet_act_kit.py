"""What a node needs for acts that its replicator carries out: one that says that it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.fleet_kit import give_peer
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


async def a_range_that_is_missing(node: Node, client: httpx.AsyncClient) -> dict[str, Any]:
    async def mark(fields: Mapping[str, Any]) -> dict[str, Any]:
        return {**fields, "at_ms": 1, "key_id": "k" * 64}

    object.__setattr__(node.services, "mark_lost", mark)
    return {}
