"""Spans as a collector takes them: OTLP's JSON. Pure.

Our own lines and not the OpenTelemetry SDK: DESIGN.md says why.
Source: OTLP 1.x specification, "OTLP/HTTP", "JSON Protobuf Encoding": ids in hexadecimal digits, 64-bit numbers as texts, enums as numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from appliance.tracing.span import Attribute, Span

SCOPE: Final = "homeport"
_NS_PER_US: Final = 1000
_STATUS_ERROR: Final = 2
_FLAG_SAMPLED: Final = 1


def request_body(spans: Iterable[Span], *, resource: Mapping[str, Attribute], version: str) -> bytes:
    """An ExportTraceServiceRequest.

    Args:
        resource: What the spans are of: service.name and the like. version: Homeport's.
    """
    return msgspec.json.encode(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": _attributes(resource)},
                    "scopeSpans": [
                        {"scope": {"name": SCOPE, "version": version}, "spans": list(map(_span, spans))}
                    ],
                }
            ]
        }
    )


def rejected_count(body: bytes) -> int:
    """How many spans an answer of 200 says it did not take; 0 where it says nothing that can be understood."""
    try:
        answer = msgspec.json.decode(body)
        return max(0, int(answer["partialSuccess"]["rejectedSpans"]))
    except (ValueError, TypeError, KeyError):  # msgspec's errors are ValueErrors
        return 0


def _span(span: Span) -> dict[str, Any]:
    made: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_us * _NS_PER_US),
        "endTimeUnixNano": str(span.end_us * _NS_PER_US),
        "attributes": _attributes(span.attributes),
        "flags": _FLAG_SAMPLED,
    }
    if span.parent_id:
        made["parentSpanId"] = span.parent_id
    if span.state:
        made["traceState"] = span.state
    if span.error:
        made["status"] = {"code": _STATUS_ERROR, "message": span.error}
    return made


def _attributes(attributes: Mapping[str, Attribute]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Attribute) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            # A half of a surrogate pair, which a topic can't have but an id may, can't be sent.
            return {"stringValue": value.encode("utf-8", "replace").decode()}
