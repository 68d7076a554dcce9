"""Words that messages are made of: their order, and what is refused when they are decoded."""

from __future__ import annotations

import msgspec
import pytest

from storage.replicas.streams import Chunk, StreamHead, StreamId, is_node_id

NODE = "0f" * 16
HASH = b"h" * 32
STREAM = StreamId(NODE, "telemetry")


def test_a_stream_is_a_key_and_says_what_it_is() -> None:
    assert {STREAM: 1}[StreamId(NODE, "telemetry")] == 1
    assert str(STREAM) == f"{NODE}/telemetry"
    assert StreamId(NODE, "catalog") < STREAM


def test_the_second_history_after_a_fork_is_a_stream_of_its_own() -> None:
    branch = StreamId(NODE, "telemetry", "00ff00ff")
    assert branch != STREAM
    assert str(branch) == f"{NODE}/telemetry.fork-00ff00ff"


def test_heads_are_ordered_by_epoch_and_then_by_sequence() -> None:
    heads = [StreamHead(2, 5, HASH), StreamHead(1, 900, HASH), StreamHead(2, 4, HASH)]
    assert [head.place for head in sorted(heads, key=lambda head: head.place)] == [(1, 900), (2, 4), (2, 5)]


def test_the_same_place_with_another_hash_is_another_history() -> None:
    head = StreamHead(1, 9, HASH, 1)
    assert head.is_same_place(StreamHead(1, 9, HASH, 4))
    assert not head.is_same_place(StreamHead(1, 9, b"x" * 32, 1))
    assert not head.is_same_place(StreamHead(2, 9, HASH, 1))


def test_a_chunk_crosses_the_wire() -> None:
    chunk = Chunk(STREAM, 1, 1, bytes(4096), 1, HASH, 9, HASH, 1700, b"frames", None)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(chunk), type=Chunk) == chunk


@pytest.mark.parametrize(
    "bad",
    [
        [[NODE, "other"], 1, 1, None, 1, HASH, 9, HASH, 0, b""],
        [[NODE, "telemetry", "../other"], 1, 1, None, 1, HASH, 9, HASH, 0, b""],
        [[NODE, "telemetry", "\n"], 1, 1, None, 1, HASH, 9, HASH, 0, b""],
        [["..", "telemetry"], 1, 1, None, 1, HASH, 9, HASH, 0, b""],
        [[NODE + "0", "telemetry"], 1, 1, None, 1, HASH, 9, HASH, 0, b""],
        [[NODE, "telemetry"], 2**32, 1, None, 1, HASH, 9, HASH, 0, b""],
        [[NODE, "telemetry"], 1, -1, None, 1, HASH, 9, HASH, 0, b""],
        [[NODE, "telemetry"], 1, 1, b"short", 1, HASH, 9, HASH, 0, b""],
        [[NODE, "telemetry"], 1, 1, None, 1, b"short", 9, HASH, 0, b""],
        [[NODE, "telemetry"], 1, 1, None, 1, HASH, 9, HASH, 0, bytes(18 * 1024 * 1024)],
        [[NODE, "telemetry"], 1, 1, None, 1, HASH, 9, HASH, 0, b"", bytes(2 * 1024 * 1024)],
    ],
)
def test_what_is_out_of_bounds_is_refused(bad: list[object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(bad), type=Chunk)


def test_a_node_id_is_32_lower_case_digits() -> None:
    assert is_node_id(NODE)
    assert not is_node_id(NODE.upper())
    assert not is_node_id(NODE + "\n")
    assert not is_node_id("../" + NODE[3:])
