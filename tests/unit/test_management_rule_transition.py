"""Transitions as they are kept: two about the same are equal, and survive being written down."""

from __future__ import annotations

import msgspec

from appliance.management.rule_transition import AlarmKey, Transition


def test_a_transition_comes_back_as_it_was_written() -> None:
    key = AlarmKey("r1", "pump-1", series="t")
    raised = Transition(
        key=key, rule_version=2, is_raised=True, at_ms=1_000, value=81.5, explanation={"limit": 80}
    )
    packed = msgspec.msgpack.encode(raised)
    assert msgspec.msgpack.decode(packed, type=Transition) == raised
    assert key == AlarmKey("r1", "pump-1", series="t")
    assert len({key, AlarmKey("r1", "pump-1", series="p")}) == 2
