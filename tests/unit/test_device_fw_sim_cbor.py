"""CBOR for files: what goes in comes out, any bytes give a value or CborError, and the appliance's reader understands it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.management.cbor import decode_cbor
from device_fw_sim.cbor import CborError, decode, encode

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=300)
    | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_round_trip(value: Any) -> None:
    try:
        data = encode(value)
        found = decode(data)
    except CborError as error:
        assert "too deep" in error.message
        return
    assert found == value


@given(st.binary(max_size=64))
def test_any_bytes_give_a_value_or_an_error(data: bytes) -> None:
    try:
        value = decode(data)
    except CborError:
        return
    assert decode(encode(value)) == value


def test_the_appliance_reads_it() -> None:
    message = {"c": "t", "s": 1, "f": 0, "l": 16_384, "o": 70_000, "n": 300, "x": -5, "e": True}
    assert decode_cbor(encode(message)) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x01\x01",
        b"\xa1\x01\x01",
        b"\xff",
        b"\x1c",
        b"\x61\xff",
        b"\xc0\x01",
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(CborError):
        decode(data)


def test_what_cannot_be_said() -> None:
    with pytest.raises(TypeError):
        encode(1.5)
    with pytest.raises(TypeError):
        encode(2**64)
