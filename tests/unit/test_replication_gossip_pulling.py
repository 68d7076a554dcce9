"""Answers that get lost: those that were to follow them begin nothing."""

from __future__ import annotations

import pytest

from replication.effects import Send
from replication.gossip.pulling import BEGIN_WAIT_MS
from replication.messages import ChunkPart
from tests.gossip_kit import MemoryNode, World, fleet

A, B, C = (f"{n:032x}" for n in (1, 2, 3))


def test_an_empty_copy_does_not_begin_with_the_second_answer_when_the_first_got_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(1, fleet(2))
    for _ in range(60):
        world.write(A, body=bytes(20_000))
    carry = world._send
    lost: list[ChunkPart] = []

    def lose(node: MemoryNode, effect: Send) -> None:
        """Whatever is pushed, and once the end of the first answer."""
        part, is_lost = effect.message, False
        if isinstance(part, ChunkPart):
            is_end = part.first_seq == 1 and part.offset > 0 and not lost
            is_lost = not part.request or is_end
            if part.request and is_end:
                lost.append(part)
        world.weather.loss = float(is_lost)
        carry(node, effect)

    monkeypatch.setattr(world, "_send", lose)
    world.link(A, B)
    own = world.nodes[A].own
    copy = world.nodes[B].logs
    assert world.run(120_000, until=lambda: own in copy and bool(copy[own].frames))
    assert lost, "the first answer came in one part, so there is nothing to lose of it"
    assert copy[own].frames[0].first_seq == 1
    assert world.run(120_000, until=world.has_converged)


def a_holder_of_the_end() -> World:
    """B has only the newest of what A writes; C has nothing, and no link yet."""
    world = World(1, fleet(3))
    for _ in range(20):
        world.write(A)
    world.link(A, B)
    own, copies = world.nodes[A].own, world.nodes[B].logs
    assert world.run(60_000, until=lambda: own in copies and len(copies[own].frames) == 20)
    copies[own].frames = copies[own].frames[12:]
    world.give(B, world.nodes[B].machine.holds(own, copies[own].head(), world.now_ms))
    return world


def test_a_copy_is_not_begun_in_the_middle_while_somebody_with_the_beginning_may_be_about_to_connect() -> (
    None
):
    world = a_holder_of_the_end()
    own, copies = world.nodes[A].own, world.nodes[C].logs
    world.link(B, C)
    world.run(BEGIN_WAIT_MS - 1_000)
    assert own not in copies
    world.link(A, C)
    assert world.run(60_000, until=lambda: own in copies and len(copies[own].frames) == 20)


def test_where_nobody_with_the_beginning_comes_a_copy_begins_with_what_there_is() -> None:
    world = a_holder_of_the_end()
    own, copies = world.nodes[A].own, world.nodes[C].logs
    world.cut(A, B)
    world.link(B, C)
    assert not world.run(BEGIN_WAIT_MS - 1, until=lambda: own in copies)
    assert world.run(10_000, until=lambda: own in copies and len(copies[own].frames) == 8)
