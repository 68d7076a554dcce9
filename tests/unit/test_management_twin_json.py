"""JSON as twins and commands take it: what is refused, and why."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.errors import UsageError
from appliance.management.twin_json import check_text, decode, depth, encode, leaf_count, text_of


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "well-formed"),
        (b"{", "well-formed"),
        (b"{} x", "well-formed"),
        (b"\xff", "UTF-8 (byte 0)"),
        (b'{"a": NaN}', "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "-Infinity"),
        (b"1e400", "double"),
        (b"9223372036854775808", "64 bits"),
        (b"-9223372036854775809", "64 bits"),
        (b"1" * 5_000, "64 bits"),
        (b'{"a": {"b": 1, "b": 1}}', "“b” stands twice"),
        (b"[" * 17 + b"]" * 17, "nested"),
        (b"[" * 100_000, "nested"),
    ],
)
def test_what_is_no_json_here_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        decode(data)
    assert refused.value.code == "json_invalid"
    assert why in refused.value.message


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b" null ", None),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"-0.5e3", -500.0),
        (b'{"a": [true, "\\u0000\xc3\xa4"]}', {"a": [True, "\0ä"]}),
        (b"[" * 16 + b"]" * 16, None),
    ],
)
def test_what_is_json_is_read(data: bytes, value: Any) -> None:
    decoded = decode(data)
    assert depth(decoded) == 16 if value is None and data != b" null " else decoded == value


def test_half_a_surrogate_pair_is_no_text() -> None:
    value = decode(b'{"a": "\\ud800"}')
    with pytest.raises(UsageError) as refused:
        check_text(value)
    assert "surrogate" in refused.value.message
    check_text(decode(b'"\\ud83d\\ude00"'))
    with pytest.raises(UsageError) as twice:
        decode(b'{"\\ud800": 1, "\\ud800": 2}')
    assert "“?”" in twice.value.message


def test_encoding_is_compact_and_keeps_the_order() -> None:
    assert encode({"b": 1.5, "a": [None, "ä"]}) == '{"b":1.5,"a":[null,"ä"]}'.encode()
    assert text_of(True) == "true"


def test_levels_and_values_are_counted() -> None:
    samples: list[Any] = [1, {}, [1, 2], {"a": [{}, 3], "b": 4}]
    assert [depth(each) for each in samples] == [0, 1, 1, 3]
    assert [leaf_count(each) for each in samples] == [1, 1, 2, 3]
