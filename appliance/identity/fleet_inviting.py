"""Inviting a box: what the command line does, and what an admin does over the API.

The first invitation begins a fleet of this box. Also here: whether this is still the node that belongs to the fleet, and where others reach it.
"""

from __future__ import annotations

from typing import Final

import structlog

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import ConfigError, Conflict, NotAuthorized, NotFound
from appliance.identity.addresses import machine_addresses
from appliance.identity.fleet import Fleet, fleet_folder
from appliance.identity.fleet_invitations import Invitation, Invitations, Kind, Token
from appliance.identity.fleet_nodes import ID_PART_LENGTH_MIN
from appliance.identity.instance import Instance, load_instance, make_instance
from appliance.identity.keys import SiteKeys
from replication.link.options import options_of

LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})
log = structlog.get_logger(__name__)


def invite(
    config: Config, keys: SiteKeys, kind: Kind, *, note: str, clock: Clock
) -> tuple[Token, Invitation]:
    """Invite one box; this one begins a fleet if it belongs to none. Blocks for some ms.

    Raises:
        NotAuthorized: `fleet_key_missing`. UsageError: `address_missing`. LimitExceeded: `invitation_count`.
        ConfigError: `instance_moved`. StorageError: it can't be written.
    """
    data_dir = config.node.data_dir
    options = options_of(config.replication, outer_addresses())
    begin_fleet(config, keys, clock=clock)
    fleet = Fleet.load(data_dir, keys)
    check_instance(load_instance(data_dir), fleet)
    if not fleet.can_sign:
        raise NotAuthorized(
            "This box can't sign for its fleet: only nodes of the site that began it can.",
            hint="Invite on one of those; homeport peer list says which they are.",
            code="fleet_key_missing",
        )
    return Invitations(fleet.folder, clock=clock).make(kind, fleet.fingerprint, options.addresses, note=note)


def begin_fleet(config: Config, keys: SiteKeys, *, clock: Clock) -> None:
    """Begin a fleet of this box alone, if it belongs to none. Blocks for some ms.

    Raises:
        StorageError: it can't be written.
    """
    data_dir = config.node.data_dir
    if fleet_folder(data_dir).exists():
        return
    instance = load_instance(data_dir)
    if instance is None or not instance.is_bound:
        instance = make_instance(data_dir)
    try:
        Fleet.begin(data_dir, keys, instance, clock=clock)
    except Conflict:
        log.info("another process began the fleet at the same moment")


def waiting(config: Config, clock: Clock) -> list[Invitation]:
    """Invitations of this box by which somebody may still come, the oldest first; none where it belongs to no fleet. Blocks for some ms."""
    return Invitations(fleet_folder(config.node.data_dir), clock=clock).waiting()


def waiting_one(config: Config, invitation_id: str, clock: Clock) -> Invitation:
    """One of those, by its id or the beginning of it.

    Raises:
        NotFound: `invitation_unknown`: none begins so, or more than one does.
    """
    found = [
        each
        for each in waiting(config, clock)
        if len(invitation_id) >= ID_PART_LENGTH_MIN and each.invitation_id.startswith(invitation_id)
    ]
    if len(found) != 1:
        raise NotFound(
            f"No invitation “{invitation_id[:40]}” waits: it was used, is over, or was never made here.",
            hint="homeport peer invitations lists those that wait.",
            code="invitation_unknown",
        )
    return found[0]


def call_off(config: Config, invitation: Invitation, clock: Clock) -> None:
    """Let nobody in by an invitation any more.

    Raises:
        NotFound: `invitation_unknown`: it was called off or used meanwhile. StorageError: it can't be removed.
    """
    Invitations(fleet_folder(config.node.data_dir), clock=clock).call_off(invitation.invitation_id)


def check_instance(instance: Instance | None, fleet: Fleet) -> None:
    """See that this is no copy of the node.

    Raises:
        ConfigError: `instance_moved`.
    """
    if instance is None or not instance.is_bound or instance.instance_id != fleet.identity.instance:
        raise ConfigError(
            "This is a copy of the node, or its disk is in another box: it writes nothing before its peers have promised it an epoch.",
            hint="It goes on by itself once the other one is off and peers are reachable; where they are gone: homeport peer grant.",
            code="instance_moved",
        )


def outer_addresses() -> tuple[str, ...]:
    """Where other boxes may reach this one; loopback where it has nothing else."""
    found = tuple(address for address in machine_addresses() if address not in LOOPBACK)
    return found or ("127.0.0.1",)
