"""What `homeport peer` does, on the fleet's folder and through the replicator's control socket.

It works whether Homeport runs or not: whoever may write the data folder may invite. What only one process may write, the roster, is
written by the replicator while it runs, and by the command under its lock while it doesn't.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import Unavailable
from appliance.identity.epoch_grants import check_doubted, make_grant, used_grants
from appliance.identity.fleet import Fleet
from appliance.identity.fleet_acts import DECOMMISSION
from appliance.identity.fleet_invitations import Invitation, Kind
from appliance.identity.fleet_inviting import call_off, invite, waiting, waiting_one
from appliance.identity.fleet_nodes import find_node, fleet_of, known
from appliance.management.audit import LOCAL, Act
from appliance.management.fleet import NodeEntry
from appliance.run import layout
from appliance.run.epoch_doubts import HINT, local_doubt, words_of
from appliance.run.first_run import lock
from appliance.run.node_or_catalog import running_node, with_catalog
from replication.control import REPLICATOR_AWAY, ask
from storage.fleet import write_roster

HOLDER: Final = "homeport peer"
INVITE: Final = "peer.invite"
UNINVITE: Final = "peer.uninvite"
GRANT: Final = "peer.grant"
"""What the audit calls them."""


def make_invitation(config: Config, kind: Kind, *, note: str) -> dict[str, Any]:
    """Invite one box: through the node while it runs, so that the audit says so; else on the catalog.

    Returns:
        `token`, shown this once, and the invitation.
    Raises:
        As `invite` and node_or_catalog.
    """
    api = running_node(config)
    if api is not None:
        answer: dict[str, Any] = api.post("/api/v1/replication/invitations", {"kind": kind, "note": note})
        return answer
    with with_catalog(config, holder=HOLDER) as stopped:
        token, invitation = invite(config, stopped.keys, kind, note=note, clock=stopped.clock)
        with stopped.catalog.transaction(Act(action=INVITE, actor=LOCAL)):
            stopped.catalog.note(
                INVITE, object_kind="invitation", object_id=invitation.invitation_id, detail=kind
            )
    return {
        "token": token.text(),
        "invitation_id": invitation.invitation_id,
        "kind": kind,
        "addresses": list(token.addresses),
        "ends_at_ms": invitation.ends_at_ms,
        "authority": token.authority,
    }


def list_peers(config: Config, *, clock: Clock) -> dict[str, Any]:
    """All nodes of the fleet, how their links are while the replicator runs, and invitations that wait.

    Raises:
        NotFound: `fleet_missing`. ConfigError, UsageError, StorageError: the folder can't be read.
    """
    fleet, roster = fleet_of(config)
    try:
        status = trio.run(_asked, config, "status", {})
    except Unavailable as error:
        if error.code != REPLICATOR_AWAY:
            raise
        status = {}
    peers = {peer["node_id"]: peer for peer in status.get("peers", [])}
    doubt = local_doubt(config, now_ms=clock.now_ms())
    return {
        "authority": fleet.fingerprint,
        "node_id": fleet.identity.node_id,
        "can_sign": fleet.can_sign,
        "certificate_ends_at_ms": fleet.identity.ends_at_ms,
        "is_running": bool(status),
        "port": status.get("port", 0),
        "rpo_ms": status.get("rpo_ms"),
        "rpo_worst_ms": status.get("rpo_worst_ms"),
        "unsafe_entries": status.get("unsafe_entries"),
        "blobs": status.get("blobs", []),
        "past": status.get("past"),
        "nodes": [_row(node, fleet, peers.get(node.node_id)) for node in roster],
        "invitations": invitations(config, clock=clock),
        "refused": status.get("newest_refused", []),
        "doubt": f"{words_of(doubt)} {HINT}" if doubt is not None else "",
        "grants": [
            {"epoch": each.epoch, "by": each.by, "at_ms": each.at_ms, "reason": each.reason}
            for each in used_grants(config.node.data_dir)
        ],
    }


def invitations(config: Config, *, clock: Clock) -> list[dict[str, Any]]:
    """Invitations of this box that wait, the oldest first."""
    return [_waiting(each) for each in waiting(config, clock)]


def uninvite(config: Config, invitation_id: str, *, clock: Clock) -> dict[str, Any]:
    """Call an invitation off, by its id or the beginning of it.

    Raises:
        NotFound: `invitation_unknown`. StorageError: it can't be removed.
    """
    invitation = waiting_one(config, invitation_id, clock)
    api = running_node(config)
    if api is not None:
        api.request("DELETE", f"/api/v1/replication/invitations/{invitation.invitation_id}")
        return _waiting(invitation)
    with (
        with_catalog(config, holder=HOLDER) as stopped,
        stopped.catalog.transaction(Act(action=UNINVITE, actor=LOCAL)),
    ):
        stopped.catalog.note(
            UNINVITE, object_kind="invitation", object_id=invitation.invitation_id, detail=invitation.kind
        )
        call_off(config, invitation, clock)
    return _waiting(invitation)


def decommission(config: Config, name_or_id: str, reason: str, *, clock: Clock) -> dict[str, Any]:
    """Have a node be gone for good: through the node while it runs, so that the audit says who did it; else on the files.

    Raises:
        NotFound: `fleet_missing`, `node_unknown`. Conflict: `node_is_this`, `node_name_twice`. NotAuthorized: `fleet_key_missing`.
    """
    _, roster = fleet_of(config)
    node_id = find_node(roster, name_or_id).node_id
    api = running_node(config)
    if api is not None:
        done: dict[str, Any] = api.post(
            f"/api/v1/replication/nodes/{node_id}/decommission", {"reason": reason}
        )
        return done
    with (
        with_catalog(config, holder=HOLDER) as stopped,
        stopped.catalog.transaction(Act(action=DECOMMISSION, actor=LOCAL)),
    ):
        stopped.catalog.note(DECOMMISSION, object_kind="node", object_id=node_id, detail=reason)
        return _decommission(config, node_id, reason, clock)


def _decommission(config: Config, node_id: str, reason: str, clock: Clock) -> dict[str, Any]:
    """Through the replicator, or under its lock where it is away."""
    try:
        return trio.run(_asked, config, "decommission", {"node_id": node_id, "reason": reason})
    except Unavailable as error:
        if error.code != REPLICATOR_AWAY:
            raise
    with lock(layout.replicator_lock(config), holder=HOLDER):
        fleet, roster = fleet_of(config)
        entry = known(roster, node_id, own=fleet.identity.node_id)
        gone = fleet.decommission(entry, reason, clock=clock)
        write_roster(config.node.data_dir, roster.merged([gone])[0])
    return {"node_id": gone.node_id, "name": gone.name, "state": gone.state}


def grant_epoch(config: Config, reason: str) -> dict[str, Any]:
    """Have this box write as its node: through the node while it runs, so that the audit says so; else on the catalog.

    Raises:
        Conflict: `epoch_not_needed`. As node_or_catalog.
    """
    api = running_node(config)
    if api is not None:
        answer: dict[str, Any] = api.post("/api/v1/replication/grants", {"reason": reason})
        return answer
    with with_catalog(config, holder=HOLDER) as stopped:
        now_ms = stopped.clock.now_ms()
        check_doubted(local_doubt(config, now_ms=now_ms))
        with stopped.catalog.transaction(Act(action=GRANT, actor=LOCAL)):
            stopped.catalog.note(
                GRANT, object_kind="node", object_id=stopped.keys.node_id.hex(), detail=reason
            )
        grant = make_grant(config.node.data_dir, stopped.keys, by=LOCAL.name, reason=reason, now_ms=now_ms)
    return {"node_id": grant.node_id, "branch": grant.branch, "at_ms": grant.at_ms}


async def _asked(config: Config, question: str, fields: dict[str, Any]) -> dict[str, Any]:
    return await ask(layout.replicator_socket(config), question, **fields)


def _waiting(invitation: Invitation) -> dict[str, Any]:
    return {
        "invitation_id": invitation.invitation_id,
        "kind": invitation.kind,
        "note": invitation.note,
        "made_at_ms": invitation.made_at_ms,
        "ends_at_ms": invitation.ends_at_ms,
    }


def _row(node: NodeEntry, fleet: Fleet, peer: dict[str, Any] | None) -> dict[str, Any]:
    is_this = node.node_id == fleet.identity.node_id
    return {
        "node_id": node.node_id,
        "name": node.name,
        "site_id": node.site_id,
        "region": node.region,
        "addresses": list(node.addresses),
        "state": node.state,
        "is_this": is_this,
        "is_of_this_site": node.site_id == fleet.identity.site_id,
        "link": "this box" if is_this else "unknown" if peer is None else peer["link"],
        "problem": "" if peer is None else peer["problem"],
        "rtt_ms": None if peer is None else peer["rtt_ms"],
        "lag_ms": None if peer is None else peer["lag_ms"],
        "lag_entries": None if peer is None else peer["lag_entries"],
        "behind_entries": None if peer is None else peer["behind_entries"],
        "certificate_ends_at_ms": node.ends_at_ms,
    }
