"""Which node of the fleet somebody means, and whether it may be taken out for good."""

from __future__ import annotations

from typing import Final

from appliance.core.config import Config
from appliance.core.errors import Conflict, NotFound
from appliance.identity.fleet import Fleet, fleet_folder
from appliance.identity.keys import SiteKeys
from appliance.management.fleet import NodeEntry, Roster
from storage.fleet import read_roster

ID_PART_LENGTH_MIN: Final = 6
"""So much of a node's id names it, where no other begins so."""


def fleet_of(config: Config, keys: SiteKeys | None = None) -> tuple[Fleet, Roster]:
    """This box's place in its fleet, and who belongs to it. Blocks for some ms.

    Raises:
        NotFound: `fleet_missing`. ConfigError, UsageError, StorageError: the folder can't be read.
    """
    data_dir = config.node.data_dir
    roster = read_roster(data_dir) if fleet_folder(data_dir).exists() else None
    if roster is None:
        raise NotFound(
            "This box belongs to no fleet.",
            hint="homeport peer invite begins one; homeport peer join has it join another box's.",
            code="fleet_missing",
        )
    return Fleet.load(data_dir, SiteKeys.load_existing(data_dir) if keys is None else keys), roster


def find_node(roster: Roster, name_or_id: str) -> NodeEntry:
    """A node by its id, the beginning of it, or its name.

    Raises:
        NotFound: `node_unknown`. Conflict: `node_name_twice`.
    """
    found = [
        node
        for node in roster
        if node.name == name_or_id
        or (len(name_or_id) >= ID_PART_LENGTH_MIN and node.node_id.startswith(name_or_id))
    ]
    if not found:
        raise NotFound(
            f"There is no node “{name_or_id[:40]}”.", hint="homeport peer list", code="node_unknown"
        )
    if len(found) > 1:
        raise Conflict(
            f"{len(found)} nodes are called “{name_or_id[:40]}”.",
            hint="Give the node's id: homeport peer list.",
            code="node_name_twice",
        )
    return found[0]


def known(roster: Roster, node_id: str, *, own: str) -> NodeEntry:
    """A node that may be decommissioned here.

    Raises:
        NotFound: `node_unknown`. Conflict: `node_is_this`.
    """
    entry = roster.get(node_id)
    if entry is None:
        raise NotFound(
            f"There is no node {node_id} in this fleet.", hint="homeport peer list", code="node_unknown"
        )
    if node_id == own:
        raise Conflict(
            "This is this very box, which can't say goodbye for itself.",
            hint="Do it on another box of the site that began the fleet.",
            code="node_is_this",
        )
    return entry
