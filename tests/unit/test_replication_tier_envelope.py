"""Pieces as they lie in a tier: opened only with the site's key, only whole, only under their own name, and never a bomb."""

from __future__ import annotations

import os
from dataclasses import replace

import msgspec
import pytest
import zstandard

from appliance.core.errors import NotFound
from appliance.core.limits_replication import TIER_PIECE_UNPACKED_BYTES_MAX
from replication.tier.envelope import (
    BRANCH_BYTES,
    HEAD,
    HEAD_BYTES_MAX,
    MAGIC,
    NONCE_BYTES,
    PieceDamaged,
    name_of_piece,
    open_piece,
    seal_piece,
)
from replication.tier.pieces import Piece
from storage.replicas.streams import Chunk, StreamId

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
STREAM = StreamId("0f" * 16, "telemetry")
CHUNK = Chunk(STREAM, 3, 1, bytes(4096), 1, b"p" * 32, 9, b"h" * 32, 1700, b"secret frame" + bytes(4084))


def key_of(generation: int) -> bytes:
    return {1: KEY, 2: OTHER_KEY}[generation]


def sealed(chunk: Chunk, key: bytes = KEY, generation: int = 1) -> Piece:
    return seal_piece(chunk, key, generation, os.urandom(NONCE_BYTES))


def test_nothing_is_sealed_without_a_nonce() -> None:
    for nonce in (b"", bytes(NONCE_BYTES), b"short"):
        with pytest.raises(ValueError, match="nonce"):
            seal_piece(CHUNK, KEY, 1, nonce)


def test_a_piece_opens_with_its_generations_key_and_tells_nothing_without() -> None:
    piece = sealed(CHUNK)
    assert open_piece(piece.data, key_of, wanted=piece.name) == CHUNK
    assert b"secret" not in piece.data
    assert len(piece.data) == piece.name.size_bytes < 500
    assert open_piece(sealed(CHUNK, OTHER_KEY, 2).data, key_of) == CHUNK


def test_the_same_chunk_sealed_twice_looks_different() -> None:
    assert sealed(CHUNK).data != sealed(CHUNK).data


def test_a_piece_that_is_not_to_be_sealed_opens_without_a_key() -> None:
    piece = seal_piece(CHUNK, None, 0)
    assert open_piece(piece.data, key_of, wanted=piece.name) == CHUNK


def test_its_head_alone_says_which_it_is() -> None:
    piece = sealed(msgspec.structs.replace(CHUNK, stream=StreamId("0f" * 16, "telemetry", "01234567")))
    assert name_of_piece(piece.data[:HEAD_BYTES_MAX], len(piece.data)) == piece.name
    assert piece.name.stream.branch == "01234567"


@pytest.mark.parametrize("at", [5, 10, 20, 40, 70, 110, 125, 140, -1])
def test_no_bit_of_it_can_be_changed(at: int) -> None:
    data = bytearray(sealed(CHUNK).data)
    data[at] ^= 1
    with pytest.raises((PieceDamaged, KeyError)):
        open_piece(bytes(data), key_of)


def test_another_sites_key_opens_nothing() -> None:
    with pytest.raises(PieceDamaged, match="another site's key"):
        open_piece(sealed(CHUNK, OTHER_KEY, 1).data, key_of)


def test_a_key_that_is_not_had_is_said() -> None:
    def none(generation: int) -> bytes:
        raise NotFound(f"no key {generation}", hint="", code="tier_key_unknown")

    with pytest.raises(NotFound, match="no key 1"):
        open_piece(sealed(CHUNK).data, none)


def test_another_piece_than_was_asked_for_is_refused() -> None:
    piece = sealed(CHUNK)
    with pytest.raises(PieceDamaged, match="another one"):
        open_piece(piece.data, key_of, wanted=replace(piece.name, first_seq=2))


def unsealed(content: bytes, chunk: Chunk = CHUNK) -> bytes:
    """A piece without a seal and with any content, as somebody with access to the tier may put it there."""
    whole = seal_piece(chunk, None, 0).data
    return whole[: HEAD.size + len("telemetry") + BRANCH_BYTES + NONCE_BYTES] + content


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no zstd", "unpacked"),
        (zstandard.ZstdCompressor().compress(b"no msgpack"), "unpacked"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(b"x"), "size"),
        (zstandard.ZstdCompressor().compress(bytes(TIER_PIECE_UNPACKED_BYTES_MAX + 1)), "too large"),
        (
            zstandard.ZstdCompressor().compress(
                msgspec.msgpack.encode(msgspec.structs.replace(CHUNK, next_seq=10))
            ),
            "another piece",
        ),
    ],
)
def test_content_that_is_none_is_refused_before_it_takes_memory(content: bytes, says: str) -> None:
    with pytest.raises(PieceDamaged, match=says):
        open_piece(unsealed(content), key_of)


def with_flags(flags: int) -> bytes:
    data = bytearray(seal_piece(CHUNK, None, 0).data)
    data[len(MAGIC)] = flags
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HPT1",
        b"HPT2" + sealed(CHUNK).data[4:],
        sealed(CHUNK).data[: HEAD.size],
        with_flags(2),
        unsealed(b"").replace(b"telemetry", b"telemetrx"),
        unsealed(
            b"", msgspec.structs.replace(CHUNK, stream=StreamId("0f" * 16, "telemetry", "01234567"))
        ).replace(b"01234567", b"0123456g"),
    ],
)
def test_what_is_no_piece_is_refused(data: bytes) -> None:
    with pytest.raises(PieceDamaged):
        name_of_piece(data)
