"""How steps far apart find each other: the ids of spans that others are below follow from what these are about.

A rule's finding, the alarm that it moves and each notification of that are rows; with the trace's id, which they hold, their span's id is
known to whoever has the row, in whichever process and after whatever crash. Pure.
"""

from __future__ import annotations

from appliance.management.rule_transition import Transition
from appliance.tracing.context import TraceContext, derived_span_id


def rule_context(found: Transition) -> TraceContext:
    """The place of what a rule found: the parent of the alarm that it moves."""
    key = found.key
    span_id = derived_span_id(
        "rule",
        found.trace_id,
        key.rule_id,
        key.device_id,
        key.group_id,
        key.series,
        found.at_ms,
        int(found.is_raised),
    )
    return TraceContext(found.trace_id, span_id)


def alarm_context(trace_id: str, alarm_id: str) -> TraceContext:
    """The place of an alarm: the parent of what people are told of it."""
    return TraceContext(trace_id, derived_span_id("alarm", trace_id, alarm_id))


def notification_context(trace_id: str, notification_id: str, attempt: int) -> TraceContext:
    """The place of an attempt to tell somebody; it is told the receiver, too."""
    return TraceContext(trace_id, derived_span_id("notification", trace_id, notification_id, attempt))
