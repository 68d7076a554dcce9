from __future__ import annotations

from appliance.core import ids


def test_ids_have_their_sizes_and_differ() -> None:
    assert len(ids.new_trace_id()) == 32
    assert len(ids.new_span_id()) == 16
    assert ids.new_trace_id() != ids.new_trace_id()


def test_an_id_is_never_all_zero() -> None:
    """W3C Trace Context §3.2.2.3: all zero is invalid."""
    made = iter([bytes(16), bytes(16), b"\x01" * 16])
    assert ids.new_trace_id(lambda _size: next(made)) == "01" * 16
