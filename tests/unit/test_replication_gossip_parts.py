"""Chunks in parts: whole in whatever order they come, and nothing that doesn't fit is kept."""

from __future__ import annotations

import random
from dataclasses import replace

import msgspec
import pytest

from appliance.core.limits_replication import PART_BYTES_MAX, PART_BYTES_MIN
from replication.effects import PackedChunk
from replication.gossip.flow import BEGIN_BYTES, Window
from replication.gossip.parts import Assembly, cut
from storage.replicas.streams import StreamId

CHUNK = PackedChunk(
    stream=StreamId("0f" * 16, "telemetry"),
    epoch=1,
    first_seq=1,
    prev_hash=b"p" * 32,
    next_seq=9,
    hash=b"h" * 32,
    last_at_ms=1700,
    data=random.Random(1).randbytes(3 * PART_BYTES_MAX + 5),
)


@pytest.mark.parametrize("seed", range(4))
def test_parts_in_any_order_and_twice_are_the_chunk(seed: int) -> None:
    parts = list(cut(CHUNK, 7, PART_BYTES_MAX))
    assert len(parts) == 4
    random.Random(seed).shuffle(parts)
    assembly = Assembly(parts[0], 0)
    for part in parts[:-1]:
        assert assembly.add(part, 1) is None
        assert assembly.add(part, 1) is None
    assert assembly.add(parts[-1], 1) == CHUNK
    assert assembly.got_bytes == len(CHUNK.data)


def test_what_does_not_fit_is_not_kept() -> None:
    first, second, *_ = cut(CHUNK, 7, PART_BYTES_MAX)
    assembly = Assembly(first, 0)
    for bad in (
        msgspec.structs.replace(second, offset=1),
        msgspec.structs.replace(second, data=b"short"),
        msgspec.structs.replace(second, offset=4 * PART_BYTES_MAX),
    ):
        assert assembly.add(bad, 1) is None
    assert assembly.got_bytes == 0
    assert assembly.is_of(second)
    for name, value in (("hash", b"x" * 32), ("request", 8), ("total_bytes", 9), ("first_seq", 2)):
        assert not assembly.is_of(msgspec.structs.replace(second, **{name: value}))


def test_parts_may_be_of_any_size_and_a_chunk_that_comes_again_in_another_begins_anew() -> None:
    large, small = list(cut(CHUNK, 7, PART_BYTES_MAX)), list(cut(CHUNK, 7, PART_BYTES_MIN))
    assert len(small) == 46
    assembly = Assembly(large[0], 0)
    for part in (large[3], large[1], *small[:-2]):
        assert assembly.add(part, 1) is None
    assert assembly.add(small[-2], 1) == CHUNK, "the last part is the same in both"
    assembly = Assembly(small[0], 0)
    assert assembly.add(small[0], 1) is None
    assert assembly.add(large[3], 1) is None, "its last part may come before any other of its size"
    assert [assembly.add(part, 1) for part in large[:3]] == [None, None, CHUNK]
    (whole,) = cut(CHUNK, 7, len(CHUNK.data) // PART_BYTES_MIN * PART_BYTES_MIN + PART_BYTES_MIN)
    assert assembly.add(whole, 1) == CHUNK


def test_a_last_part_of_another_size_is_dropped() -> None:
    data = bytes(2 * PART_BYTES_MAX - PART_BYTES_MIN)
    chunk = replace(CHUNK, data=data)
    first, last = cut(chunk, 7, PART_BYTES_MAX)
    assembly = Assembly(first, 0)
    assert assembly.add(last, 1) is None
    parts = list(cut(chunk, 7, 2 * PART_BYTES_MIN))
    assert [assembly.add(part, 1) for part in parts[:-1]] == [None] * 14
    assert assembly.add(last, 1) is None, "it overlaps them"
    assert assembly.add(parts[-1], 1) == chunk


def test_a_window_grows_while_answers_come_soon_and_halves_when_they_are_late() -> None:
    window = Window()
    for _ in range(200):
        while window.is_open:
            window.begin(64 * 1024)
        window.end(64 * 1024, 50)
    assert window.bytes_max == 4 * 1024 * 1024
    assert window.chunk_bytes == 1024 * 1024
    for _ in range(20):
        window.end(64 * 1024, 9_000)
    assert window.bytes_max == window.chunk_bytes == 64 * 1024
    assert Window().bytes_max == BEGIN_BYTES


def test_a_window_that_is_hardly_used_does_not_grow() -> None:
    window = Window()
    for _ in range(100):
        window.begin(1000)
        window.end(1000, 5)
    assert window.bytes_max == BEGIN_BYTES
    window.give_up(0)
    assert window.bytes_max == BEGIN_BYTES // 2
