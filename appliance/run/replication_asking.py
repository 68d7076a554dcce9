"""How the node asks the replicator what is safe on other boxes, and has it take one out for good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from appliance.core.config import Config
from appliance.core.errors import Unavailable
from appliance.management.replication_state import ReplicationState
from appliance.run import layout
from replication.control import ask
from storage.fleet.roster_file import fleet_folder
from ui.absent_services import nobody_else
from ui.replication import StateSource


def replication_source(config: Config) -> StateSource:
    """Asks over the control socket; a box that belongs to no fleet has nothing to ask."""
    return partial(_state, config)


def decommissioner(config: Config) -> Callable[[str, str], Awaitable[Mapping[str, Any]]]:
    """Has the replicator take a node out for good, for a reason."""

    async def decommission(node_id: str, reason: str) -> Mapping[str, Any]:
        return await ask(layout.replicator_socket(config), "decommission", node_id=node_id, reason=reason)

    return decommission


def loser(config: Config) -> Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]:
    """Has the replicator mark records lost, where this box belongs to a fleet."""

    async def mark(fields: Mapping[str, Any]) -> Mapping[str, Any]:
        if not fleet_folder(config.node.data_dir).is_dir():
            return await nobody_else(fields)
        return await ask(layout.replicator_socket(config), "mark_lost", **fields)

    return mark


async def _state(config: Config) -> ReplicationState | None:
    """What the replicator says; None where this box belongs to no fleet.

    Raises:
        Unavailable: `replicator_away`, or it says something else. HomeportError: why it keeps away from its peers.
    """
    if not fleet_folder(config.node.data_dir).is_dir():
        return None
    said = await ask(layout.replicator_socket(config), "status")
    try:
        return msgspec.convert(said, ReplicationState)
    except msgspec.ValidationError as error:
        raise Unavailable(
            f"What the replicator says can't be read: {error}.",
            hint="Restart Homeport, so that all its processes are of one version.",
            code="replicator_away",
        ) from error
