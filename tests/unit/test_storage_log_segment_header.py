"""The header page of a segment: two copies, either of which will do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.log.segment_header import (
    COPY_OFFSETS,
    SegmentHeader,
    decode_segment_header,
    encode_segment_header,
)

HASHES = st.binary(min_size=32, max_size=32)
HEADERS = st.builds(
    SegmentHeader,
    node_id=st.binary(min_size=16, max_size=16),
    stream=st.text(st.characters(codec="utf-8"), min_size=1, max_size=16),
    epoch=st.integers(1, 2**32 - 1),
    first_seq=st.integers(1, 2**63),
    salt=st.integers(0, 2**32 - 1),
    continues_hash=HASHES,
    created_at_ms=st.integers(0, 2**63),
    sealed_epoch=st.integers(0, 2**32 - 1),
    sealed_first_seq=st.integers(0, 2**63),
    sealed_root=HASHES,
)


@settings(deadline=None)
@given(header=HEADERS, bit=st.integers(0, 4096 * 8 - 1))
def test_round_trip_with_any_bit_flipped(header: SegmentHeader, bit: int) -> None:
    page = bytearray(encode_segment_header(header))
    assert len(page) == 4096
    assert decode_segment_header(bytes(page)) == header
    assert header.continues_seq == header.first_seq - 1
    page[bit // 8] ^= 1 << bit % 8
    assert decode_segment_header(bytes(page)) == header


@settings(deadline=None)
@given(header=HEADERS)
def test_both_copies_gone_is_no_header(header: SegmentHeader) -> None:
    page = bytearray(encode_segment_header(header))
    for offset in COPY_OFFSETS:
        page[offset + 20] ^= 1
    assert decode_segment_header(bytes(page)) is None
    assert decode_segment_header(b"") is None
