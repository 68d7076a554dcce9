"""What the replicator says of itself, made of what its parts know (appliance/management/replication_state.py). Pure.

Links and roster are here; what is copied is filled in by whoever copies.
"""

from __future__ import annotations

from typing import Final

import msgspec

from appliance.management.fleet import Domain, NodeEntry, Roster
from appliance.management.replication_state import Link, PeerState, ReplicationState
from replication.link.admission import UNREACHABLE
from replication.link.connection import LinkStatistics
from replication.link.dialler import DialStatistics
from replication.link.links import LinksStatistics
from replication.link.refusals import Turned

_NO_ANSWER: Final = "all attempts to connect"
"""How trio says that no address of a host answers, each with a reason of its own."""


def state_of(
    own: NodeEntry, roster: Roster, links: LinksStatistics, *, safe_at: Domain, now_ms: int
) -> ReplicationState:
    """Roster and links as one picture."""
    by_link = {each.node_id: each for each in links.links}
    by_dial = {each.node_id: each for each in links.dials}
    turned = {each.node_id: each for each in links.newest_refused if each.node_id}
    peers = tuple(
        _peer(node, own, by_link.get(node.node_id), by_dial.get(node.node_id), turned.get(node.node_id))
        for node in roster
        if node.node_id != own.node_id
    )
    return ReplicationState(
        at_ms=now_ms,
        node_id=own.node_id,
        name=own.name,
        site_id=own.site_id,
        region=own.region,
        authority=roster.authority,
        safe_at=safe_at,
        rpo_ms=None,
        rpo_worst_ms=None,
        peers=peers,
        role=own.role,
    )


class LinkAges:
    """Since when each link is as it is: what is over has no statistics any more. As exact as it is looked."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[bool, int]] = {}

    def look(self, state: ReplicationState) -> ReplicationState:
        """The state with when links were lost."""
        peers, since = [], {}
        for peer in state.peers:
            is_up = peer.link == "up"
            was_up, since_ms = self._since.get(peer.node_id, (is_up, state.at_ms))
            if was_up != is_up:
                since_ms = state.at_ms
            since[peer.node_id] = (is_up, since_ms)
            peers.append(peer if is_up else msgspec.structs.replace(peer, since_ms=since_ms))
        self._since = since
        return msgspec.structs.replace(state, peers=tuple(peers))


def _said(dial: DialStatistics, node: NodeEntry) -> str:
    """Why there is no link, for people."""
    if dial.reason == UNREACHABLE and _NO_ANSWER in dial.message:
        return f"It does not answer at {', '.join(node.addresses)}."
    return dial.message


def _peer(
    node: NodeEntry,
    own: NodeEntry,
    link: LinkStatistics | None,
    dial: DialStatistics | None,
    turned: Turned | None,
) -> PeerState:
    how: Link = "up"
    problem, since_ms = "", 0 if turned is None else turned.at_ms
    if link is None:
        how = "down"
        if dial is not None and dial.state == "dialling":
            how = "dialling"
        if dial is not None and dial.reason:
            problem = _said(dial, node)
            how = "down" if dial.reason in ("unreachable", "gone", "silent", "tls", "slow") else "refused"
        elif turned is not None:
            how, problem = "refused", turned.message
    else:
        since_ms = link.since_at_ms
    return PeerState(
        node_id=node.node_id,
        name=node.name,
        site_id=node.site_id,
        region=node.region,
        is_of_this_site=node.site_id == own.site_id,
        state=node.state,
        role=node.role,
        addresses=node.addresses,
        link=how,
        since_ms=since_ms,
        problem=problem,
        rtt_ms=None if link is None or link.rtt_ms < 0 else float(link.rtt_ms),
        backlog_bytes=0 if link is None else link.waiting_bytes,
        sent_bytes=0 if link is None else link.sent_bytes,
        received_bytes=0 if link is None else link.received_bytes,
        clock_ahead_ms=None if link is None else link.clock_ahead_ms,
        certificate_ends_at_ms=node.ends_at_ms,
    )
