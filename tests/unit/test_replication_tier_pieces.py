"""Pieces of a stream in a tier: which follows which, and under which name a region holds them."""

from __future__ import annotations

from dataclasses import replace

from replication.tier.pieces import PieceName, tier_holder
from storage.replicas.streams import StreamId, is_node_id

STREAM = StreamId("0f" * 16, "telemetry")
FIRST = PieceName(
    stream=STREAM,
    epoch=2,
    first_seq=1,
    prev_hash=b"g" * 32,
    next_seq=9,
    hash=b"a" * 32,
    size_bytes=300,
    last_at_ms=1700,
)
NEXT = replace(FIRST, first_seq=9, prev_hash=b"a" * 32, next_seq=12, hash=b"b" * 32)


def test_a_piece_follows_only_the_one_that_ends_where_it_begins_in_the_same_history() -> None:
    assert NEXT.follows(FIRST)
    assert not FIRST.follows(NEXT)
    assert not replace(NEXT, first_seq=10).follows(FIRST)
    assert not replace(NEXT, prev_hash=b"c" * 32).follows(FIRST)
    assert not replace(NEXT, epoch=3).follows(FIRST)
    assert not replace(NEXT, stream=StreamId("0f" * 16, "catalog")).follows(FIRST)


def test_a_piece_says_how_far_the_tier_has_the_stream() -> None:
    assert NEXT.head.place == (2, 12)
    assert (NEXT.head.hash, NEXT.head.last_at_ms) == (b"b" * 32, 1700)


def test_a_region_is_a_holder_whose_id_is_the_same_everywhere_and_no_other_regions() -> None:
    assert tier_holder("eu-1") == tier_holder("eu-1") != tier_holder("eu-2")
    assert is_node_id(tier_holder("eu-1"))
