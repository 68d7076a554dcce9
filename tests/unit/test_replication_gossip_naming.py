"""Which history a peer means by a name."""

from __future__ import annotations

import random

from appliance.core.limits_replication import BRANCH_COUNT_MAX
from replication.effects import NotThere, PackedChunk, Place, Read
from replication.gossip.forks import Forks
from replication.gossip.naming import UNKNOWN_MS, Namer
from replication.gossip.state import Core, Held, PeerState
from storage.replicas.streams import StreamHead, StreamId

A, PEER = "a" * 32, "c" * 32
WHOLE = StreamId(A, "telemetry")
OURS, THEIRS = StreamId(A, "telemetry", "11111111"), StreamId(A, "telemetry", "22222222")
H = [bytes([number]) * 32 for number in range(10)]
HEAD = StreamHead(1, 30, H[3])
PARTED = NotThere(reason="parted", hash=H[9])


class Rig:
    def __init__(self, **held: StreamHead) -> None:
        self.core = Core("b" * 32, random.Random(1))
        self.forks = Forks(self.core)
        self.found: list[tuple[StreamId, StreamHead]] = []
        self.parted: list[tuple[str, StreamId, Place, bytes]] = []
        self.state = self.core.peers[PEER] = PeerState(PEER, 0)
        for branch, head in held.items():
            stream = StreamId(A, "telemetry", branch.removeprefix("main").removeprefix("b"))
            self.core.held[stream] = Held(stream, head, is_own=False)
        self.namer = Namer(
            self.core,
            self.forks,
            found=lambda _state, name, head, _now: self.found.append((name, head)),
            parted=lambda *args: self.parted.append(args),
        )

    def answer(self, *outcomes: PackedChunk | NotThere, now_ms: int = 0) -> None:
        """Answers reads as long as there are some."""
        for outcome in outcomes:
            (read,) = self.core.take()
            assert isinstance(read, Read)
            assert self.namer.is_reading(read.number)
            self.namer.read(read, outcome, now_ms)


def at(place: StreamHead) -> PackedChunk:
    return PackedChunk(
        stream=WHOLE, epoch=1, first_seq=place.next_seq, prev_hash=place.hash, next_seq=99, hash=H[8],
        last_at_ms=0, data=b"",
    )  # fmt: skip


def test_a_streams_own_name_is_itself_but_for_an_alias() -> None:
    rig = Rig(main=HEAD)
    assert rig.namer.ours(rig.state, WHOLE, HEAD, 0) == WHOLE
    rig.state.aliases[WHOLE] = OURS
    assert rig.namer.ours(rig.state, WHOLE, HEAD, 0) == OURS


def test_a_branch_of_which_nothing_else_is_held_keeps_its_name_and_so_does_one_that_is_held() -> None:
    assert Rig().namer.ours(PeerState(PEER, 0), THEIRS, HEAD, 0) == THEIRS
    rig = Rig(main=HEAD, b22222222=StreamHead(1, 5, H[1]))
    assert rig.namer.ours(rig.state, THEIRS, HEAD, 0) == THEIRS


def test_equal_heads_need_no_look() -> None:
    rig = Rig(main=StreamHead(2, 50, H[5]), b11111111=HEAD)
    assert rig.namer.ours(rig.state, THEIRS, HEAD, 0) == OURS
    assert rig.state.aliases == {THEIRS: OURS}
    assert rig.core.take() == []


def test_the_history_on_which_the_place_lies_is_meant() -> None:
    rig = Rig(main=StreamHead(2, 50, H[5]), b11111111=StreamHead(1, 40, H[4]))
    assert rig.namer.ours(rig.state, THEIRS, HEAD, 0) is None
    assert rig.namer.ours(rig.state, THEIRS, HEAD, 0) is None, "one look is under way"
    rig.answer(PARTED, at(HEAD))
    assert rig.found == [(THEIRS, HEAD)]
    assert rig.namer.ours(rig.state, THEIRS, HEAD, 0) == OURS


def test_what_lies_on_none_for_a_while_is_a_history_of_its_own() -> None:
    rig = Rig(main=StreamHead(2, 50, H[5]))
    assert rig.namer.ours(rig.state, THEIRS, HEAD, 0) is None
    rig.answer(PARTED)
    rig.namer.tick(UNKNOWN_MS - 1)
    assert rig.core.take() == []
    rig.namer.tick(UNKNOWN_MS)
    rig.answer(PARTED, now_ms=UNKNOWN_MS)
    assert rig.found == [(THEIRS, HEAD)]
    assert rig.forks.branch_place(THEIRS) == Place(epoch=1, next_seq=30, hash=H[3])
    assert rig.namer.ours(rig.state, THEIRS, HEAD, 0) == THEIRS


def test_there_are_only_so_many_histories() -> None:
    branches = {f"b{number:08x}": StreamHead(1, 50, H[5]) for number in range(BRANCH_COUNT_MAX + 1)}
    rig = Rig(**branches)
    assert rig.namer.ours(rig.state, THEIRS, HEAD, 0) is None
    rig.answer(*[PARTED] * len(branches), now_ms=UNKNOWN_MS)
    assert rig.found == []


def test_a_peer_that_left_is_forgotten() -> None:
    rig = Rig(main=StreamHead(2, 50, H[5]))
    assert rig.namer.ours(rig.state, THEIRS, HEAD, 0) is None
    del rig.core.peers[PEER]
    rig.answer(at(HEAD))
    rig.namer.tick(UNKNOWN_MS)
    assert rig.core.take() == []
    assert rig.found == []


def test_a_writer_that_has_less_than_its_copy_is_doubted() -> None:
    rig = Rig(main=StreamHead(1, 50, H[5]))
    rig.namer.doubt(rig.state, WHOLE, HEAD)
    rig.namer.doubt(rig.state, WHOLE, HEAD)
    rig.answer(PARTED)
    assert rig.parted == [(PEER, WHOLE, Place(epoch=1, next_seq=30, hash=H[9]), H[3])]
    rig.namer.doubt(rig.state, WHOLE, HEAD)
    assert rig.core.take() == [], "that is known"
    less = StreamHead(1, 20, H[2])
    rig.namer.doubt(rig.state, WHOLE, less)
    rig.answer(at(less))
    assert len(rig.parted) == 1, "it lost its end, and that is all"


def test_writers_that_have_less_are_doubted_and_others_after_a_fork() -> None:
    rig = Rig(main=StreamHead(1, 50, H[5]))
    assert rig.namer.ours(rig.state, WHOLE, HEAD, 0) == WHOLE
    assert rig.core.take() == []
    rig.forks.found(WHOLE, Place(epoch=1, next_seq=50, hash=H[5]), H[6], PEER)
    rig.core.take()
    assert rig.namer.ours(rig.state, WHOLE, HEAD, 0) == WHOLE
    rig.state.aliases[WHOLE] = OURS
    rig.answer(PARTED)
    assert rig.found == [(WHOLE, HEAD)]
    writer = rig.core.peers[A] = PeerState(A, 0)
    assert Rig(main=StreamHead(1, 50, H[5])).namer.ours(writer, WHOLE, HEAD, 0) == WHOLE
    assert writer.doubted == {WHOLE: H[3]}


def replaced() -> PackedChunk:
    """What is held has a later epoch that begins before the place that is looked up."""
    return PackedChunk(
        stream=WHOLE, epoch=2, first_seq=14, prev_hash=H[1], next_seq=50, hash=H[5], last_at_ms=0, data=b"",
    )  # fmt: skip


def test_a_writer_whose_end_a_later_epoch_replaced_here_has_another_history() -> None:
    """An old snapshot that came back: it wrote where a later epoch had begun already, and perhaps never writes again."""
    rig = Rig(main=StreamHead(2, 50, H[5]))
    rig.namer.doubt(rig.state, WHOLE, HEAD)
    rig.answer(replaced())
    rig.answer(replaced())
    assert rig.parted == [(PEER, WHOLE, Place(epoch=1, next_seq=30, hash=b""), H[3])]


def test_a_writer_whose_end_became_a_branch_here_is_known_by_that() -> None:
    rig = Rig(main=StreamHead(2, 50, H[5]), b11111111=HEAD)
    rig.namer.doubt(rig.state, WHOLE, HEAD)
    rig.answer(replaced())
    assert rig.core.take() == []
    assert (rig.state.aliases, rig.found, rig.parted) == ({WHOLE: OURS}, [(WHOLE, HEAD)], [])
    behind = Rig(main=StreamHead(2, 50, H[5]), b11111111=StreamHead(1, 40, H[4]))
    behind.namer.doubt(behind.state, WHOLE, HEAD)
    behind.answer(replaced(), replaced(), at(HEAD))
    assert (behind.state.aliases, behind.found, behind.parted) == ({WHOLE: OURS}, [(WHOLE, HEAD)], [])
    gone = Rig(main=StreamHead(2, 50, H[5]))
    gone.namer.doubt(gone.state, WHOLE, HEAD)
    del gone.core.peers[PEER]
    gone.answer(replaced())
    assert gone.core.take() == []


def test_a_place_at_the_end_of_what_is_held_is_known_though_an_epoch_began_there() -> None:
    """A writer that claims an epoch and writes nothing is not taken for a second one again and again."""
    begun = StreamHead(3, 40, H[4])
    rig = Rig(main=StreamHead(2, 50, H[5]), b11111111=StreamHead(1, 40, H[4]))
    assert rig.namer.ours(rig.state, THEIRS, begun, 0) is None
    rig.answer(PARTED, NotThere(reason="nothing"))
    assert rig.found == [(THEIRS, begun)]
    assert rig.state.aliases == {THEIRS: OURS}
    beyond = Rig(main=StreamHead(2, 50, H[5]))
    assert beyond.namer.ours(beyond.state, THEIRS, StreamHead(2, 60, H[6]), 0) is None
    beyond.answer(NotThere(reason="nothing"))
    assert beyond.found == []


def test_two_branches_that_end_in_one_epoch_are_evidence_of_a_fork() -> None:
    rig = Rig(main=StreamHead(2, 50, H[5]), b11111111=StreamHead(1, 40, H[4]))
    replaced = PackedChunk(
        stream=WHOLE, epoch=2, first_seq=20, prev_hash=H[2], next_seq=50, hash=H[5], last_at_ms=0, data=b"",
    )  # fmt: skip
    rig.namer.ours(rig.state, THEIRS, HEAD, 0)
    rig.answer(replaced, PARTED)
    assert not rig.forks.proofs, "it may be what runs ahead of us"
    rig.namer.tick(UNKNOWN_MS)
    rig.answer(replaced, PARTED, now_ms=UNKNOWN_MS)
    assert rig.found == [(THEIRS, HEAD)]
    (proof,) = rig.forks.proofs
    assert (proof.stream, proof.epoch, proof.next_seq) == (WHOLE, 1, 30)
    assert {proof.hash, proof.other_hash} == {H[3], H[9]}
    assert {proof.holder, proof.other_holder} == {"b" * 32, PEER}


def test_a_branch_that_a_later_epoch_replaced_is_no_evidence() -> None:
    rig = Rig(main=StreamHead(2, 50, H[5]))
    rig.namer.ours(rig.state, THEIRS, HEAD, 0)
    rig.answer(PARTED)
    rig.namer.tick(UNKNOWN_MS)
    rig.answer(PARTED, now_ms=UNKNOWN_MS)
    assert rig.found == [(THEIRS, HEAD)]
    assert not rig.forks.proofs


def own_rig() -> Rig:
    rig = Rig(main=StreamHead(3, 50, H[5]), b11111111=StreamHead(1, 40, H[4]))
    rig.core.held[WHOLE].is_own = True
    return rig


def test_a_branch_that_came_to_go_along_our_own_stream_is_that_stream() -> None:
    rig = own_rig()
    rig.state.aliases[THEIRS] = OURS
    rig.state.heads[WHOLE] = HEAD
    assert rig.namer.ours(rig.state, THEIRS, StreamHead(3, 45, H[6]), 0) == OURS
    assert rig.namer.ours(rig.state, THEIRS, StreamHead(3, 50, H[5]), 0) == WHOLE
    assert rig.state.aliases == {THEIRS: WHOLE}
    rig.namer.tick(0)
    assert [read.place.hash for read in rig.core.take() if isinstance(read, Read)] == [H[3]], (
        "what it has under our stream's own name is another history then"
    )


def test_a_copy_of_our_stream_that_does_not_go_on_behind_a_later_epoch_is_of_another_body() -> None:
    rig = own_rig()
    rig.state.heads[WHOLE] = HEAD
    place = Place(epoch=1, next_seq=30, hash=H[3])
    rig.namer.is_replaced("d" * 32, WHOLE, place, 0)
    rig.namer.is_replaced(PEER, WHOLE, Place(epoch=1, next_seq=29, hash=H[2]), 0)
    rig.namer.tick(UNKNOWN_MS)
    assert not rig.core.take(), "a peer that left, or has gone on"
    rig.namer.is_replaced(PEER, WHOLE, place, 0)
    rig.namer.tick(UNKNOWN_MS - 1)
    assert not rig.core.take(), "it may be about to go on with our epoch"
    rig.namer.tick(UNKNOWN_MS)
    rig.answer(PARTED, PARTED, now_ms=UNKNOWN_MS)
    assert [(holder, stream, theirs) for holder, stream, _, theirs in rig.parted] == [(PEER, WHOLE, H[3])]


def test_a_copy_of_our_stream_that_goes_on_in_time_is_ours() -> None:
    rig = own_rig()
    rig.state.heads[WHOLE] = HEAD
    rig.namer.is_replaced(PEER, WHOLE, Place(epoch=1, next_seq=30, hash=H[3]), 0)
    assert rig.namer.ours(rig.state, WHOLE, StreamHead(3, 45, H[6]), 1) == WHOLE
    rig.namer.tick(UNKNOWN_MS)
    assert not rig.core.take()
    assert not rig.parted
