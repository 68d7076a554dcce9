"""Spans between processes: what comes back, and what is left out."""

from __future__ import annotations

import msgpack

from appliance.core.limits_tracing import SPAN_ATTRIBUTE_COUNT_MAX, SPAN_TEXT_CHARS_MAX
from appliance.tracing.span import DEVICE, Span, SpanKind, bounded, of_plain, to_plain

TRACE = "0af7651916cd43dd8448eb211c80319c"


def span(name: str = "receive", **more: object) -> Span:
    return Span(TRACE, "b7ad6b7169203331", "", name, SpanKind.CONSUMER, 1_000, 3_500, {DEVICE: "d1", **more})  # type: ignore[dict-item]


def test_there_and_back() -> None:
    spans = [span(size=3, ratio=0.5, ok=True), span("commit")]
    assert of_plain(msgpack.unpackb(msgpack.packb(to_plain(spans)))) == spans
    assert spans[0].duration_us == 2_500
    assert spans[0].device_id == "d1"
    assert Span(TRACE, "b7ad6b7169203331", "", "x", 1, 5, 3).duration_us == 0, "a clock was put back"


def test_what_is_no_span_is_left_out() -> None:
    (plain,) = to_plain([span()])
    for broken in (
        None,
        7,
        [],
        plain[:3],
        ["../..", *plain[1:]],
        [*plain[:3], "x" * 1000, *plain[4:]],
        [*plain[:4], 77, *plain[5:]],
        {"a": 1},
    ):
        assert of_plain([broken, plain]) == [span()]
    assert of_plain(None) == []
    assert of_plain({"spans": []}) == []


def test_attributes_are_bounded() -> None:
    made = bounded({f"k{number}": "x" * 10_000 for number in range(100)})
    assert len(made) == SPAN_ATTRIBUTE_COUNT_MAX
    assert {len(str(value)) for value in made.values()} == {SPAN_TEXT_CHARS_MAX}
