"""Spans as OTLP's JSON has them."""

from __future__ import annotations

import json

from appliance.tracing.otlp import rejected_count, request_body
from appliance.tracing.span import Span, SpanKind

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_request() -> None:
    span = Span(
        TRACE,
        "b7ad6b7169203331",
        "00f067aa0ba902b7",
        "commit",
        SpanKind.CLIENT,
        1_772_000_000_000_001,
        1_772_000_000_000_341,
        {"text": "x\ud800", "count": 2**60, "ratio": 0.5, "ok": True},
        error="full",
        state="a=1",
    )
    first = Span(TRACE, "00f067aa0ba902b7", "", "process", SpanKind.CONSUMER, 1, 2)
    body = json.loads(request_body([span, first], resource={"service.name": "homeport"}, version="1"))
    (resource,) = body["resourceSpans"]
    assert resource["resource"] == {
        "attributes": [{"key": "service.name", "value": {"stringValue": "homeport"}}]
    }
    (scope,) = resource["scopeSpans"]
    assert scope["scope"] == {"name": "homeport", "version": "1"}
    made, root = scope["spans"]
    assert made == {
        "traceId": TRACE,
        "spanId": "b7ad6b7169203331",
        "parentSpanId": "00f067aa0ba902b7",
        "traceState": "a=1",
        "name": "commit",
        "kind": 3,
        "startTimeUnixNano": "1772000000000001000",
        "endTimeUnixNano": "1772000000000341000",
        "attributes": [
            {"key": "text", "value": {"stringValue": "x?"}},
            {"key": "count", "value": {"intValue": str(2**60)}},
            {"key": "ratio", "value": {"doubleValue": 0.5}},
            {"key": "ok", "value": {"boolValue": True}},
        ],
        "flags": 1,
        "status": {"code": 2, "message": "full"},
    }
    assert "parentSpanId" not in root
    assert "status" not in root


def test_what_a_collector_did_not_take() -> None:
    assert rejected_count(b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}') == 3
    assert rejected_count(b'{"partialSuccess":{"rejectedSpans":2}}') == 2
    for body in (
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"partialSuccess":null}',
        b'{"partialSuccess":{"rejectedSpans":-4}}',
        b'{"partialSuccess":{"rejectedSpans":"x"}}',
    ):
        assert rejected_count(body) == 0
