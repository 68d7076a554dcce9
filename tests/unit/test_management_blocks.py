"""Blocks of files: what a request asks for, what is refused and with which word, and how the answers read."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from appliance.core.limits_delivery import BLOCK_BITMAP_BYTES_MAX, BLOCK_BYTES_MAX, BLOCK_COUNT_MAX
from appliance.management import blocks
from appliance.management.blocks import Form, Get
from appliance.management.cbor import decode_cbor
from tests.cbor_kit import encode

SIZE = 100_000
GET = Get(token="t", block_bytes=4096, first=0, count=None, bitmap=None)


def get(**fields: Any) -> Get:
    return blocks.get_of({"l": 4096, **fields}, SIZE)


def refusal(**fields: Any) -> str:
    with pytest.raises(UsageError) as caught:
        get(**fields)
    return caught.value.code


def bitmap_of(*bits: int) -> bytes:
    return sum(1 << bit for bit in bits).to_bytes(max(bits) // 8 + 1, "little")


def test_a_streams_name_is_of_its_content() -> None:
    assert blocks.stream_id("ab" * 32) == "fw-" + "ab" * 16


def test_fields_in_both_forms() -> None:
    fields = {"c": "t1", "l": 4096, "o": 2, "n": 4}
    assert blocks.fields_of(json.dumps(fields).encode(), "json") == fields
    assert blocks.fields_of(encode({**fields, "b": b"\x05"}), "cbor") == {**fields, "b": b"\x05"}
    assert blocks.fields_of(b"", "json") == {}


@pytest.mark.parametrize(
    ("payload", "form", "code"),
    [
        (b"{", "json", "InvalidJson"),
        (b"[1]", "json", "InvalidJson"),
        (b"[" * 20_000, "json", "InvalidJson"),
        (b"\xff", "json", "InvalidJson"),
        (b"\xa1", "cbor", "InvalidCbor"),
        (b"\x80", "cbor", "InvalidCbor"),
    ],
)
def test_what_cant_be_read_is_refused(payload: bytes, form: Form, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        blocks.fields_of(payload, form)
    assert caught.value.code == code


def test_a_token_that_may_not_go_back_is_left_out() -> None:
    assert blocks.token_of({"c": "a" * 64}) == "a" * 64
    assert blocks.token_of({"c": "a" * 65}) == ""
    assert blocks.token_of({"c": 7}) == blocks.token_of({}) == ""


def test_what_is_left_out_has_its_default() -> None:
    assert get() == Get(token="", block_bytes=4096, first=0, count=None, bitmap=None)
    assert get(c="t", s=1, f=0, o=3, n=2, b="BQ==") == Get(
        token="t", block_bytes=4096, first=3, count=2, bitmap=b"\x05"
    )
    assert get(b=b"\x05").bitmap == b"\x05"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"s": 2}, "VersionMismatch"), ({"f": 1}, "ResourceNotFound"),
        ({"l": 255}, "BlockSizeOutOfBounds"), ({"l": BLOCK_BYTES_MAX + 1}, "BlockSizeOutOfBounds"), ({"l": None}, "InvalidRequest"),
        ({"l": True}, "InvalidRequest"), ({"l": "4096"}, "InvalidRequest"),
        ({"o": -1}, "OffsetOutOfBounds"), ({"o": 25}, "OffsetOutOfBounds"), ({"o": 10**40}, "OffsetOutOfBounds"),
        ({"n": 0}, "BlockCountLimitExceeded"), ({"n": BLOCK_COUNT_MAX + 1}, "BlockCountLimitExceeded"), ({"n": 1.5}, "InvalidRequest"),
        ({"b": "?"}, "InvalidRequest"), ({"b": 5}, "InvalidRequest"), ({"b": ""}, "InvalidRequest"), ({"b": "AAAA"}, "InvalidRequest"),
        ({"b": bytes(BLOCK_BITMAP_BYTES_MAX) + b"\x01"}, "BlockBitmapLimitExceeded"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_its_word(fields: dict[str, Any], code: str) -> None:
    assert refusal(**fields) == code


def test_blocks_in_a_row_end_with_the_file() -> None:
    assert blocks.wanted(get(o=22, n=9), SIZE) == [22, 23, 24]
    assert blocks.wanted(get(), SIZE) == list(range(25))
    assert blocks.wanted(get(), SIZE, bytes_max=3 * 4096 + 1) == [0, 1, 2]
    assert blocks.wanted(get(), SIZE, bytes_max=1) == [0]


def test_missing_blocks_count_from_the_offset_lowest_bit_first() -> None:
    assert blocks.wanted(get(o=2, b=bitmap_of(0, 3, 9, 11)), SIZE) == [2, 5, 11, 13]
    assert blocks.wanted(get(o=2, n=2, b=bitmap_of(0, 3, 9, 11)), SIZE) == [2, 5]
    assert blocks.wanted(get(o=20, b=b"\xff\xff"), SIZE) == [20, 21, 22, 23, 24]


def test_a_bitmap_of_blocks_that_are_not_there_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        blocks.wanted(get(o=20, b=bitmap_of(9)), SIZE)
    assert caught.value.code == "OffsetOutOfBounds"


def test_what_follows_each_other_is_read_at_once() -> None:
    assert blocks.runs([2, 3, 4, 7, 9, 10]) == [(2, 3), (7, 1), (9, 2)]
    assert blocks.runs([]) == []


@given(st.binary(min_size=1, max_size=600), st.text(max_size=9), st.integers(0, 2**40), st.integers(0, 2048))
def test_a_block_is_what_it_was(data: bytes, token: str, number: int, to_come: int) -> None:
    asked = Get(token=token, block_bytes=4096, first=0, count=None, bitmap=None)
    head = {"c": token, "f": 0, "l": len(data), "i": number, "r": to_come}
    in_json = blocks.encode_data("json", asked, number, data, to_come)
    assert json.loads(in_json) == {**head, "p": b64encode(data).decode()}
    in_cbor = blocks.encode_data("cbor", asked, number, data, to_come)
    assert decode_cbor(in_cbor, is_senml=True) == {**head, "p": data}


def test_descriptions_and_refusals_in_both_forms() -> None:
    described = {"c": "t", "s": 1, "d": "pump 1.2.0", "r": [{"f": 0, "z": SIZE}]}
    assert json.loads(blocks.encode_description("json", "t", "pump 1.2.0", SIZE)) == described
    assert decode_cbor(blocks.encode_description("cbor", "t", "pump 1.2.0", SIZE)) == described
    refused = {"o": "Unauthorized", "m": "no", "c": "t", "reason": "not_for_this_device"}
    encoded = blocks.encode_refusal("json", "t", "Unauthorized", "no", reason="not_for_this_device")
    assert json.loads(encoded) == refused
    encoded = blocks.encode_refusal(
        "cbor", "t", "Unauthorized", "no", reason="not_for_this_device", retry_s=60
    )
    assert decode_cbor(encoded) == {**refused, "retry_s": 60}


@given(
    st.integers(1, 300_000),
    st.integers(256, 5000),
    st.integers(0, 40),
    st.binary(min_size=1, max_size=40).filter(any),
    st.integers(1, 60) | st.none(),
)
def test_whatever_is_asked_the_answer_is_within_bounds(
    size: int, length: int, first: int, bitmap: bytes, count: int | None
) -> None:
    fields = {"l": length, "o": first, "b": b64encode(bitmap).decode(), **({"n": count} if count else {})}
    try:
        found = blocks.wanted(blocks.get_of(fields, size), size, bytes_max=10_000)
    except UsageError:
        return
    bits = {first + i for i in range(len(bitmap) * 8) if b64decode(fields["b"])[i // 8] >> i % 8 & 1}  # type: ignore[arg-type]
    assert found == sorted(found)
    assert set(found) <= bits
    assert 1 <= len(found) <= (count or 10_000)
    assert all(number * length < size for number in found)
    assert len(found) == 1 or len(found) * length <= 10_000
    assert sum(n for _, n in blocks.runs(found)) == len(found)
