"""Answers about the fleet's boxes and what is safe there."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from appliance.core.limits_replication import DECOMMISSION_REASON_LENGTH_MAX
from appliance.management.replication_state import ReplicationState
from ui.api.structs import Answer


class ReadLog(Answer, kw_only=True, frozen=True):
    """The log of another box of the site, as far as it is read into this box's store.

    `waiting` records are here and not read yet, `skipped` ones were gone before they were; `stopped` says why nothing more is read of it.
    """

    node_id: str
    branch: str
    waiting: int
    skipped: int
    stopped: str


class SiteReading(Answer, kw_only=True, frozen=True):
    """How far this box has read the logs of its site's others; `incident` says why it reads none of them at the moment."""

    incident: str
    waiting: int
    logs: tuple[ReadLog, ...]


class Replication(Answer, kw_only=True, frozen=True):
    """How safe this box's data is.

    `state` is null for a box that belongs to no fleet (`is_alone`), and while the replicator does not answer; then `problem` says why.
    `state.rpo_ms` is the age of the oldest record that no copy which counts has, and null where nobody could have one.
    """

    is_alone: bool
    problem: str
    state: ReplicationState | None
    reading: SiteReading


class InvitationWish(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Whom to invite: `site` is another box of this site, which gets the site's secrets; `other` one of another site, for copies only."""

    kind: Literal["site", "other"]
    note: Annotated[str, msgspec.Meta(max_length=100)] = ""


class WaitingInvitation(Answer, kw_only=True, frozen=True):
    """An invitation by which somebody may still come. Its secret is not kept."""

    invitation_id: str
    kind: str
    note: str
    made_at_ms: int
    ends_at_ms: int


class InvitationList(Answer, kw_only=True, frozen=True):
    """Invitations of this box that wait, the oldest first."""

    invitations: tuple[WaitingInvitation, ...]


class DecommissionWish(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Why a node is to be gone for good."""

    reason: Annotated[str, msgspec.Meta(max_length=DECOMMISSION_REASON_LENGTH_MAX)] = ""


class Decommissioned(Answer, kw_only=True, frozen=True):
    """A node that is gone for good."""

    node_id: str
    name: str
    state: str


class GrantWish(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The word of whoever asks that no other box writes as this node any more; nothing can check that. `reason` is for people."""

    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Grant(Answer, kw_only=True, frozen=True):
    """What this box begins an epoch of its own by; `branch` will stand in the header of its first segment."""

    node_id: str
    branch: str
    at_ms: int


class TierKey(Answer, kw_only=True, frozen=True):
    """The generation of the key that seals what goes to the cloud. `is_in_use`: this box's replicator seals with it already, else once it is there."""

    generation: int
    is_in_use: bool


class Invitation(Answer, kw_only=True, frozen=True):
    """What one box joins by, within a day. `token` is shown only now; on that box it is given to `homeport peer join`."""

    invitation_id: str
    kind: str
    token: str
    addresses: tuple[str, ...]
    authority: str
    ends_at_ms: int
