"""The newest traces: by device, bounded, spans in any order."""

from __future__ import annotations

from appliance.core.limits_tracing import TRACE_SPAN_COUNT_MAX
from appliance.tracing.book import TraceBook
from appliance.tracing.span import DEVICE, Span


def span(trace: int, number: int, device: str = "", *, start_us: int = 0, end_us: int = 9) -> Span:
    return Span(
        f"{trace:032x}",
        f"{number:016x}",
        "",
        f"s{number}",
        1,
        start_us,
        end_us,
        {DEVICE: device} if device else {},
    )


def test_spans_come_in_any_order() -> None:
    book = TraceBook()
    book.add([span(1, 3, start_us=50), span(1, 2, "d1", start_us=20, end_us=90)])
    book.add([span(1, 1, start_us=20, end_us=200)])
    found = book.trace(f"{1:032x}")
    assert found is not None
    assert [each.name for each in found.spans] == ["s1", "s2", "s3"], "by start, the longer first"
    assert (found.start_us, found.end_us, found.device_ids) == (20, 200, ("d1",))
    assert book.trace(f"{2:032x}") is None
    book.add([span(1, 3, start_us=51)])
    again = book.trace(f"{1:032x}")
    assert again is not None
    assert len(again.spans) == 3, "a step that was done again after a crash is one step"


def test_a_device_has_its_newest_traces() -> None:
    book = TraceBook()
    for trace in range(1, 6):
        book.add([span(trace, 1, "d1" if trace % 2 else "d2")])
    assert [int(each.trace_id, 16) for each in book.of_device("d1", 2)] == [5, 3]
    assert [int(each.trace_id, 16) for each in book.newest(3)] == [5, 4, 3]
    assert book.of_device("nobody", 9) == []


def test_requests_push_no_readings_out() -> None:
    book = TraceBook(count_max=3, other_count_max=2)
    book.add([span(trace, 1, "d1") for trace in range(1, 4)])
    book.add([span(trace, 1) for trace in range(10, 100)])
    assert (len(book), len(book.of_device("d1", 9))) == (5, 3)
    assert book.trace(f"{10:032x}") is None
    book.add([span(99, 2, "d1")])
    assert [int(each.trace_id, 16) for each in book.of_device("d1", 9)] == [99, 3, 2], "the oldest goes"


def test_a_trace_of_everything_is_cut() -> None:
    book = TraceBook()
    book.add([span(1, number, "d1") for number in range(1, TRACE_SPAN_COUNT_MAX + 5)])
    found = book.trace(f"{1:032x}")
    assert found is not None
    assert found.is_cut
    assert len(found.spans) == TRACE_SPAN_COUNT_MAX
