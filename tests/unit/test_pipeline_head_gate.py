"""Holding reading up at the head."""

from __future__ import annotations

import pytest

from appliance.core.errors import LogDamaged
from appliance.pipeline.head_gate import HeadGate


def test_it_holds_from_the_head_on_until_it_is_released() -> None:
    gate, known = HeadGate(), []
    with gate.reading() as held_at:
        assert held_at is None
    assert gate.hold(lambda: (1, 7)) == (1, 7)
    with gate.reading() as held_at:
        assert held_at == 7
    gate.release(lambda: known.append("change"))
    with gate.reading() as held_at:
        assert held_at is None
    assert known == ["change"]


def test_a_head_that_can_t_be_read_holds_nothing() -> None:
    gate = HeadGate()

    def unreadable() -> tuple[int, int]:
        raise LogDamaged("gone", first_seq=1, next_seq=1, hint="")

    with pytest.raises(LogDamaged):
        gate.hold(unreadable)
    with gate.reading() as held_at:
        assert held_at is None
