"""Traced messages through the pipeline: their steps, and which of them decided what a rule found."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from appliance.core.clock import ManualClock
from appliance.core.limits_tracing import TRACE_AGE_MS_MAX, TRACE_LINK_COUNT_MAX
from appliance.management.rule_transition import AlarmKey, Transition
from appliance.pipeline.records import Fate
from appliance.pipeline.traces import PipelineTraces, TracedBatch, TracedRecord
from appliance.tracing.book import Trace
from appliance.tracing.context import TraceContext
from appliance.tracing.links import rule_context
from appliance.tracing.recorder import Recorder
from storage.telemetry.watch_state import found_since
from tests.log_kit import Record, append, open_log
from tests.pipeline_kit import Bench
from tests.protocol import builder
from tests.watch_kit import NOW, WatchedByHand

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01".encode()


def record(value: float, at_ms: int = NOW, *, trace: bytes = b"", topic: bytes = b"dm/a/telemetry") -> Record:
    body = {"ts": at_ms, "v": {"t": value, "text": "x"}}
    properties = builder.puser("traceparent", f"00-{TRACE}-{'1' * 16}-01") + builder.puser(
        "tracestate", "a=1"
    )
    return Record(
        msgspec.json.encode(body),
        topic,
        at_ms,
        principal="a",
        trace=trace,
        properties=properties if trace else b"",
    )


# --- Of a batch ------------------------------------------------------------------------------------------------


def test_a_batch_without_traces_has_none() -> None:
    _, live = Bench().build([record(1), record(2)])
    assert live.traced is None


def test_traced_messages_are_found_with_their_points() -> None:
    bench = Bench()
    strange = record(3, trace=PARENT, topic=b"no/mapping/knows/this")
    _, live = bench.build([record(1)], [record(2, NOW + 5, trace=PARENT), strange])
    assert live.traced is not None
    first, second = live.traced.records
    assert (first.seq, first.device_id, first.received_at_ms, first.fate) == (2, "a", NOW + 5, Fate.READING)
    assert first.context == TraceContext(TRACE, SPAN, state="a=1")
    ((series, observed_ms),) = first.points
    assert (bench.names[series].metric, observed_ms) == ("t", NOW + 5), "texts are nothing for rules"
    assert (second.device_id, second.fate, second.points) == ("", Fate.UNMAPPED, [])
    assert live.traced.count == 3


def test_a_message_that_can_t_be_read_is_traced_to_its_end() -> None:
    _, live = Bench().build([Record(b"{", trace=PARENT)])
    assert live.traced is not None
    assert live.traced.records[0].fate is Fate.DEAD_LETTER


# --- Its steps -------------------------------------------------------------------------------------------------


def traced(received_at_ms: int, *points: tuple[int, int], device_id: str = "a") -> TracedRecord:
    return TracedRecord(
        context=TraceContext(TRACE, SPAN),
        record=0,
        seq=7,
        topic="dm/a/telemetry",
        device_id=device_id,
        received_at_ms=received_at_ms,
        fate=Fate.READING,
        points=list(points),
        process_id="00f067aa0ba902b7",
    )


def the_trace(recorder: Recorder) -> Trace:
    found = recorder.book.trace(TRACE)
    assert found is not None
    return found


def test_the_steps_follow_each_other() -> None:
    recorder, at_us = Recorder(), [NOW * 1000]
    traces = PipelineTraces(recorder, now_us=lambda: at_us[0])
    batch = TracedBatch([traced(NOW - 400)], 25)
    traces.built(batch, 1_000_000, 2_000_000, 5_000_000, 7_000_000)
    at_us[0] += 90_000
    traces.committed(batch, time.perf_counter_ns(), 50)
    by_name = {span.name: span for span in the_trace(recorder).spans}
    assert [span.name for span in the_trace(recorder).spans] == [
        "wait in log",
        "process",
        "read log",
        "decode",
        "evaluate rules",
        "commit",
    ]
    assert by_name["wait in log"].duration_us == 400_000 - 6_000
    assert by_name["read log"].duration_us == 1_000
    assert by_name["decode"].duration_us == 3_000
    assert by_name["evaluate rules"].duration_us == 2_000
    assert by_name["process"].duration_us == 96_000
    assert by_name["process"].parent_id == by_name["wait in log"].parent_id == SPAN
    assert {by_name[name].parent_id for name in ("read log", "decode", "evaluate rules", "commit")} == {
        "00f067aa0ba902b7"
    }
    assert by_name["commit"].attributes["db.operation.batch.size"] == 50
    assert the_trace(recorder).device_ids == ("a",)


def test_what_is_read_again_after_days_is_not_traced_again() -> None:
    recorder = Recorder()
    traces = PipelineTraces(recorder, now_us=lambda: NOW * 1000)
    traces.committed(TracedBatch([traced(NOW - TRACE_AGE_MS_MAX - 1)], 1), time.perf_counter_ns(), 1)
    assert len(recorder.book) == 0


# --- What rules found ------------------------------------------------------------------------------------------


class Names:
    def __len__(self) -> int:
        return 1 << 20

    def name_of(self, series_id: int, /) -> tuple[str, str]:
        return f"d{series_id}", "t"


def found(device: str, at_ms: int, **explanation: int) -> Transition:
    key = AlarmKey("r", device, "", "t")
    return Transition(key=key, rule_version=1, is_raised=True, at_ms=at_ms, explanation=dict(explanation))


def test_the_reading_that_decided_gives_its_trace() -> None:
    recorder = Recorder()
    traces = PipelineTraces(recorder)
    assert traces.linked([found("d1", 50)])[0].trace_id == "", "nothing is traced"
    traces.show(None, Names())
    traces.show(TracedBatch([traced(NOW, (1, 50), (2, 60))], 1), Names())
    at_once, delayed, other_time, other_device = traces.linked(
        [found("d1", 50), found("d2", 90, since_ms=60), found("d1", 51), found("d3", 50)]
    )
    assert (at_once.trace_id, delayed.trace_id) == (TRACE, TRACE)
    assert (other_time.trace_id, other_device.trace_id) == ("", "")
    spans = {span.span_id: span for span in the_trace(recorder).spans}
    assert spans[rule_context(at_once).span_id].parent_id == "00f067aa0ba902b7"
    assert spans[rule_context(delayed).span_id].attributes["homeport.device.id"] == "d2"


def test_how_many_are_remembered_is_bounded() -> None:
    traces = PipelineTraces(Recorder())
    for series in range(TRACE_LINK_COUNT_MAX + 1):
        traces.show(TracedBatch([traced(NOW, (series, 50))], 1), Names())
    assert traces.linked([found("d0", 50)])[0].trace_id == ""
    assert traces.linked([found(f"d{TRACE_LINK_COUNT_MAX}", 50)])[0].trace_id == TRACE
    for at_ms in range(100, 110):
        traces.show(TracedBatch([traced(NOW, (5, at_ms))], 1), Names())
    assert traces.linked([found("d5", 100)])[0].trace_id == ""
    assert traces.linked([found("d5", 109)])[0].trace_id == TRACE


# --- All of it -------------------------------------------------------------------------------------------------


async def test_the_trace_is_in_the_outbox_with_what_was_found(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    by_hand = WatchedByHand(tmp_path / "t.duckdb", tmp_path / "log", ManualClock(NOW + 10_000))
    for value, at_ms, trace in ((1, NOW, b""), (9, NOW + 1_000, PARENT), (1, NOW + 9_000, b"")):
        append(log, [record(value, at_ms, trace=trace)])
        await by_hand.to_the_end()
    with by_hand.store.reading() as connection:
        transitions = found_since(connection, 0)
    above = [(each.is_raised, each.trace_id) for each in transitions if each.key.rule_id == "above"]
    assert above[0] == (True, TRACE)
    assert {trace_id for _, trace_id in above[1:]} <= {""}
    by_hand.close()
    log.close()
