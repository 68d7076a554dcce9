"""How refusals read in each service."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.management.cbor import decode_cbor
from appliance.management.request_refusals import Refusal, refusal_message
from appliance.management.request_topics import parse

TOO_FAST = Refusal(code="requests_too_fast", message="Too often.", retry_s=5)
ASKED = b'{"state": {}, "clientToken" : "t-1"}'


def refused(topic: str, refusal: Refusal = TOO_FAST, asked: bytes = ASKED) -> tuple[str, object]:
    found = parse(topic)
    assert found is not None
    where, payload = refusal_message(found, refusal, asked)
    return where, decode_cbor(payload) if topic.endswith("/cbor") else json.loads(payload)


def test_a_twin_is_refused_by_number() -> None:
    assert refused("dm/pump/shadow/get") == (
        "dm/pump/shadow/get/rejected",
        {"code": 429, "message": "Too often.", "clientToken": "t-1", "reason": "requests_too_fast", "retry_s": 5},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "status", "word"),
    [
        ("requests_waiting", 0, "RequestThrottled"),
        ("unavailable", 0, "InternalError"),
        ("request_too_large", 0, "InvalidRequest"),
        ("anything", 404, "ResourceNotFound"),
        ("anything", 0, "InvalidRequest"),
    ],
)
def test_a_job_by_word(code: str, status: int, word: str) -> None:
    refusal = Refusal(code=code, message="No.", status=status)
    assert refused("$aws/things/pump/jobs/$next/get", refusal, b"") == (
        "$aws/things/pump/jobs/$next/get/rejected",
        {"code": word, "message": "No.", "reason": code},
    )


@pytest.mark.parametrize("encoding", ["json", "cbor"])
def test_a_stream_by_letters(encoding: str) -> None:
    long = Refusal(code="unavailable", message="x" * 300, retry_s=70_000)
    assert refused(f"dm/pump/streams/s/get/{encoding}", long, b'{"c": "tok"}') == (
        f"dm/pump/streams/s/rejected/{encoding}",
        {"o": "InternalError", "m": "x" * 300, "c": "tok", "reason": "unavailable", "retry_s": 70_000},
    )
    short = Refusal(code="unavailable", message="x" * 200, retry_s=200)
    _, words = refused(f"dm/pump/streams/s/get/{encoding}", short, b"")
    assert words == {"o": "InternalError", "m": "x" * 200, "reason": "unavailable", "retry_s": 200}


@pytest.mark.parametrize("topic", ["dm/provision/default/request", "dm/pump/cmd/r/resp"])
def test_enrolling_and_commands_by_code(topic: str) -> None:
    _, words = refused(topic)
    assert words == {"code": "requests_too_fast", "message": "Too often.", "retry_s": 5}


@given(st.binary(max_size=200))
def test_any_payload_is_refused_without_being_understood(asked: bytes) -> None:
    _, words = refused("dm/pump/shadow/update", asked=asked)
    assert isinstance(words, dict)
    assert words["code"] == 429
