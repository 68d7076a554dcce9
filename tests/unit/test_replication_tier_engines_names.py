"""Paths of pieces sort as the pieces do, and say back what they were made of."""

from __future__ import annotations

import pytest

from replication.tier.engines.names import (
    check_key,
    epoch_of,
    epoch_path,
    piece_path,
    place_before,
    seq_of,
    stream_of,
)
from storage.replicas.streams import SEQUENCE_MAX, StreamId

STREAM = StreamId("0f" * 16, "telemetry")
FORK = StreamId("0f" * 16, "telemetry", "0123abcd")


def test_paths_sort_as_sequences_and_epochs_do() -> None:
    seqs = [0, 1, 9, 10, 99, 10**9, SEQUENCE_MAX]
    paths = [piece_path(STREAM, 7, seq) for seq in seqs]
    assert paths == sorted(paths)
    assert [seq_of(path) for path in paths] == seqs
    assert epoch_path(STREAM, 9) < epoch_path(STREAM, 10) < epoch_path(STREAM, 2**32 - 1)


@pytest.mark.parametrize("seq", [0, 1, 10, 2**40, SEQUENCE_MAX])
def test_the_place_before_a_piece_is_after_all_earlier_ones(seq: int) -> None:
    place = place_before(STREAM, 7, seq)
    assert place < piece_path(STREAM, 7, seq)
    assert place.startswith(epoch_path(STREAM, 7) + "/")
    assert seq == 0 or place > piece_path(STREAM, 7, seq - 1)
    assert seq_of(place) is None


def test_streams_and_epochs_are_told_from_folders() -> None:
    for stream in (STREAM, FORK):
        node_id, name = str(stream).split("/")
        assert stream_of(node_id, name) == stream
    for node_id, name in (
        ("0f", "telemetry"),
        ("0f" * 16, "other"),
        ("0f" * 16, "telemetry.fork-XY"),
        ("", ""),
    ):
        assert stream_of(node_id, name) is None
    assert epoch_of("0000000012") == 12
    assert [epoch_of(text) for text in ("12", "", "000000001x", "٠" * 10)] == [None] * 4
    assert [seq_of(text) for text in ("a/12", "", "a/" + "٠" * 20)] == [None] * 3


def test_keys_of_objects() -> None:
    check_key("claims/0f/1")
    check_key("x" * 200)
    for key in ("", "/", "a//b", "a/..", "x" * 201, "a\n"):
        with pytest.raises(AssertionError):
            check_key(key)
