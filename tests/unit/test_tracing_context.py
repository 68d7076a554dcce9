"""W3C Trace Context: what is taken, what is refused, what is written."""

from __future__ import annotations

import pytest

from appliance.core.limits_tracing import TRACE_STATE_BYTES_MAX
from appliance.tracing.context import (
    TRACEPARENT_CHARS,
    TraceContext,
    derived_span_id,
    format_traceparent,
    is_trace_id,
    parse_traceparent,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_what_is_written_is_read() -> None:
    for is_sampled in (True, False):
        context = TraceContext(TRACE, SPAN, is_sampled)
        text = format_traceparent(context)
        assert len(text) == TRACEPARENT_CHARS
        assert parse_traceparent(text) == context


def test_flags_and_later_versions() -> None:
    """§3.2.2.4, §3.2.4."""
    found = parse_traceparent(f"00-{TRACE}-{SPAN}-fe")
    assert found is not None
    assert not found.is_sampled
    later = parse_traceparent(f"cc-{TRACE}-{SPAN}-03-what-the-future-brings")
    assert later == TraceContext(TRACE, SPAN, is_sampled=True)
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-01") is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        GOOD.upper(),
        GOOD + "-more",
        GOOD + "\n",
        " " + GOOD,
        GOOD.replace("00-", "ff-", 1),
        GOOD[:-1],
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00_{TRACE}_{SPAN}_01",
        GOOD.replace("0", "٠"),
        f"cc-{TRACE}-{SPAN}-01-{'x' * 1000}",
        f"cc-{TRACE}-{SPAN}-01.x",
        "\0" * 55,
    ],
)
def test_what_is_malformed_is_no_context(text: str) -> None:
    assert parse_traceparent(text) is None


def test_a_state_is_bounded() -> None:
    for state, kept in (
        ("a=1,b=2", "a=1,b=2"),
        (" a=1 ", "a=1"),
        ("x" * TRACE_STATE_BYTES_MAX, "x" * TRACE_STATE_BYTES_MAX),
        ("x" * (TRACE_STATE_BYTES_MAX + 1), ""),
        ("a=1\r\nX-Evil: 1", ""),
        ("ä=1", ""),
    ):
        found = parse_traceparent(GOOD, state)
        assert found is not None
        assert found.state == kept


def test_trace_ids() -> None:
    assert is_trace_id(TRACE)
    for text in ("", TRACE[:-1], TRACE + "0", "0" * 32, TRACE.upper(), "../../etc/passwd"):
        assert not is_trace_id(text)


def test_an_id_follows_from_what_it_is_about() -> None:
    first = derived_span_id("rule", TRACE, 1)
    assert first == derived_span_id("rule", TRACE, 1)
    assert len({first, derived_span_id("rule", TRACE, 2), derived_span_id("rul", "e" + TRACE, 1)}) == 3
    assert parse_traceparent(format_traceparent(TraceContext(TRACE, first))) is not None
