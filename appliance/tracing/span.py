"""One step of a trace: what was done, from when to when, and of what it is a part. Pure.

Names and attributes follow OpenTelemetry's semantic conventions where there is one; what is Homeport's own begins with `homeport.`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

import msgspec

from appliance.core.limits_tracing import (
    SPAN_ATTRIBUTE_COUNT_MAX,
    SPAN_NAME_CHARS_MAX,
    SPAN_TEXT_CHARS_MAX,
)
from appliance.tracing.context import is_trace_id

Attribute = str | bool | int | float
DEVICE: Final = "homeport.device.id"
"""Attribute: whose reading it is; by it the traces of a device are found."""


class SpanKind(IntEnum):
    """As OTLP numbers them."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


_KINDS: Final = frozenset(SpanKind)


class Span(msgspec.Struct, frozen=True, array_like=True):
    """A step that is over.

    Attributes:
        parent_id: "" for the first of its trace.
        start_us, end_us: UTC, microseconds. Times of messages' arrival are whole milliseconds, rounded down.
        error: Why it failed, "" if it did not.
        state: The trace's tracestate.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_us: int
    end_us: int
    attributes: dict[str, Attribute] = {}
    error: str = ""
    state: str = ""

    @property
    def duration_us(self) -> int:
        return max(0, self.end_us - self.start_us)

    @property
    def device_id(self) -> str:
        """Whose reading it is, "" where none is known."""
        return str(self.attributes.get(DEVICE, ""))


def bounded(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Attributes of which none is longer than a span may carry."""
    return {
        key: value[:SPAN_TEXT_CHARS_MAX] if isinstance(value, str) else value
        for key, value in list(attributes.items())[:SPAN_ATTRIBUTE_COUNT_MAX]
    }


def to_plain(spans: Sequence[Span]) -> list[Any]:
    """Spans as lists, for a message between processes."""
    plain: list[Any] = msgspec.to_builtins(spans)
    return plain


def of_plain(plain: object) -> list[Span]:
    """Spans of another process; what can't be understood is left out."""
    found = []
    for each in plain if isinstance(plain, list) else ():
        try:
            span = msgspec.convert(each, Span)
        except msgspec.ValidationError:
            continue
        is_known = span.kind in _KINDS and len(span.name) <= SPAN_NAME_CHARS_MAX
        if is_known and is_trace_id(span.trace_id):
            found.append(span)
    return found
