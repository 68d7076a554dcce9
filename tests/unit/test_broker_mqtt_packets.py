"""Packets are values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from broker.mqtt.packets import Connect, Publish, Version
from broker.mqtt.properties import Properties


def test_packets_compare_by_content_and_never_change() -> None:
    packet = Publish(topic="a")
    assert packet == Publish(topic="a")
    assert packet.properties is Properties.EMPTY
    with pytest.raises(FrozenInstanceError):
        packet.topic = "b"  # type: ignore[misc]
    assert hash(packet) == hash(Publish(topic="a"))


def test_connect_defaults() -> None:
    packet = Connect(client_id="c")
    assert (packet.version, packet.clean_start, packet.keep_alive_s, packet.will) == (
        Version.MQTT_5,
        True,
        0,
        None,
    )
