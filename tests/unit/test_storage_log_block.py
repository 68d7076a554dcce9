"""Blocks: decompressed within bounds, decoded on demand."""

from __future__ import annotations

import pytest
import zstandard

from appliance.core.errors import LogDamaged
from storage.log.block import make_block
from storage.log.frame import FLAG_ZSTD, FrameHeader


def header(raw_bytes: int, flags: int = FLAG_ZSTD) -> FrameHeader:
    return FrameHeader(flags, 1, 10, raw_bytes, 3, 7, 1, 2, bytes(32))


def test_a_compressed_body_is_given_out_whole() -> None:
    block = make_block(header(5000), b"h" * 32, zstandard.compress(b"z" * 5000))
    assert (block.body, block.next_seq, block.hash) == (b"z" * 5000, 10, b"h" * 32)


@pytest.mark.parametrize(
    ("raw_bytes", "flags", "stored"),
    [
        (5000, FLAG_ZSTD, b"no zstd frame"),
        (4999, FLAG_ZSTD, zstandard.compress(b"z" * 5000)),
        (5001, FLAG_ZSTD, zstandard.compress(b"z" * 5000)),
        (9, 0, b"0123456789"),
    ],
)
def test_a_body_of_another_length_is_damage_of_that_range(raw_bytes: int, flags: int, stored: bytes) -> None:
    with pytest.raises(LogDamaged, match="records 7 to 9") as caught:
        make_block(header(raw_bytes, flags), bytes(32), stored)
    assert (caught.value.first_seq, caught.value.next_seq) == (7, 10)


def test_a_body_that_is_no_columns_is_damage() -> None:
    with pytest.raises(LogDamaged):
        make_block(header(1, 0), bytes(32), b"x").columns()
