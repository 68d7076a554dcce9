"""What the JSON decoder does with the corners; any bytes give a value or a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.limits import PAYLOAD_DECODE_BYTES_MAX
from appliance.management.decoding import REFUSED, decode_payloads, decode_text
from appliance.management.readings import HINT_OF_REASON, Reason, Refusal


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b'{"a":1,"a":2}', {"a": 2}),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b" 1 ", 1),
        (b"-0", 0),
        (b"null", None),
        (b'"\\u0000"', "\0"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
    ],
)
def test_accepted(payload: bytes, value: object) -> None:
    assert decode_payloads([payload]) == ([value], {})


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.BAD_JSON),
        (b"NaN", Reason.BAD_JSON),
        (b"Infinity", Reason.BAD_JSON),
        (b"01", Reason.BAD_JSON),
        (b"[1,]", Reason.BAD_JSON),
        (b"1 2", Reason.BAD_JSON),
        (b"1,2", Reason.BAD_JSON),
        (b"\xef\xbb\xbf1", Reason.BAD_JSON),
        (b'"\\ud800"', Reason.BAD_JSON),
        (b'"\\udc00"', Reason.BAD_JSON),
        (b'"\x01"', Reason.BAD_JSON),
        (b'{"a":"\xff"}', Reason.BAD_UTF8),
        (b'"\xed\xa0\x80"', Reason.BAD_UTF8),
        (b"1e999", Reason.NUMBER_OUT_OF_RANGE),
        (b"1" * 5000, Reason.NUMBER_OUT_OF_RANGE),
        (b"[" * 100_000, Reason.TOO_DEEP),
        (b'{"a":' * 3_000 + b"1" + b"}" * 3_000, Reason.TOO_DEEP),
        (b" " * (PAYLOAD_DECODE_BYTES_MAX + 1), Reason.PAYLOAD_TOO_LARGE),
    ],
)
def test_refused(payload: bytes, reason: Reason) -> None:
    values, refusals = decode_payloads([b"1", payload, b"2"])
    assert values == [1, REFUSED, 2]
    assert refusals[1].reason is reason
    assert list(refusals) == [1]


@given(st.lists(st.one_of(st.binary(max_size=12), st.sampled_from([b"1", b"{}", b"[", b"]", b'"']))))
def test_total_and_in_order(payloads: list[bytes]) -> None:
    values, refusals = decode_payloads(payloads)
    assert len(values) == len(payloads)
    for index, payload in enumerate(payloads):
        alone, refused = decode_payloads([payload])
        assert values[index] == alone[0]
        assert (index in refusals) == bool(refused)
        assert (values[index] is REFUSED) == (index in refusals)


@pytest.mark.parametrize(
    ("payload", "value"),
    [(b"21.5", 21.5), (b" true\n", True), (b"ON", "ON"), (b"null", "null"), (b"{}", "{}"), ("°C".encode(), "°C"), (b"1e999", "1e999")],
)  # fmt: skip
def test_text(payload: bytes, value: object) -> None:
    assert decode_text(payload) == value


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b"\xff", Reason.BAD_UTF8), (b" ", Reason.NO_VALUES), (b"x" * (PAYLOAD_DECODE_BYTES_MAX + 1), Reason.PAYLOAD_TOO_LARGE)],
)  # fmt: skip
def test_text_refused(payload: bytes, reason: Reason) -> None:
    refusal = decode_text(payload)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is reason


def test_every_reason_has_a_hint() -> None:
    assert HINT_OF_REASON.keys() == set(Reason)
