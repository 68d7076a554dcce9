"""Spans go into the book, and to the queue where there is one."""

from __future__ import annotations

from appliance.core.limits_tracing import SPAN_TEXT_CHARS_MAX
from appliance.tracing.context import TraceContext
from appliance.tracing.recorder import Recorder, wall_us
from appliance.tracing.ring import SpanRing
from appliance.tracing.span import SpanKind

PARENT = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", state="a=1")


def test_a_span_below_its_parent() -> None:
    recorder = Recorder(ring=SpanRing(1))
    made = recorder.record(PARENT, "commit", 10, 5, {"text": "x" * 5_000}, kind=SpanKind.CLIENT, error="full")
    assert (made.trace_id, made.parent_id, made.state) == (PARENT.trace_id, PARENT.span_id, "a=1")
    assert (made.start_us, made.end_us) == (5, 5), "a clock that was put back makes no negative time"
    assert len(str(made.attributes["text"])) == SPAN_TEXT_CHARS_MAX
    assert made.error == "full"
    named = recorder.record(PARENT, "rule", 1, 2, {}, span_id="00f067aa0ba902b7")
    assert named.span_id == "00f067aa0ba902b7"
    found = recorder.book.trace(PARENT.trace_id)
    assert found is not None
    assert len(found.spans) == 2
    numbers = recorder.statistics()
    assert (numbers.spans, numbers.kept_traces, numbers.waiting, numbers.dropped) == (2, 1, 1, 1)


def test_without_a_collector_nothing_waits() -> None:
    recorder = Recorder()
    recorder.record(PARENT, "x", wall_us(), wall_us(), {})
    assert (recorder.statistics().waiting, recorder.statistics().dropped) == (0, 0)
