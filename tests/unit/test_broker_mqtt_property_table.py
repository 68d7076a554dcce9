"""The table itself; tests/protocol/test_codec_05_properties.py shows its every cell on the wire."""

from __future__ import annotations

from broker.mqtt.property_table import LABELS, PROPERTY_RULES, PropertyId


def test_table_is_complete() -> None:
    """MQTT 5.0 Table 2-4 has 27 properties."""
    assert len(PropertyId) == 27
    assert set(PROPERTY_RULES) == set(PropertyId) == set(LABELS)
