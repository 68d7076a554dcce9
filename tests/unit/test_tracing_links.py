"""Steps far apart find each other by what they are about."""

from __future__ import annotations

import msgspec

from appliance.management.rule_transition import AlarmKey, Transition
from appliance.tracing.context import format_traceparent, parse_traceparent
from appliance.tracing.links import alarm_context, notification_context, rule_context

TRACE = "0af7651916cd43dd8448eb211c80319c"
FOUND = Transition(
    key=AlarmKey("r1", "d1", "", "temp"), rule_version=1, is_raised=True, at_ms=5, trace_id=TRACE
)


def test_the_same_finding_has_the_same_place() -> None:
    again = msgspec.json.decode(msgspec.json.encode(FOUND), type=Transition)
    assert rule_context(again) == rule_context(FOUND)
    others = [
        msgspec.structs.replace(FOUND, at_ms=6),
        msgspec.structs.replace(FOUND, is_raised=False),
        msgspec.structs.replace(FOUND, trace_id=TRACE[::-1]),
        msgspec.structs.replace(FOUND, key=AlarmKey("r1", "d1", "", "hum")),
    ]
    assert len({rule_context(each).span_id for each in [FOUND, *others]}) == 5


def test_each_attempt_is_one_of_its_own() -> None:
    places = [
        alarm_context(TRACE, "a1"),
        notification_context(TRACE, "n1", 1),
        notification_context(TRACE, "n1", 2),
    ]
    assert len({each.span_id for each in places}) == 3
    for each in places:
        assert parse_traceparent(format_traceparent(each)) == each
