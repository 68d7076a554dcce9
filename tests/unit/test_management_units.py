"""Units by name."""

from __future__ import annotations

import pytest

from appliance.management.units import unit_of


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("temperature_celsius", "°C"),
        ("supply.voltage_volts", "V"),
        ("vibration_mm_per_second", "mm/s"),
        ("energy_kilowatt_hours", "kWh"),
        ("uptime_seconds", "s"),
        ("supply_temperature_celsius", "°C"),
        ("door_open", ""),
        ("fill_ratio", ""),
        ("temperature", ""),
        ("celsius", ""),
        ("", ""),
        ("Speed_RPM", "rpm"),
    ],
)
def test_the_unit_is_the_end_of_the_name(metric: str, unit: str) -> None:
    assert unit_of(metric) == unit
