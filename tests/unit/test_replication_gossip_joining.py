"""A branch begins with the segment in which two histories part."""

from __future__ import annotations

import random

from replication.effects import NotThere, PackedChunk, Place, Read
from replication.gossip.forks import Forks
from replication.gossip.joining import Joiner
from replication.gossip.state import Core, Held
from storage.replicas.streams import StreamHead, StreamId

A = "a" * 32
WHOLE = StreamId(A, "telemetry")
BRANCH = StreamId(A, "telemetry", "11111111")
H = [bytes([number]) * 32 for number in range(10)]


def made(held: StreamHead | None = None) -> tuple[Core, Forks, Joiner]:
    core = Core("b" * 32, random.Random(1))
    forks = Forks(core)
    if held is not None:
        core.held[WHOLE] = Held(WHOLE, held, is_own=False)
    return core, forks, Joiner(core, forks)


def chunk(stream: StreamId, first_seq: int, prev_hash: bytes) -> PackedChunk:
    return PackedChunk(
        stream=stream, epoch=1, first_seq=first_seq, prev_hash=prev_hash, next_seq=first_seq + 5,
        hash=H[9], last_at_ms=0, data=b"",
    )  # fmt: skip


def looked_up(core: Core, joiner: Joiner, asked: PackedChunk, found: PackedChunk | NotThere) -> bool:
    assert joiner.look_up(asked, "peer", 7)
    (read,) = core.take()
    assert isinstance(read, Read)
    assert read.stream == WHOLE
    assert read.place == Place(epoch=1, next_seq=asked.first_seq, hash=asked.prev_hash)
    assert joiner.is_reading(read.number)
    back, peer, request, is_joint = joiner.read(read, found)
    assert (back, peer, request) == (asked, "peer", 7)
    return is_joint


def test_it_may_begin_where_what_it_goes_on_from_is_held() -> None:
    core, _, joiner = made(StreamHead(1, 50, H[5]))
    asked = chunk(BRANCH, 20, H[2])
    assert looked_up(core, joiner, asked, chunk(WHOLE, 20, H[2]))
    assert not looked_up(core, joiner, asked, NotThere(reason="parted", hash=H[3]))
    assert not looked_up(core, joiner, asked, chunk(WHOLE, 10, H[1])), "a later epoch began before it"
    assert looked_up(core, joiner, asked, NotThere(reason="expired"))
    assert not looked_up(core, joiner, asked, NotThere(reason="nothing")), "our copy ends before"
    assert looked_up(core, joiner, chunk(BRANCH, 50, H[5]), NotThere(reason="nothing")), "it ends there"
    assert looked_up(core, joiner, chunk(BRANCH, 1, H[0]), NotThere(reason="parted")), "the very beginning"


def test_with_nothing_of_the_stream_there_is_nothing_to_join() -> None:
    core, _, joiner = made()
    assert looked_up(core, joiner, chunk(BRANCH, 20, H[2]), NotThere(reason="nothing"))


def test_it_goes_back_by_segments_and_a_peer_that_leads_nowhere_is_left() -> None:
    _, forks, joiner = made()
    place = Place(epoch=1, next_seq=40, hash=H[4])
    branch = forks.found(WHOLE, place, b"", A, Place(epoch=1, next_seq=60, hash=H[6]))
    assert branch is not None
    assert branch.branch == H[6].hex()[:8], "no frame of it ends there: it is named by one that was seen"
    assert joiner.go_back(chunk(branch, 30, H[3]))
    assert forks.branch_place(branch) == Place(epoch=1, next_seq=30, hash=H[3])
    assert not joiner.go_back(chunk(branch, 30, H[3]))
    assert not joiner.go_back(chunk(BRANCH, 1, H[0])), "of a branch that nobody told of"
