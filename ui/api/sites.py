"""Endpoints about the fleet's boxes."""

from __future__ import annotations

from functools import partial

import msgspec
import trio

from appliance.identity.epoch_grants import check_doubted, make_grant
from appliance.identity.fleet_acts import DECOMMISSION
from appliance.identity.fleet_inviting import call_off, invite, waiting, waiting_one
from appliance.identity.fleet_nodes import fleet_of, known
from appliance.management.audit import Act
from appliance.management.tier_key import ROTATE
from storage.catalog import Catalog
from storage.fleet.epoch_files import read_doubt
from ui.api import site_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of
from ui.replication import replication
from ui.tier_key import rotate


async def get_replication(call: Call) -> Reply:
    now = await replication(call.services)
    reading = structs.SiteReading(
        incident=now.site.incident,
        waiting=now.site.waiting,
        logs=tuple(
            structs.ReadLog(
                node_id=each.node_id,
                branch=each.branch,
                waiting=each.waiting,
                skipped=each.skipped,
                stopped=each.stopped,
            )
            for each in now.site.streams
        ),
    )
    return Reply(
        content=structs.Replication(
            is_alone=now.is_alone, problem=now.problem, state=now.state, reading=reading
        )
    )


async def invite_box(call: Call) -> Reply:
    wish: structs.InvitationWish = call.body
    services = call.services
    token, invitation = await trio.to_thread.run_sync(
        partial(invite, services.config, services.keys, wish.kind, note=wish.note, clock=services.clock)
    )
    act = Act(action=call.action, actor=await actor_of(call.request))

    def note(catalog: Catalog) -> None:
        catalog.note(
            act.action, object_kind="invitation", object_id=invitation.invitation_id, detail=wish.kind
        )

    # The secret is given out only once it is in the audit who asked for it.
    await services.catalog.write(note, by=act)
    return Reply(
        content=structs.Invitation(
            invitation_id=invitation.invitation_id,
            kind=invitation.kind,
            token=token.text(),
            addresses=token.addresses,
            authority=token.authority,
            ends_at_ms=invitation.ends_at_ms,
        )
    )


async def list_invitations(call: Call) -> Reply:
    services = call.services
    found = await trio.to_thread.run_sync(waiting, services.config, services.clock)
    return Reply(
        content=structs.InvitationList(
            invitations=tuple(
                structs.WaitingInvitation(
                    invitation_id=each.invitation_id,
                    kind=each.kind,
                    note=each.note,
                    made_at_ms=each.made_at_ms,
                    ends_at_ms=each.ends_at_ms,
                )
                for each in found
            )
        )
    )


async def call_invitation_off(call: Call) -> Reply:
    services = call.services
    found = await trio.to_thread.run_sync(
        waiting_one, services.config, call.path["invitation_id"], services.clock
    )
    async with call.noted(object_kind="invitation", object_id=found.invitation_id, detail=found.kind):
        await trio.to_thread.run_sync(call_off, services.config, found, services.clock)
    return Reply(content=None)


async def decommission_box(call: Call) -> Reply:
    wish: structs.DecommissionWish = call.body
    services, node_id = call.services, call.path["node_id"]
    fleet, roster = await trio.to_thread.run_sync(fleet_of, services.config, services.keys)
    entry = known(roster, node_id, own=fleet.identity.node_id)
    async with call.noted(object_kind="node", object_id=entry.node_id, detail=wish.reason):
        done = await services.decommission_node(entry.node_id, wish.reason)
    return Reply(content=msgspec.convert(done, structs.Decommissioned))


async def rotate_tier_key(call: Call) -> Reply:
    done = await rotate(call.services, Act(action=call.action, actor=await actor_of(call.request)))
    return Reply(content=structs.TierKey(generation=done.generation, is_in_use=done.is_in_use))


async def grant_epoch(call: Call) -> Reply:
    wish: structs.GrantWish = call.body
    services, actor = call.services, await actor_of(call.request)
    data_dir, now_ms = services.config.node.data_dir, services.clock.now_ms()
    check_doubted(await trio.to_thread.run_sync(read_doubt, data_dir))
    node_id = services.keys.node_id.hex()
    # It counts only once it is in the audit who gave it.
    async with call.noted(object_kind="node", object_id=node_id, detail=wish.reason):
        grant = await trio.to_thread.run_sync(
            partial(make_grant, data_dir, services.keys, by=actor.name, reason=wish.reason, now_ms=now_ms)
        )
    return Reply(content=structs.Grant(node_id=grant.node_id, branch=grant.branch, at_ms=grant.at_ms))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/replication",
        handler=get_replication,
        needs="sites.read",
        summary="Say what is safe on other boxes, and how each of them does",
        answer=structs.Replication,
        tags=("sites",),
    ),
    Endpoint(
        method="POST",
        path="/replication/invitations",
        handler=invite_box,
        needs="sites.manage",
        action="peer.invite",
        summary="Invite one box; the first invitation begins a fleet of this box",
        body=structs.InvitationWish,
        answer=structs.Invitation,
        status=201,
        errors=(409,),
        codes={
            403: ("fleet_key_missing",),
            409: ("invitation_count", "instance_moved"),
            422: ("address_missing",),
        },
        tags=("sites",),
    ),
    Endpoint(
        method="GET",
        path="/replication/invitations",
        handler=list_invitations,
        needs="sites.read",
        summary="List invitations of this box by which somebody may still come",
        answer=structs.InvitationList,
        tags=("sites",),
    ),
    Endpoint(
        method="DELETE",
        path="/replication/invitations/{invitation_id}",
        handler=call_invitation_off,
        needs="sites.manage",
        action="peer.uninvite",
        summary="Call an invitation off: nobody can come by it any more",
        status=204,
        errors=(404,),
        codes={404: ("invitation_unknown",)},
        tags=("sites",),
    ),
    Endpoint(
        method="POST",
        path="/replication/nodes/{node_id}/decommission",
        handler=decommission_box,
        needs="sites.manage",
        action=DECOMMISSION,
        summary="Have a box be gone for good: no box of the fleet lets it in again",
        body=structs.DecommissionWish,
        answer=structs.Decommissioned,
        errors=(404, 409),
        codes={
            403: ("fleet_key_missing",),
            404: ("fleet_missing", "node_unknown"),
            409: ("node_is_this", "instance_moved"),
            503: ("replicator_away",),
        },
        tags=("sites",),
    ),
    Endpoint(
        method="POST",
        path="/replication/tier/rotate-key",
        handler=rotate_tier_key,
        needs="sites.manage",
        action=ROTATE,
        summary="Seal with a new key what goes to the cloud from now on; what lies there stays readable",
        answer=structs.TierKey,
        errors=(404, 409),
        codes={404: ("tier_missing",), 409: ("tier_not_sealed", "tier_key_generations")},
        tags=("sites",),
    ),
    Endpoint(
        method="POST",
        path="/replication/grants",
        handler=grant_epoch,
        needs="sites.manage",
        action="peer.grant",
        summary="Have this box write as its node though no majority of the fleet can be asked",
        body=structs.GrantWish,
        answer=structs.Grant,
        status=201,
        errors=(409,),
        codes={409: ("epoch_not_needed",)},
        tags=("sites",),
    ),
)
