"""In a large fleet a node hears of the streams that it has to do with, and of others only where a writer and a holder are apart."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import msgspec

from replication.effects import Send
from replication.gossip.fleet_view import FleetView
from replication.gossip.interest import APART_MS
from replication.gossip.state import Core, PeerState
from replication.gossip.telling import DIGEST_INTERVAL_MS, HINT_AGAIN_MS, HINT_COUNT, HINT_KEPT_MS, Teller
from replication.messages import HeadEntry, Heads, Stored, StoredEntry, decode_message, encode_message
from storage.replicas.streams import StreamHead, StreamId
from tests.gossip_kit import World, fleet

INFOS = fleet(24)
NAMES = [info.node_id for info in INFOS]
HASH = bytes(32)


def strangers(view: FleetView, stream: StreamId) -> list[str]:
    """Who has nothing to do with a stream."""
    return [name for name in NAMES if name != stream.node_id and not view.is_holder(name, stream.node_id)]


class Rig:
    """A teller in a fleet of 24, none of them a relay."""

    def __init__(self) -> None:
        self.core = Core(NAMES[0], random.Random(3))
        self.teller = Teller(self.core, 0)
        self.view = FleetView(NAMES[0], INFOS)
        self.teller.set_fleet(self.view)
        self.now_ms = 0

    def link(self, *names: str) -> None:
        for name in names:
            state = self.core.peers[name] = PeerState(name, self.now_ms)
            self.teller.greet(state, self.now_ms)

    def pass_time(self, for_ms: int) -> None:
        for _ in range(for_ms // DIGEST_INTERVAL_MS):
            self.now_ms += DIGEST_INTERVAL_MS
            self.teller.tick(self.now_ms)

    def told(self) -> dict[str, list[StoredEntry]]:
        """What each peer was told of others."""
        found: dict[str, list[StoredEntry]] = {}
        for effect in self.core.take():
            if isinstance(effect, Send) and isinstance(effect.message, Stored):
                found.setdefault(effect.peer, []).extend(effect.message.entries)
        return found

    def foreign(self) -> StreamId:
        """A stream of another's that this node is not to hold."""
        return StreamId(
            next(name for name in NAMES[1:] if not self.view.is_holder(NAMES[0], name)), "telemetry"
        )


def test_nobody_keeps_word_of_streams_that_he_has_nothing_to_do_with() -> None:
    infos = fleet(12)
    world = World(5, infos)
    for one, two in combinations([info.node_id for info in infos], 2):
        world.link(one, two)
    world.run(1_000)
    for _ in range(3):
        for name in world.nodes:
            world.write(name)
        world.run(20_000)
    for node in world.nodes.values():
        view = FleetView(node.name, infos)
        for other in world.nodes.values():
            known = node.machine.stored_by(other.own)
            if node is other:
                assert {name for name in known if view.is_holder(name, node.name)} == set(view.holders)
            elif not view.is_holder(node.name, other.name):
                assert known == {}, (node.name, other.name)
        assert node.machine.safe_seq(node.own) == node.machine.head(node.own).next_seq


def test_a_writer_hears_of_copies_behind_many_corners() -> None:
    infos = fleet(11)
    names = [info.node_id for info in infos]
    view = FleetView("", infos)
    world = World(6, infos)
    for one, two in pairwise(names):
        world.link(one, two)
    for name in names:
        world.write(name, records=2, body=bytes(200))

    def all_know() -> bool:
        return all(
            node.machine.stored_by(node.own).get(holder, (0, 0))[1] == node.machine.head(node.own).next_seq
            for node in world.nodes.values()
            for holder in names
            if view.is_holder(holder, node.name)
        )

    assert world.run(900_000, until=all_know), "a chain, and all writers know of all copies"


def test_what_is_near_goes_to_those_who_have_to_do_with_it_and_the_rest_is_dropped() -> None:
    rig = Rig()
    stream = StreamId(NAMES[0], "telemetry")
    apart = strangers(rig.view, stream)
    rig.link(apart[0], apart[1], *rig.view.holders[:2])
    entry = StoredEntry(rig.view.holders[0], stream, 1, 5, HASH, is_near=True)
    assert rig.teller.heard(entry, rig.view.holders[0], 0)
    rig.pass_time(120_000)
    assert set(rig.told()) == {rig.view.holders[1]}
    foreign = StoredEntry(apart[0], rig.foreign(), 1, 5, HASH, is_near=True)
    assert not rig.teller.is_for_us(foreign)
    assert rig.teller.is_for_us(msgspec.structs.replace(foreign, is_near=False)), "a hint, for everybody"


def test_whoever_begins_to_hold_or_ask_for_a_stream_is_told_who_has_it() -> None:
    rig = Rig()
    stream = StreamId(NAMES[0], "telemetry")
    one, two = strangers(rig.view, stream)[:2]
    rig.link(one, two)
    rig.teller.heard(StoredEntry(rig.view.holders[0], stream, 1, 5, HASH, is_near=True), one, 0)
    rig.pass_time(30_000)
    assert rig.told() == {}
    rig.teller.concerned(rig.core.peers[two], stream)
    rig.pass_time(30_000)
    assert [entry.next_seq for entry in rig.told()[two]] == [5]
    rig.teller.set_fleet(FleetView(NAMES[0], INFOS[:8]))
    rig.pass_time(30_000)
    assert [entry.next_seq for entry in rig.told()[one]] == [5], "in a small fleet everybody is told"


def test_hints_are_few_at_a_time_and_old_ones_are_dropped() -> None:
    rig = Rig()
    stream = rig.foreign()
    peer = next(name for name in strangers(rig.view, stream) if name != NAMES[0])
    rig.link(peer)
    for number in range(3 * HINT_COUNT):
        holder = f"{number + 1_000:032x}"
        assert rig.teller.heard(StoredEntry(holder, stream, 1, 5, HASH), NAMES[1], 0)
    counts = []
    for _ in range(4):
        rig.pass_time(DIGEST_INTERVAL_MS)
        counts.append(len(rig.told().get(peer, [])))
    assert counts == [HINT_COUNT] * 3 + [0]
    late = next(name for name in strangers(rig.view, stream) if name not in (peer, NAMES[0]))
    rig.now_ms = HINT_KEPT_MS
    rig.link(late)
    rig.pass_time(30_000)
    assert late not in rig.told()


def test_a_hint_that_says_nothing_new_is_passed_on_again_after_a_while() -> None:
    rig = Rig()
    stream = rig.foreign()
    peer = next(name for name in strangers(rig.view, stream) if name != NAMES[0])
    rig.link(peer)
    entry = StoredEntry("9" * 32, stream, 1, 5, HASH)
    told = []
    for at_ms in (0, HINT_AGAIN_MS // 2, HINT_AGAIN_MS):
        rig.now_ms = at_ms
        rig.teller.heard(entry, NAMES[1], at_ms)
        rig.pass_time(2 * DIGEST_INTERVAL_MS)
        told.append(len(rig.told().get(peer, [])))
    assert told == [1, 0, 1]


def test_what_is_told_is_for_everybody_while_a_writer_and_a_holder_are_long_apart() -> None:
    rig = Rig()
    own = StreamId(NAMES[0], "telemetry")
    rig.link(*(name for name in NAMES[1:] if name != rig.view.holders[0]))
    rig.pass_time(APART_MS)
    assert not rig.teller.interest.is_wide(own)
    rig.pass_time(2 * DIGEST_INTERVAL_MS)
    assert rig.teller.interest.is_wide(own)
    assert not rig.teller.statement(NAMES[0], own, StreamHead(1, 5, HASH)).is_near
    rig.link(rig.view.holders[0])
    rig.pass_time(DIGEST_INTERVAL_MS)
    assert not rig.teller.interest.is_wide(own)


def test_a_release_that_passes_on_everything_says_so_by_saying_nothing() -> None:
    entry = StoredEntry(NAMES[1], StreamId(NAMES[0], "telemetry"), 1, 5, HASH, is_near=True)
    shorter = msgspec.msgpack.decode(encode_message(Stored((entry,))))
    shorter[1][0] = shorter[1][0][:-1]
    decoded = decode_message(msgspec.msgpack.encode(shorter))
    assert isinstance(decoded, Stored)
    assert not decoded.entries[0].is_near
    heads = msgspec.msgpack.decode(
        encode_message(Heads(True, (HeadEntry(entry.stream, StreamHead(1, 5, HASH), True),)))
    )
    heads[2][0] = heads[2][0][:-1]
    told = decode_message(msgspec.msgpack.encode(heads))
    assert isinstance(told, Heads)
    assert not told.entries[0].is_near
