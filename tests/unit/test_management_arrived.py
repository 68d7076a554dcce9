"""What a batch says to rules, without any of it."""

from __future__ import annotations

from appliance.management.arrived import Arrived


def test_nothing_arrived() -> None:
    arrived = Arrived()
    assert len(arrived) == 0
    assert arrived.values.dtype == "float64"
