"""The other boxes as the pages show them, and what of it needs attention."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.management.replication_state import ForkState, HeldState, PeerState, ReplicationState
from ui.pages.cloud_sites_facts import SiteView, site_views, sites_text
from ui.pages.format import duration_text, plural, visible
from ui.pages.looks import LINK, MEMBER, REFUGE, UNKNOWN, Look, Tone
from ui.pages.sites_words import FRESH_MS, outlook, past_text, safe_text
from ui.pages.tier_facts import RegionView, region_views, regions_away
from ui.pages.views import Attention, dom_id
from ui.replication import ReplicationNow

CLOCK_AHEAD_MS = 5_000
"""A clock that differs by less says nothing: it is measured over the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """A box as a card.

    Attributes:
        outlook: What happens next, "" for nothing to be said. problem: What it or its link said, nothing hidden in it.
        clock: What is wrong with its clock, or "".
    """

    peer: PeerState
    link: Look
    member: Look
    place: str
    outlook: str
    problem: str
    clock: str
    tone: Tone
    dom_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldView:
    """A log that is here, own or a copy."""

    held: HeldState
    whose: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkView:
    """Two histories of one log."""

    fork: ForkState
    whose: str
    holders: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SitesView:
    """The page's facts. `state` is None for a box that is alone, and while nothing is known; then `problem` says why."""

    state: ReplicationState | None
    problem: str
    look: Look
    text: str
    past: str = ""
    peers: tuple[PeerView, ...] = ()
    held: tuple[HeldView, ...] = ()
    forks: tuple[ForkView, ...] = ()
    regions: tuple[RegionView, ...] = ()
    unread: tuple[str, ...] = ()
    """What of other boxes' readings does not come into this box's store, and why."""
    is_cloud: bool = False
    sites: tuple[SiteView, ...] = ()
    sites_text: str = ""


def sites_view(now: ReplicationNow) -> SitesView:
    state = now.state
    if state is None:
        if now.is_alone:
            return SitesView(
                state=None,
                problem="",
                look=REFUGE["alone"],
                text="This box is alone: what it holds is nowhere else.",
            )
        return SitesView(
            state=None,
            problem=visible(now.problem),
            look=REFUGE["unknown"],
            text="What other boxes have can't be known now.",
        )
    names = names_of(now)

    def name_of(node_id: str) -> str:
        return visible(names.get(node_id, f"{node_id[:8]}…"))

    return SitesView(
        state=state,
        problem=visible(state.problem),
        look=REFUGE[refuge(state)],
        text=safe_text(state),
        past=visible(past_text(state.past)),
        peers=tuple(_peer_view(peer, state) for peer in state.peers),
        held=tuple(
            HeldView(held=held, whose=name_of(held.node_id), state=_held_text(held, state.node_id))
            for held in state.held
        ),
        forks=tuple(
            ForkView(
                fork=fork,
                whose=name_of(fork.node_id),
                holders=", ".join(name_of(each) for each in fork.holders),
            )
            for fork in state.forks
        ),
        regions=region_views(state),
        unread=unread(now),
        is_cloud=state.role == "cloud",
        sites=site_views(state),
        sites_text=sites_text(state),
    )


def unread(now: ReplicationNow) -> tuple[str, ...]:
    """What of other boxes' readings does not come into this box's store, and why, in sentences."""
    names, found = names_of(now), []
    if now.site.incident:
        found.append(
            f"Readings of other boxes don't come in here: {visible(now.site.incident)} Look at the disk."
        )
    for each in now.site.streams:
        if each.stopped:
            name = visible(names.get(each.node_id, f"{each.node_id[:8]}…"))
            found.append(
                f"Readings of {name} don't come in here any more: {visible(each.stopped)} "
                "They are on that box; here they go on when it begins a new epoch."
            )
    return tuple(found)


def names_of(now: ReplicationNow) -> dict[str, str]:
    """Boxes' names by node id."""
    if now.state is None:
        return {}
    names = {peer.node_id: peer.name for peer in now.state.peers}
    return names | {now.state.node_id: f"{now.state.name} (this box)"}


def refuge(state: ReplicationState) -> str:
    """How safe it is, as a word of looks.REFUGE."""
    if state.rpo_ms is None:
        return "nobody"
    return "safe" if state.rpo_ms <= FRESH_MS else "only_here"


def copies_of(now: ReplicationNow) -> tuple[Look, str]:
    """What is safe elsewhere, for a line of the Overview: how, and what would be lost with this box."""
    state = now.state
    if state is None:
        return REFUGE["alone" if now.is_alone else "unknown"], ""
    look = REFUGE[refuge(state)]
    if not state.rpo_ms or state.rpo_ms <= FRESH_MS:
        return look, ""
    return look, f"the last {duration_text(state.rpo_ms)} would be lost with this box"


def sites_attention(now: ReplicationNow) -> tuple[Attention, ...]:
    """Lines for the Overview; nothing for a box that is alone."""
    if now.is_alone:
        return ()
    if now.state is None:
        return (_line("bad", f"What other boxes have is not known: {now.problem}"),)
    state, lines = now.state, []
    if state.forks:
        lines.append(
            _line(
                "bad",
                f"Two boxes wrote as the same one: {plural(len(state.forks), 'log has', 'logs have')} two histories.",
            )
        )
    if state.problem:
        lines.append(_line("bad", f"Nothing is copied to other boxes: {state.problem}"))
    if state.unreadable:
        lines.append(_line("bad", state.unreadable))
    lines += [_line("bad", each) for each in unread(now)]
    if refuge(state) != "safe":
        lines.append(_line("warn", safe_text(state)))
    away = [peer for peer in state.peers if peer.state == "admitted" and peer.link != "up" and not peer.relay]
    if away:
        names = ", ".join(visible(peer.name) for peer in away[:5]) + ("…" if len(away) > 5 else "")
        lines.append(_line("warn", f"{plural(len(away), 'box is', 'boxes are')} away: {names}."))
    if regions := regions_away(state):
        lines.append(_line("warn", regions))
    return tuple(lines)


def _line(tone: Tone, text: str) -> Attention:
    return Attention(tone=tone, text=visible(text), url="/sites", action="Look at Sites", needs="sites.read")


def _peer_view(peer: PeerState, state: ReplicationState) -> PeerView:
    is_gone = peer.state == "decommissioned"
    link = LINK["gone" if is_gone else "relayed" if peer.relay and peer.link != "up" else peer.link]
    clock = ""
    if peer.clock_ahead_ms is not None and abs(peer.clock_ahead_ms) >= CLOCK_AHEAD_MS:
        side = "ahead of" if peer.clock_ahead_ms > 0 else "behind"
        clock = f"Its clock is {duration_text(abs(peer.clock_ahead_ms))} {side} this box's."
    place = "this site" if peer.is_of_this_site else f"site {peer.site_id[:8]}"
    return PeerView(
        peer=peer,
        link=link,
        member=MEMBER.get(peer.member, UNKNOWN),
        place=f"{place}, region {visible(peer.region)}" if peer.region else place,
        outlook=outlook(peer),
        problem=visible(peer.problem),
        clock=clock,
        tone=link.tone,
        dom_id=dom_id("peer", peer.node_id),
    )


def _held_text(held: HeldState, own_id: str) -> str:
    if held.node_id == own_id:
        return "written here"
    if not held.behind_entries:
        return "up to date"
    return f"{plural(held.behind_entries, 'record')}, {duration_text(held.behind_ms)} behind"
