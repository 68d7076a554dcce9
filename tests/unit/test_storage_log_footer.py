"""The footer of a sealed segment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.log.footer import (
    TAIL_BYTES,
    Footer,
    IndexEntry,
    decode_footer,
    encode_footer,
    footer_bytes_of,
    root_hash,
    signed_bytes,
    with_signature,
)
from storage.log.segment_verify import is_signature_valid
from tests.storage_log_kit import KitSigner


def a_footer(leaves: int = 3, entries: int = 4) -> Footer:
    footer = Footer(
        epoch=1,
        first_seq=10,
        last_seq=99,
        first_time_ms=5,
        last_time_ms=6,
        sealed_at_ms=7,
        frames_end=8192,
        frame_count=4,
        record_count=90,
        stored_bytes=100,
        raw_bytes=200,
        last_hash=b"h" * 32,
        leaves=tuple(bytes([n % 256]) * 32 for n in range(leaves)),
        index=tuple(IndexEntry(10 + n, 4096 * n, n) for n in range(entries)),
    )
    signer = KitSigner()
    unsigned = with_signature(footer, signer.key_id, b"")
    return with_signature(footer, signer.key_id, signer.sign(signed_bytes(unsigned)))


@pytest.mark.parametrize(("leaves", "entries"), [(0, 0), (1, 1), (64, 256), (1024, 4096)])
def test_round_trip(leaves: int, entries: int) -> None:
    footer = a_footer(leaves, entries)
    data = encode_footer(footer)
    assert len(data) % 4096 == 0
    assert footer_bytes_of(data[-TAIL_BYTES:]) == len(data)
    assert decode_footer(data) == footer
    assert footer.root == root_hash(footer.leaves)
    assert is_signature_valid(footer)


@settings(deadline=None)
@given(bit=st.integers(0, len(encode_footer(a_footer())) * 8 - 1))
def test_any_flipped_bit_is_noticed(bit: int) -> None:
    data = bytearray(encode_footer(a_footer()))
    data[bit // 8] ^= 1 << bit % 8
    assert decode_footer(bytes(data)) is None


def test_a_changed_fact_breaks_the_signature() -> None:
    footer = a_footer()
    for changed in (
        replace(footer, record_count=91),
        replace(footer, leaves=footer.leaves[:-1]),
        replace(footer, index=footer.index[1:]),
        replace(footer, key_id=KitSigner(b"x" * 32).key_id),
        replace(footer, key_id=b"short"),
    ):
        assert not is_signature_valid(changed)


def test_what_ends_otherwise_is_no_footer() -> None:
    assert footer_bytes_of(b"") is None
    assert footer_bytes_of(bytes(16)) is None
    assert decode_footer(bytes(4096)) is None
