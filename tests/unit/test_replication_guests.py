"""Guests on the replicator's links: they may ask, hear what they asked for, and have nothing written at a peer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.core.errors import LimitExceeded, RemoteProtocolError
from appliance.core.limits_replication import GUEST_COUNT_MAX
from replication.guests import Guest, Guests
from replication.messages import (
    AskHeads,
    ClaimEpoch,
    Heads,
    Lacking,
    Message,
    Pull,
    Stored,
    decode_message,
    encode_message,
)
from replication.scheduling import Priority
from storage.replicas.streams import StreamId

A, B = "a" * 32, "b" * 32
STREAM = StreamId(A, "telemetry")
HASH = bytes(32)


class Links:
    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []

    def peers(self) -> list[str]:
        return [A, B]

    def send(
        self, peer: str, data: bytes, priority: Priority, on_left: Callable[[], None] | None = None
    ) -> bool:
        self.sent.append((peer, decode_message(data)))
        return True


class Ear:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def link_up(self, peer: str) -> None:
        self.heard.append(("up", peer))

    def link_down(self, peer: str) -> None:
        self.heard.append(("down", peer))

    def message(self, peer: str, data: bytes) -> None:
        self.heard.append((peer, decode_message(data)))


def pull(request: int) -> Pull:
    return Pull(request, STREAM, 1, 1, HASH, 1)


def made() -> tuple[Guests, Links, Ear, Ear, Guest]:
    links, replicator, ear = Links(), Ear(), Ear()
    guests = Guests(links, replicator)
    return guests, links, replicator, ear, guests.join(lambda guest: ear)


def test_a_guest_asks_and_nothing_else() -> None:
    _, links, _, _, guest = made()
    first = guest.first_request + 1
    assert guest.peers() == [A, B]
    assert guest.send(A, encode_message(AskHeads(A)), Priority.CONTROL)
    assert guest.send(A, encode_message(pull(first)), Priority.CONTROL)
    for forbidden in (
        pull(1),
        pull(guest.first_request),
        Heads(False, ()),
        Stored(()),
        ClaimEpoch(1, A, 2, "0" * 32),
    ):
        assert not guest.send(A, encode_message(forbidden), Priority.CONTROL)
    with pytest.raises(RemoteProtocolError):
        guest.send(A, b"nonsense", Priority.CONTROL)
    assert links.sent == [(A, AskHeads(A)), (A, pull(first))]


def test_it_hears_its_own_answers_and_heads_and_the_replicator_all_others() -> None:
    guests, _, replicator, ear, guest = made()
    other_ear = Ear()
    other = guests.join(lambda guest: other_ear)
    mine = Lacking(guest.first_request + 1, STREAM, "nothing", 1, 1, HASH)
    theirs = Lacking(other.first_request + 1, STREAM, "nothing", 1, 1, HASH)
    own = Lacking(1, STREAM, "nothing", 1, 1, HASH)
    heads = Heads(False, ())
    guests.link_up(A)
    for message in (mine, theirs, own, heads):
        guests.message(A, encode_message(message))
    guests.link_down(B)
    assert ear.heard == [("up", A), (A, mine), (A, heads), ("down", B)]
    assert other_ear.heard == [("up", A), (A, theirs), (A, heads), ("down", B)]
    assert replicator.heard == [("up", A), (A, own), (A, heads), ("down", B)]


def test_who_left_hears_nothing_and_makes_room() -> None:
    guests, _, replicator, ear, guest = made()
    for _ in range(GUEST_COUNT_MAX - 1):
        guests.join(lambda guest: Ear())
    with pytest.raises(LimitExceeded):
        guests.join(lambda guest: Ear())
    guest.leave()
    guest.leave()
    late = Lacking(guest.first_request + 1, STREAM, "nothing", 1, 1, HASH)
    assert guests.join(lambda guest: Ear()).first_request != guest.first_request
    guests.message(A, encode_message(late))
    assert (ear.heard, replicator.heard) == ([], [])
