"""Traces in a block: found again, left out of what is sent on, and never mistaken."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from storage.log.columns import Columns, decode_columns, encode_columns
from storage.log.traced import FLAG_TRACED, SUFFIX_BYTES, trace_of, untraced, with_traces

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def columns(flags: bytes, properties: dict[int, bytes], traces: dict[int, bytes]) -> Columns:
    marked, merged = with_traces(flags, properties, traces)
    count = len(flags)
    return decode_columns(
        encode_columns(
            kinds=b"\x01" * count,
            flags=marked,
            clients=[("c", "p")],
            client_index=array("H", [0] * count),
            topics=[b"t"],
            topic_index=array("H", [0] * count),
            packet_ids=array("H", [0] * count),
            received_delta_ms=array("I", [0] * count),
            payloads=[b""] * count,
            properties=merged,
        )
    )


@given(
    st.lists(st.tuples(st.integers(0, 31), st.binary(max_size=200), st.booleans()), min_size=1, max_size=20)
)
def test_what_was_published_comes_back_whether_traced_or_not(records: list[tuple[int, bytes, bool]]) -> None:
    flags = bytes(flag for flag, _, _ in records)
    properties = {at: raw for at, (_, raw, _) in enumerate(records) if raw}
    traces = {at: PARENT for at, (_, _, is_traced) in enumerate(records) if is_traced}
    found = columns(flags, properties, traces)
    assert sorted(found.traced()) == sorted(traces.items())
    for at, (flag, raw, is_traced) in enumerate(records):
        assert found.published_properties(at) == raw
        assert found.flags[at] == flag | (FLAG_TRACED if is_traced else 0)


def test_a_client_can_pass_nothing_off_as_a_trace() -> None:
    _, forged = with_traces(b"\0", {}, {0: PARENT})
    raw = forged[0]
    found = columns(b"\x02", {0: raw}, {})
    assert found.traced() == [], "the flag is the broker's"
    assert found.published_properties(0) == raw


def test_a_flag_without_its_property_is_no_trace() -> None:
    for raw in (b"", b"x" * SUFFIX_BYTES, PARENT):
        assert trace_of(FLAG_TRACED, raw) == b""
        assert untraced(FLAG_TRACED, raw) == raw
