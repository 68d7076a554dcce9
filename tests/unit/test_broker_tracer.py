"""Which messages of a block are traced, and the spans that the broker makes of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.clock import ManualClock
from appliance.core.limits_tracing import TRACE_WANTED_COUNT_MAX, TRACE_WANTED_MS, TRACES_PER_BLOCK_MAX
from appliance.tracing.context import TraceContext, parse_traceparent
from appliance.tracing.span import Span, of_plain
from broker.mqtt.batch import Batch
from broker.tracer import Tracer, offered
from storage.log.columns import Kind
from tests.protocol import builder

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"
NOW = 1_772_000_000_000


def props(parent: str | None = GOOD, state: str | None = None) -> bytes:
    made = b""
    if parent is not None:
        made += builder.puser("traceparent", parent)
    if state is not None:
        made += builder.puser("tracestate", state)
    return made


def batch_of(*properties: bytes, topics: Sequence[str] = (), kind: int = Kind.PUBLISH, qos: int = 1) -> Batch:
    batch = Batch()
    batch.mark_time(NOW)
    for at, raw in enumerate(properties):
        topic = topics[at] if topics else "dm/d1/telemetry"
        batch.add(kind, ("c1", "d1"), topic=topic.encode(), payload=b"{}", flags=qos << 1, properties=raw)
    return batch


class Scene:
    def __init__(self, ratio: float = 0.0, per_second: int = 1_000) -> None:
        self.clock = ManualClock(NOW)
        self.tracer = Tracer(
            sample_ratio=ratio,
            per_second_max=per_second,
            now_us=lambda: self.clock.now_ms() * 1_000,
            mono_ms=self.clock.mono_ms,
            uniform=random.Random(1).random,
        )

    def traced(self, batch: Batch) -> list[int]:
        self.tracer.choose(batch)
        self.clock.advance(3)
        self.tracer.durable()
        self.clock.advance(2)
        self.tracer.acknowledged(batch, 100)
        return sorted(batch.traces)

    def spans(self) -> list[Span]:
        return of_plain(self.tracer.take_spans())


# --- What a publisher says -------------------------------------------------------------------------------------


def test_a_publishers_trace_goes_on() -> None:
    scene = Scene()
    batch = batch_of(b"", props(GOOD, "a=1"), props(UNSAMPLED), props("nonsense"))
    assert scene.traced(batch) == [1]
    context = parse_traceparent(batch.traces[1].decode())
    assert context is not None
    assert context.trace_id == TRACE
    assert context.span_id != SPAN
    receive, log, puback = scene.spans()
    assert (receive.name, receive.span_id, receive.parent_id, receive.state) == (
        "receive",
        context.span_id,
        SPAN,
        "a=1",
    )
    assert (receive.start_us, receive.end_us) == (NOW * 1_000, (NOW + 5) * 1_000)
    assert receive.attributes["messaging.destination.name"] == "dm/d1/telemetry"
    assert receive.attributes["homeport.log.seq"] == 101
    assert (log.name, log.parent_id, log.duration_us) == ("append log", receive.span_id, 3_000)
    assert (puback.name, puback.parent_id, puback.duration_us) == ("puback", receive.span_id, 2_000)
    assert scene.spans() == [], "they are told once"


def test_the_answer_is_named_by_its_qos() -> None:
    for qos, names in ((0, ["receive", "append log"]), (2, ["receive", "append log", "pubrec"])):
        scene = Scene()
        scene.traced(batch_of(props(), qos=qos))
        assert [span.name for span in scene.spans()] == names


def test_only_so_many_in_a_second_and_in_a_block() -> None:
    scene = Scene(per_second=3)
    assert scene.traced(batch_of(*[props()] * 10)) == [0, 1, 2]
    assert scene.traced(batch_of(props())) == []
    assert scene.tracer.statistics()["refused_offers"] == 2, "the rest of a block is not even looked at"
    scene.clock.advance(1_000)
    assert scene.traced(batch_of(props())) == [0]
    assert len(Scene().traced(batch_of(*[props()] * 500))) == TRACES_PER_BLOCK_MAX


def test_what_is_there_twice_is_no_context() -> None:
    assert offered(props() + props()) is None
    assert offered(props() + props("x")) is None
    assert offered(builder.puser("TraceParent", GOOD)) is None
    assert offered(props(None, "a=1")) is None
    found = offered(props(GOOD, "a=1") + builder.puser("tracestate", "b=2"))
    assert found == TraceContext(TRACE, SPAN, state="a=1,b=2")


def test_bytes_that_look_like_one_in_another_property_are_none() -> None:
    hidden = builder.u8(0x09) + builder.u16(len(props())) + props()
    assert offered(hidden) is None
    assert offered(builder.puser("note", "\0\x0btraceparent\0")) is None


@given(st.binary(max_size=300))
def test_whatever_a_publisher_sends_never_fails(value: bytes) -> None:
    """Also what the broker refuses before it comes here."""
    raw = builder.puser("traceparent", value)
    context = offered(raw)
    assert context is None or context.trace_id.encode() in value
    assert Scene().traced(batch_of(raw)) in ([], [0])


# --- Nobody asked ----------------------------------------------------------------------------------------------


def test_the_share_is_made_across_blocks() -> None:
    scene = Scene(ratio=0.01, per_second=1_000_000)
    count = sum(len(scene.traced(batch_of(*[b""] * 7))) for _ in range(5_000))
    assert 300 < count < 400, "of 35,000"
    first = scene.spans()[0]
    assert first.parent_id == ""
    assert len(first.trace_id) == 32


def test_all_and_none() -> None:
    assert Scene(ratio=1.0).traced(batch_of(b"", b"")) == [0, 1]
    assert Scene(ratio=0.0).traced(batch_of(b"", b"")) == []
    off = Scene(ratio=1.0, per_second=0)
    assert not off.tracer.is_on
    assert off.traced(batch_of(b"", props())) == []


def test_a_publisher_that_is_not_sampled_is_left_alone() -> None:
    scene = Scene(ratio=1.0)
    assert scene.traced(batch_of(props(UNSAMPLED), props("nonsense"), props())) == [1, 2]


def test_only_messages_are_traced() -> None:
    assert Scene(ratio=1.0).traced(batch_of(b"", kind=Kind.SESSION_OPENED)) == []
    assert Scene(ratio=1.0).traced(batch_of(b"", kind=Kind.SERVER_PUBLISH)) == [0]


def test_the_share_is_bounded_in_a_second_too() -> None:
    scene = Scene(ratio=1.0, per_second=2)
    assert scene.traced(batch_of(*[b""] * 5)) == [0, 1]
    assert scene.tracer.statistics()["refused_share"] == 3


# --- Somebody asked --------------------------------------------------------------------------------------------


def test_the_next_reading_of_a_device() -> None:
    scene = Scene()
    scene.tracer.want("d2")
    topics = ["dm/d1/telemetry", "dm/d2/status", "dm/d2/telemetry", "dm/d2/telemetry"]
    assert scene.traced(batch_of(*[b""] * 4, topics=topics)) == [2], "its first reading, and only that"
    assert scene.traced(batch_of(b"", topics=["dm/d2/telemetry"])) == []


def test_its_own_trace_goes_on_also_where_it_is_not_sampled() -> None:
    scene = Scene()
    scene.tracer.want("d1")
    batch = batch_of(props(UNSAMPLED))
    assert scene.traced(batch) == [0]
    assert TRACE in batch.traces[0].decode()
    scene.tracer.want("d1")
    assert scene.traced(batch_of(props())) == [0], "it is traced already"
    assert scene.tracer.statistics()["wanted"] == 0


def test_a_wish_is_bounded() -> None:
    scene = Scene()
    for number in range(TRACE_WANTED_COUNT_MAX + 1):
        scene.tracer.want(f"w{number}")
    assert scene.tracer.statistics()["wanted"] == TRACE_WANTED_COUNT_MAX
    assert scene.traced(batch_of(b"", topics=["dm/w0/telemetry"])) == [], "the oldest had to go"
    scene.clock.advance(TRACE_WANTED_MS + 1)
    assert scene.traced(batch_of(b"", topics=["dm/w1/telemetry"])) == []
    assert scene.tracer.statistics()["wanted"] == 0
