"""How safe this box's data is and what happens next with another box, in sentences for page, API and Overview."""

from __future__ import annotations

from typing import Final

from appliance.management.replication_state import PastState, PeerState, ReplicationState
from ui.pages.format import bytes_text, duration_text, plural

FRESH_MS: Final = 15_000
"""So much that is only here is the usual pace of copying, and nothing to be looked at."""


_AWAY: Final = "Look whether it has power and a network."


def safe_text(state: ReplicationState) -> str:
    """How safe it is, in a sentence."""
    box = "on another box or in the cloud" if state.tier else "on another box"
    where = {"node": box, "site": "at another site", "region": "in another region"}[state.safe_at]
    if state.rpo_ms is None:
        return f"No box that could have a copy {where} belongs to the fleet: everything is only here."
    if state.rpo_ms <= FRESH_MS:
        return f"Everything but the last moments is {where}."
    what = f"{plural(state.unsafe_entries, 'record')} of the last {duration_text(state.rpo_ms)}"
    size = f", {bytes_text(state.unsafe_bytes)}" if state.unsafe_bytes else ""
    return f"Only here, and not {where}: {what}{size}."


def past_text(past: PastState | None) -> str:
    """What is still to come of this box's own log, in a sentence; "" where nothing is."""
    if past is None:
        return ""
    if past.state == "ready":
        return (
            f"The log's past is here again, {plural(past.total, 'record')}: it takes its place when Homeport is started the next time,"
            " and the store is built anew with it."
        )
    if past.state == "waiting":
        why = f": {past.problem}" if past.problem else "."
        return f"The log's past is still with other boxes, {plural(past.total - past.done, 'record')}{why}"
    percent = 100 * past.done // past.total
    return f"The log's past is had from other boxes: {percent} % of {plural(past.total, 'record')}."


def outlook(peer: PeerState) -> str:
    """What happens next with a peer, in a sentence; "" where nothing is to be said."""
    if peer.state == "decommissioned":
        return "It was taken out for good: it is let in no more, and what it had stays on the others."
    if peer.link == "refused":
        return "It is tried again by itself; the reason has to be put right first."
    if peer.role == "cloud":
        if peer.link == "up":
            return "A cloud node: what is shipped by it goes to its regions, and it holds nothing itself."
        return (
            f"{_AWAY} It is a cloud node: what is shipped by it waits here meanwhile, and goes on by itself."
        )
    waiting = (
        f"{plural(peer.lag_entries, 'record')} of the last {duration_text(peer.lag_ms)}"
        if peer.lag_entries
        else ""
    )
    if peer.link != "up" and not peer.relay:
        if not waiting:
            return f"{_AWAY} When it is back it goes on by itself; nothing waits for it."
        return f"{_AWAY} When it is back it gets {waiting}, the oldest first, by itself."
    if peer.lag_ms <= FRESH_MS:
        if peer.behind_ms > FRESH_MS:
            return f"It has all that this box wrote; of its own {plural(peer.behind_entries, 'record')} are on the way here."
        return "It has all that this box wrote, and this box all of its."
    carries = f" Its link carries about {bytes_text(peer.bytes_per_s)} a second." if peer.bytes_per_s else ""
    return f"It is catching up with {waiting}, the oldest first.{carries}"
