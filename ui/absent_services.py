"""What pages and API are answered by a box that has no fleet, or whose replicator does not run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.core.errors import NotFound, Unavailable
from appliance.management.replication_state import ReplicationState


async def no_fleet() -> ReplicationState | None:
    """What a box says of its fleet that belongs to none."""
    return None


async def no_replicator(*wanted: object) -> Mapping[str, Any]:
    """Does nothing of what only a replicator does. Raises Unavailable: `replicator_away`."""
    raise Unavailable(
        "The replicator does not run.", hint="It runs once this box has peers.", code="replicator_away"
    )


async def nobody_else(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Marks nothing lost. Raises NotFound: `fleet_missing`."""
    raise NotFound(
        "This box belongs to no fleet, so nobody else could have the records.",
        hint="Nothing is to be marked: this box's own readers pass over what is damaged.",
        code="fleet_missing",
    )


async def no_shipper(generation: int) -> Mapping[str, Any]:
    """Seals nothing. Raises Unavailable: `replicator_away`."""
    return await no_replicator("", "")
