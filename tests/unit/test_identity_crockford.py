"""Bytes as letters and digits that people can type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from appliance.identity import crockford


@given(st.binary(max_size=100))
def test_a_round_trip(data: bytes) -> None:
    assert crockford.decode(crockford.encode(data)) == data


def test_known_values() -> None:
    assert crockford.encode(b"") == ""
    assert crockford.encode(b"\xff") == "ZW"
    assert crockford.encode(b"\x00\x01\x02\x03\x04") == "000G40R4"


def test_what_people_do_to_it_does_not_matter() -> None:
    code = crockford.encode(bytes([0, 1, 8, 66, 16, 132]))
    assert crockford.decode(f" {code[:4].lower()}-{code[4:]} ") == bytes([0, 1, 8, 66, 16, 132])
    assert crockford.normal("o0iIlL1-Z z") == "0011111ZZ"


@pytest.mark.parametrize("text", ["U", "AÄ", "!!"])
def test_other_characters_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        crockford.decode(text)
    assert refused.value.code == "typing_error"


@pytest.mark.parametrize("text", ["Z", "ZZ", "ZWZ"])
def test_a_code_that_is_cut_off_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cut off"):
        crockford.decode(text)
