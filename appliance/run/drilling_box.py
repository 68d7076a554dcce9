"""This box as a drill needs it: its streams' mates, whom it asks, and what else a restore would need."""

from __future__ import annotations

from typing import Final

from appliance.core.config import Config
from appliance.core.errors import NotFound, UsageError
from appliance.identity import backup_keys
from appliance.identity.fleet import Fleet
from appliance.identity.keys import SiteKeys
from appliance.management.fleet import Roster
from appliance.run import layout
from appliance.run.drilling import DrilledBox
from appliance.run.restoring_streams import mates_of
from storage.fleet import read_roster

NOT_BEGUN_HERE: Final = (
    "This site did not begin its fleet: a lost node of it joins anew by an invitation, and gets a new id."
)
NO_KIT: Final = (
    "Nobody has said that the recovery kit is kept: without it no node of this site can be restored."
)


def roster_of(config: Config) -> Roster:
    """The nodes of the fleet.

    Raises:
        NotFound: `fleet_missing`. StorageError: as the fleet's folder.
    """
    roster = read_roster(config.node.data_dir) if layout.fleet(config).is_dir() else None
    if roster is None:
        raise NotFound(
            "This box belongs to no fleet: nobody has a copy of it.",
            hint="homeport peer invite begins one.",
            code="fleet_missing",
        )
    return roster


def box_of(
    config: Config, keys: SiteKeys, fleet: Fleet, roster: Roster, *, connected: list[str]
) -> DrilledBox:
    """This box, as a drill needs it."""
    own_id = keys.node_id.hex()
    peers = roster.peers_of(own_id)
    notes = [] if fleet.can_sign else [NOT_BEGUN_HERE]
    try:
        backup_keys.recipient(config.node.data_dir)
    except UsageError:
        notes.append(NO_KIT)
    return DrilledBox(
        config=config,
        keys=keys,
        mates=mates_of(roster, fleet.identity.site_id, own_id),
        asked=tuple(sorted(peer.name for peer in peers if peer.node_id in connected)),
        away=tuple(sorted(peer.name for peer in peers if peer.node_id not in connected)),
        notes=tuple(notes),
    )


def box_of_region(
    config: Config, keys: SiteKeys, fleet: Fleet, roster: Roster, *, region: str, there: list[str]
) -> DrilledBox:
    """This box, as a drill out of the cloud needs it.

    Args:
        there: Nodes of the site of which the region has anything.
    """
    notes = []
    try:
        backup_keys.recipient(config.node.data_dir)
    except UsageError:
        notes.append(NO_KIT)
    mates = mates_of(roster, fleet.identity.site_id, keys.node_id.hex())
    return DrilledBox(
        config=config,
        keys=keys,
        mates=tuple(mate for mate in mates if mate in there),
        asked=(region,),
        notes=tuple(notes),
        source="cloud",
    )
