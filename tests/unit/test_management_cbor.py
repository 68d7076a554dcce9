"""CBOR: the examples of RFC 8949 Appendix A, and what is refused before it costs anything."""

from __future__ import annotations

import tracemalloc

import pytest

from appliance.core.limits import CBOR_DEPTH_MAX, PAYLOAD_DECODE_BYTES_MAX
from appliance.management import cbor as module
from appliance.management.cbor import decode_cbor
from appliance.management.readings import Reason, Refusal
from tests.cbor_kit import encode, head


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("00", 0), ("17", 23), ("1818", 24), ("1903e8", 1000), ("1a000f4240", 1_000_000),
        ("1bffffffffffffffff", 2**64 - 1), ("c249010000000000000000", 2**64), ("3bffffffffffffffff", -(2**64)),
        ("c349010000000000000000", -(2**64) - 1), ("20", -1), ("3903e7", -1000),
        ("f90000", 0.0), ("f93c00", 1.0), ("fb3ff199999999999a", 1.1), ("f97bff", 65504.0), ("fa47c35000", 100000.0),
        ("f90001", 5.960464477539063e-8), ("f4", False), ("f5", True), ("f6", None), ("f7", None),
        ("c11a514b67b0", 1363896240), ("c1fb41d452d9ec200000", 1363896240.5),
        ("60", ""), ("6161", "a"), ("62c3bc", "ü"), ("64f0908591", "\U00010151"),
        ("80", []), ("83010203", [1, 2, 3]), ("8301820203820405", [1, [2, 3], [4, 5]]),
        ("a0", {}), ("a26161016162820203", {"a": 1, "b": [2, 3]}),
        ("7f657374726561646d696e67ff", "streaming"), ("9fff", []), ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}), ("bf6346756ef563416d7421ff", {"Fun": True, "Amt": -2}),
        ("d9d9f783010203", [1, 2, 3]), ("c48221196ab3", 273.15), ("c5822003", 1.5),
        ("a2616101616102", {"a": 2}),
    ],
)  # fmt: skip
def test_what_a_reading_may_be_made_of(text: str, value: object) -> None:
    found = decode_cbor(bytes.fromhex(text))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.BAD_CBOR), ("18", Reason.BAD_CBOR), ("6261", Reason.BAD_CBOR), ("0000", Reason.BAD_CBOR),
        ("1c", Reason.BAD_CBOR), ("ff", Reason.BAD_VALUE), ("9f", Reason.BAD_CBOR), ("7f", Reason.BAD_CBOR),
        ("1f", Reason.BAD_CBOR), ("df00", Reason.BAD_CBOR), ("7f7f6161ffff", Reason.BAD_CBOR), ("7f4161ff", Reason.BAD_CBOR),
        ("a10102", Reason.BAD_CBOR), ("a1f601", Reason.BAD_CBOR), ("a1800a", Reason.BAD_CBOR),
        ("4401020304", Reason.BAD_VALUE), ("81420102", Reason.BAD_VALUE), ("f0", Reason.BAD_VALUE), ("f8ff", Reason.BAD_VALUE),
        ("c074323031332d30332d32315432303a30343a30305a", Reason.BAD_CBOR), ("d81c80", Reason.BAD_CBOR), ("d823616b", Reason.BAD_CBOR),
        ("c261", Reason.BAD_CBOR), ("c26161", Reason.BAD_CBOR), ("c401", Reason.BAD_CBOR), ("c482f501", Reason.BAD_CBOR),
        ("c4821a7fffffff01", Reason.NUMBER_OUT_OF_RANGE), ("c4821903e801", Reason.NUMBER_OUT_OF_RANGE),
        ("c5821907d001", Reason.NUMBER_OUT_OF_RANGE), ("c258810102" + "00" * 127, Reason.NUMBER_OUT_OF_RANGE),
        ("f97c00", Reason.NUMBER_OUT_OF_RANGE), ("f97e00", Reason.NUMBER_OUT_OF_RANGE), ("fbfff0000000000000", Reason.NUMBER_OUT_OF_RANGE),
        ("62c328", Reason.BAD_UTF8), ("63eda080", Reason.BAD_UTF8),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, reason: Reason) -> None:
    found = decode_cbor(bytes.fromhex(text))
    assert isinstance(found, Refusal)
    assert found.reason is reason


@pytest.mark.parametrize(
    "claim", [head(4, 2**32 - 1), head(5, 2**63), head(3, 2**62), head(2, 2**31), head(4, 2**20) + bytes(100)]
)
def test_a_length_that_does_not_fit_costs_nothing(claim: bytes) -> None:
    tracemalloc.start()
    try:
        found = decode_cbor(claim)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(found, Refusal)
    assert found.reason is Reason.BAD_CBOR
    assert peak_bytes < 100_000


def test_nesting_is_bounded_for_arrays_tags_and_pieces() -> None:
    for opening in (b"\x81", b"\x9f", b"\xc1", b"\xa1\x61a"):
        found = decode_cbor(opening * 100_000 + b"\x00")
        assert isinstance(found, Refusal)
        assert found.reason is Reason.TOO_DEEP
    assert not isinstance(decode_cbor(b"\x81" * (CBOR_DEPTH_MAX - 1) + b"\x00"), Refusal)


def test_items_and_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    found = decode_cbor(bytes(PAYLOAD_DECODE_BYTES_MAX + 1))
    assert isinstance(found, Refusal)
    assert found.reason is Reason.PAYLOAD_TOO_LARGE
    monkeypatch.setattr(module, "CBOR_ITEM_COUNT_MAX", 4)
    assert decode_cbor(encode([1, 2, 3])) == [1, 2, 3]
    found = decode_cbor(encode({"a": 1, "b": 2}))
    assert isinstance(found, Refusal)
    assert found.reason is Reason.TOO_MANY_POINTS


def test_senml_has_whole_numbers_for_keys_and_bytes_for_values() -> None:
    assert decode_cbor(encode([{-2: "a", 8: b"\x01"}]), is_senml=True) == [{-2: "a", 8: b"\x01"}]
    assert decode_cbor(bytes.fromhex("5f42010243030405ff"), is_senml=True) == b"\x01\x02\x03\x04\x05"
