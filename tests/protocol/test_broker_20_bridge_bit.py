"""The bridge bit in the protocol level (0x83, 0x84), as mosquitto's `try_private` sets it: no local, retain as published.

The MQTT standards do not know it; what mosquitto does with it, other brokers expect of each other.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.broker_kit import running_broker
from tests.protocol import builder

RETAIN = 1


@pytest.mark.parametrize("level", [0x83, 0x84])
async def test_a_bridge_gets_nothing_of_its_own_back(tmp_path: Path, level: int) -> None:
    name = "MQIsdp" if level == 0x83 else "MQTT"
    async with running_broker(tmp_path) as broker:
        bridge = await broker.connect("bridge", version=level, name=name)
        await bridge.subscribe("a/#")
        other = await broker.connect("other")
        await bridge.publish("a/1", b"mine")
        await other.publish("a/2", b"theirs")
        assert (await bridge.message()).payload == b"theirs"


async def test_a_bridge_gets_retain_as_it_was_published(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        bridge = await broker.connect("bridge", version=0x84)
        plain = await broker.connect("plain")
        publisher = await broker.connect("publisher")
        await bridge.subscribe("a")
        await plain.subscribe("a")
        await publisher.send(builder.publish("a", b"kept", qos=1, retain=True, packet_id=1))
        flags = {}
        for name, peer in (("bridge", bridge), ("plain", plain)):
            packet = await peer.expect(builder.PUBLISH)
            flags[name] = packet.first & RETAIN
        assert flags == {"bridge": RETAIN, "plain": 0}


async def test_a_bridge_says_by_its_will_that_it_is_gone(tmp_path: Path) -> None:
    """mosquitto's notifications: without them being taken it could not even connect."""
    topic = "$SYS/broker/connection/site.bridge/state"
    async with running_broker(tmp_path) as broker:
        watcher = await broker.connect("watcher")
        await watcher.subscribe(topic)
        bridge = await broker.connect(
            "bridge", version=0x84, will=builder.will_fields(topic, b"0"), will_flags=0x24
        )
        await bridge.publish(topic, b"1")
        assert (await watcher.message()).payload == b"1"
        bridge.drop()
        assert (await watcher.message()).payload == b"0"
