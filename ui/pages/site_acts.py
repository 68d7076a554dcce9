"""What an admin does on the page “Sites”: invite a box, call an invitation off, take a box out for good."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, NotAuthorized, NotFound, UsageError
from appliance.core.limits_replication import DECOMMISSION_REASON_LENGTH_MAX
from appliance.identity.fleet_acts import DECOMMISSION
from appliance.identity.fleet_invitations import Invitation, Kind
from appliance.identity.fleet_inviting import call_off, waiting, waiting_one
from appliance.identity.fleet_inviting import invite as make_invitation
from appliance.identity.fleet_nodes import fleet_of, known
from appliance.management.audit import Act
from appliance.management.fleet import NodeEntry
from appliance.management.site_reading import ALLOW, FORBID
from appliance.management.tier_key import ROTATE
from ui.auth import actor_of
from ui.pages.format import visible
from ui.pages.shell import Shell, form_of
from ui.pages.typed import check_typed
from ui.site_grants import Reader, readers, set_reading
from ui.tier_key import rotate

NOTE_LENGTH_MAX: Final = 100
_KINDS: Final[dict[str, Kind]] = {"site": "site", "other": "other"}


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationView:
    """An invitation that waits."""

    invitation_id: str
    whom: str
    note: str
    ends_at_ms: int


async def may_manage(shell: Shell, permissions: Collection[str]) -> bool:
    """Whether somebody with these may invite boxes and take them out here: a box that can't sign for its fleet offers neither."""
    if "sites.manage" not in permissions:
        return False
    services = shell.services
    try:
        fleet, _ = await trio.to_thread.run_sync(fleet_of, services.config, services.keys)
    except NotFound:
        return True  # The first invitation begins a fleet.
    except HomeportError:
        return False
    return fleet.can_sign


async def invitations_view(shell: Shell) -> Sequence[InvitationView]:
    """Those of this box, the oldest first."""
    services = shell.services
    found = await trio.to_thread.run_sync(waiting, services.config, services.clock)
    return tuple(
        InvitationView(
            invitation_id=each.invitation_id,
            whom=_whom(each),
            note=visible(each.note),
            ends_at_ms=each.ends_at_ms,
        )
        for each in found
    )


async def invite(shell: Shell, request: Request) -> Response:
    """`POST /sites/invite` with kind and note: the token, shown this once.

    Raises:
        UsageError: `form_invalid`. As `fleet_inviting.invite`.
    """
    form, services = await form_of(request), shell.services
    kind = _KINDS.get(form.get("kind", ""))
    if kind is None:
        raise UsageError(
            "Nobody was chosen to be invited.", hint="Choose whom to invite.", code="form_invalid"
        )
    note = form.get("note", "").strip()[:NOTE_LENGTH_MAX]
    token, invitation = await trio.to_thread.run_sync(
        partial(make_invitation, services.config, services.keys, kind, note=note, clock=services.clock)
    )
    await shell.write(
        request,
        "peer.invite",
        lambda catalog: catalog.note(
            "peer.invite", object_kind="invitation", object_id=invitation.invitation_id, detail=kind
        ),
    )
    return await shell.render(
        request,
        "site_invited.html",
        title="Invitation",
        section="sites",
        secret=token.text(),
        whom=_whom(invitation),
        is_same_site=kind == "site",
        addresses=token.addresses,
        ends_at_ms=invitation.ends_at_ms,
    )


async def uninvite(shell: Shell, request: Request) -> Response:
    """`POST /sites/uninvite` with invitation_id.

    Raises:
        NotFound: `invitation_unknown`: it was used meanwhile, or is over.
    """
    services, wanted = shell.services, (await form_of(request)).get("invitation_id", "")
    found = await trio.to_thread.run_sync(waiting_one, services.config, wanted, services.clock)
    act = Act(action="peer.uninvite", actor=await actor_of(request))
    async with services.audit.noted(
        act, object_kind="invitation", object_id=found.invitation_id, detail=found.kind
    ):
        await trio.to_thread.run_sync(call_off, services.config, found, services.clock)
    return RedirectResponse("/sites?done=uninvited", 303)


async def readers_view(shell: Shell) -> Sequence[Reader]:
    """The fleet's cloud nodes, and whether they may read this site; none for a box without a fleet, and for a cloud node itself."""
    try:
        return () if shell.services.config.node.role == "cloud" else await readers(shell.services)
    except HomeportError:
        return ()  # The page says itself why nothing is known of the fleet.


async def set_reader(shell: Shell, request: Request) -> Response:
    """`POST /sites/reading` with node and allow ("yes" or "no").

    Raises:
        As `site_grants.set_reading`. UsageError: `form_invalid`.
    """
    form = await form_of(request)
    allow = {"yes": True, "no": False}.get(form.get("allow", ""))
    if allow is None:
        raise UsageError("It was not said whether it may.", hint="Choose it again.", code="form_invalid")
    act = Act(action=ALLOW if allow else FORBID, actor=await actor_of(request))
    await set_reading(shell.services, form.get("node", ""), act, allow=allow)
    return RedirectResponse(f"/sites?done={'reading' if allow else 'reading-off'}", 303)


async def rotate_key(shell: Shell, request: Request) -> Response:
    """`POST /sites/tier-key`: a new generation of the key for the cloud.

    Raises:
        As `tier_key.rotate`.
    """
    done = await rotate(shell.services, Act(action=ROTATE, actor=await actor_of(request)))
    return RedirectResponse(f"/sites?done={'tier-key' if done.is_in_use else 'tier-key-soon'}", 303)


async def show_decommission(shell: Shell, request: Request) -> Response:
    """`GET /sites/decommission?node=ID`: what will happen, and the name to type."""
    entry = await _entry(shell, request.query_params.get("node", ""))
    return await shell.render(
        request,
        "site_decommission.html",
        title=f"Take out {visible(entry.name)}",
        section="sites",
        node=entry,
        reason_length_max=DECOMMISSION_REASON_LENGTH_MAX,
    )


async def decommission(shell: Shell, request: Request) -> Response:
    """`POST /sites/decommission` with node, confirm and reason.

    Raises:
        UsageError: `not_confirmed`. NotFound, Conflict, NotAuthorized, Unavailable: as the replicator says.
    """
    form, services = await form_of(request), shell.services
    entry = await _entry(shell, form.get("node", ""))
    check_typed(form.get("confirm", ""), entry.name)
    reason = form.get("reason", "").strip()[:DECOMMISSION_REASON_LENGTH_MAX]
    act = Act(action=DECOMMISSION, actor=await actor_of(request))
    async with services.audit.noted(act, object_kind="node", object_id=entry.node_id, detail=reason):
        await services.decommission_node(entry.node_id, reason)
    return RedirectResponse("/sites?done=decommissioned", 303)


async def _entry(shell: Shell, node_id: str) -> NodeEntry:
    """A node that may be taken out here.

    Raises:
        NotFound: `fleet_missing`, `node_unknown`. Conflict: `node_is_this`. NotAuthorized: `fleet_key_missing`.
    """
    services = shell.services
    fleet, roster = await trio.to_thread.run_sync(fleet_of, services.config, services.keys)
    entry = known(roster, node_id, own=fleet.identity.node_id)
    if not fleet.can_sign:
        raise NotAuthorized(
            "This box can't take another one out: only boxes of the site that began the fleet can.",
            hint="Do it on one of those.",
            code="fleet_key_missing",
        )
    return entry


def _whom(invitation: Invitation) -> str:
    return "a box of this site" if invitation.kind == "site" else "a box of another site"
