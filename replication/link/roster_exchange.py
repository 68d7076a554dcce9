"""How rosters become one: each end of a link says how each entry stands, and is sent what is newer. Sans-IO.

What came new is told to all other links at once, so an entry crosses the fleet in as many hops as it is wide; and on each new link both
ends compare all. An entry counts only once it was verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from appliance.core.errors import HomeportError, RemoteProtocolError
from appliance.core.limits_replication import ROSTER_ENTRIES_PER_MESSAGE_MAX, ROSTER_MESSAGE_BYTES
from appliance.management.fleet import NodeEntry, Roster, SignedEntry
from replication.link.messages import RosterDigest, RosterEntries


def digest_of(roster: Roster) -> RosterDigest:
    """What is said first on each link."""
    return RosterDigest(
        known={node_id: (order[0], order[1], order[2]) for node_id, order in roster.orders().items()}
    )


def newer_than(roster: Roster, digest: RosterDigest) -> list[NodeEntry]:
    """Entries that whoever said this lacks, or has older."""
    orders = roster.orders()
    return [
        node
        for node in roster
        if node.node_id not in digest.known or tuple(orders[node.node_id]) > digest.known[node.node_id]
    ]


def messages_of(entries: Iterable[NodeEntry]) -> Iterator[RosterEntries]:
    """Entries as messages, each within its limits."""
    batch: list[SignedEntry] = []
    size_bytes = 0
    for entry in entries:
        if batch and (size_bytes > ROSTER_MESSAGE_BYTES or len(batch) == ROSTER_ENTRIES_PER_MESSAGE_MAX):
            yield RosterEntries(tuple(batch))
            batch, size_bytes = [], 0
        batch.append(entry.signed)
        size_bytes += len(msgspec.msgpack.encode(entry.signed))
    if batch:
        yield RosterEntries(tuple(batch))


def verified(
    roster: Roster, message: RosterEntries, verify: Callable[[SignedEntry], NodeEntry]
) -> list[NodeEntry]:
    """Entries of a message that may be believed; those that are known as they are are not looked at again.

    Raises:
        RemoteProtocolError: one may not be.
    """
    found = []
    for signed in message.entries:
        known = roster.get(signed.node_id)
        if known is not None and known.signed == signed:
            continue
        try:
            found.append(verify(signed))
        except HomeportError as error:
            raise RemoteProtocolError(
                f"It told of a node what can't be believed: {error.message}", hint=error.hint
            ) from error
    return found
