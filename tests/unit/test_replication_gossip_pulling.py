"""Answers that get lost: those that were to follow them begin nothing."""

from __future__ import annotations

import pytest

from replication.effects import Send
from replication.messages import ChunkPart
from tests.gossip_kit import MemoryNode, World, fleet

A, B = (f"{n:032x}" for n in (1, 2))


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
