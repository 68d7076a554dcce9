"""Frames: what is encoded is found again, and nothing else passes for a frame."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.limits import FRAME_BYTES_HARD_MAX
from storage.log.frame import (
    FLAG_ZSTD,
    HEADER_BYTES,
    FrameHeader,
    check_frame,
    compute_hash,
    decode_header,
    encode_frame,
    frame_bytes,
)

SALT = 0x1234ABCD
HEADER = FrameHeader(0, 3, 5, 5, 2, 77, 1000, 1001, b"p" * 32)


def encoded(header: FrameHeader = HEADER, body: bytes = b"hello", salt: int = SALT) -> bytes:
    return b"".join(encode_frame(header, body, salt)[0])


@settings(deadline=None)
@given(
    body=st.binary(min_size=1, max_size=9000),
    salt=st.integers(0, 2**32 - 1),
    seq=st.integers(1, 2**63),
    count=st.integers(1, 65535),
    epoch=st.integers(1, 2**32 - 1),
    times=st.tuples(st.integers(0, 2**63), st.integers(0, 2**63)),
    prev_hash=st.binary(min_size=32, max_size=32),
)
def test_round_trip(
    body: bytes, salt: int, seq: int, count: int, epoch: int, times: tuple[int, int], prev_hash: bytes
) -> None:
    header = FrameHeader(0, epoch, len(body), len(body), count, seq, *times, prev_hash)
    buffers, frame_hash = encode_frame(header, body, salt)
    data = b"".join(buffers)
    assert len(data) == frame_bytes(len(body)) == header.frame_bytes
    assert len(data) % 4096 == 0
    assert buffers[1] is body, "the body was copied"
    assert decode_header(data[:HEADER_BYTES], salt) == header
    assert header.next_seq == seq + count
    for seed in (salt, None):
        assert check_frame(header, data, body, seed) == frame_hash
    assert compute_hash(data, body) == frame_hash


@settings(deadline=None)
@given(bit=st.integers(0, (96 + 5 + 40) * 8 - 1))
def test_any_flipped_bit_is_noticed(bit: int) -> None:
    data = bytearray(encoded())
    data[bit // 8] ^= 1 << bit % 8
    header = decode_header(bytes(data[:HEADER_BYTES]), SALT)
    if not isinstance(header, str):
        header = check_frame(header, bytes(data), bytes(data[96:101]), SALT)  # type: ignore[assignment]
    assert isinstance(header, str)


def test_bytes_of_another_salt_are_no_frame() -> None:
    assert decode_header(encoded()[:HEADER_BYTES], SALT ^ 1) == "the header's checksum is wrong"


def test_the_hash_does_not_depend_on_the_salt() -> None:
    assert encode_frame(HEADER, b"hello", 1)[1] == encode_frame(HEADER, b"hello", 2)[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"flags": 4}, "not known"),
        ({"stored_bytes": 0}, "length"),
        ({"stored_bytes": FRAME_BYTES_HARD_MAX + 1}, "length"),
        ({"raw_bytes": FRAME_BYTES_HARD_MAX + 1, "flags": FLAG_ZSTD}, "length"),
        ({"raw_bytes": 6}, "counts"),
        ({"record_count": 0}, "counts"),
        ({"record_count": 65536}, "counts"),
    ],
)
def test_headers_out_of_bounds_are_refused_though_their_checksum_holds(
    change: dict[str, int], reason: str
) -> None:
    found = decode_header(encoded(replace(HEADER, **change))[:HEADER_BYTES], SALT)  # type: ignore[arg-type]
    assert isinstance(found, str)
    assert reason in found


def test_what_is_cut_off_says_so() -> None:
    data = encoded()
    assert decode_header(data[:95], SALT) == "the file ends within a frame's header"
    assert check_frame(HEADER, data[:140], b"hello", SALT) == "the file ends within a frame"
    assert decode_header(bytes(96), SALT) == "no frame begins here"


def test_without_a_salt_the_hash_is_the_proof() -> None:
    data = bytearray(encoded())
    data[96] ^= 1
    assert check_frame(HEADER, bytes(data), bytes(data[96:101]), None) == "the frame's hash is wrong"
    data[96] ^= 1
    data[137] ^= 1
    assert check_frame(HEADER, bytes(data), b"hello", None) == "the frame's two lengths differ"
