"""Who is told what is stored where."""

from __future__ import annotations

import random

from replication.effects import Send
from replication.gossip.state import Core, PeerState
from replication.gossip.telling import DIGEST_INTERVAL_MS, Teller
from replication.messages import Stored, StoredEntry
from storage.replicas.streams import StreamId

A, B, C, OURS = ("a" * 32, "b" * 32, "c" * 32, "d" * 32)
STREAM = StreamId("e" * 32, "telemetry")
HASH = bytes(32)


def told(core: Core) -> dict[str, list[int]]:
    """What each peer is told that A has."""
    found: dict[str, list[int]] = {}
    for effect in core.take():
        assert isinstance(effect, Send)
        if isinstance(effect.message, Stored):
            found.setdefault(effect.peer, []).extend(entry.next_seq for entry in effect.message.entries)
    return found


def test_nobody_is_told_what_they_say_themselves() -> None:
    core = Core(OURS, random.Random(1))
    for peer in (B, C):
        core.peers[peer] = PeerState(peer, 0)
    teller = Teller(core, 0)

    def has(next_seq: int) -> StoredEntry:
        return StoredEntry(A, STREAM, 1, next_seq, HASH)

    assert teller.heard(has(5), A, 0)
    assert not teller.heard(has(5), B, 0)
    for number in range(1, 4):
        teller.tick(number * DIGEST_INTERVAL_MS)
    assert told(core) == {C: [5]}, "B has said it itself"
    assert teller.heard(has(7), B, 0)
    assert not teller.heard(has(6), C, 0), "C is behind, and hears of it"
    for number in range(4, 7):
        teller.tick(number * DIGEST_INTERVAL_MS)
    assert told(core) == {C: [7]}
