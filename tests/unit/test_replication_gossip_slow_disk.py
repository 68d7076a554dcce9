"""A copy whose disk is slower than the link: what it has no room for is pushed again as soon as there is room."""

from __future__ import annotations

import pytest

from replication.gossip import pulling
from replication.gossip.flow import Window
from tests.gossip_kit import World, fleet

A, B = (f"{n:032x}" for n in (1, 2))


def test_what_was_dropped_is_pushed_again_without_waiting_for_anybodys_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulling, "WAITING_CHUNK_BYTES_MAX", 100_000)
    world = World(1, fleet(2))
    world.link(A, B)
    world.run(200)
    world.nodes[B].append_ms = (100, 200)
    for _ in range(60):
        world.write(A, body=bytes(20_000))
        world.run(5)
    began_ms = world.now_ms
    assert world.run(60_000, until=world.has_converged)
    assert world.nodes[B].machine.statistics(world.now_ms).dropped_total > 0
    assert world.now_ms - began_ms < pulling.PUSHED_LATELY_MS, "somebody waited until the copy began to pull"


def test_nothing_is_sent_beyond_a_window() -> None:
    window = Window()
    while window.is_open:
        window.begin(window.chunk_bytes)
    assert 0 < window.under_way_bytes <= window.bytes_max
