"""CBOR that is written: the examples of RFC 8949 Appendix A, and what our own reader makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.management.cbor import decode_cbor
from appliance.management.cbor_writing import Writable, encode_cbor

VALUES: st.SearchStrategy[Writable] = st.recursive(
    st.integers(-(2**63), 2**64 - 1) | st.text(max_size=300) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=9), inner, max_size=30),
    max_leaves=30,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "00"), (23, "17"), (24, "1818"), (1000, "1903e8"), (1_000_000, "1a000f4240"), (2**64 - 1, "1bffffffffffffffff"),
        (-1, "20"), (-1000, "3903e7"), (b"\x01\x02", "420102"), ("IETF", "6449455446"), ("ü", "62c3bc"), ([], "80"),
        ([1, [2, 3]], "8201820203"), ({}, "a0"), ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    ],
)  # fmt: skip
def test_the_examples_of_the_standard(value: Writable, text: str) -> None:
    assert encode_cbor(value) == bytes.fromhex(text)


@given(VALUES)
def test_what_is_written_is_read_as_it_was(value: Writable) -> None:
    assert decode_cbor(encode_cbor(value), is_senml=True) == value
