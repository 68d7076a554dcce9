"""Retained messages through a running broker: what a new subscriber gets, and what is left after a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from broker.state.checkpoint import read_checkpoint
from tests.broker_kit import CONFIG, Message, Peer, Running, running_broker
from tests.protocol import builder

RETAIN = 1


async def retain(
    peer: Peer, topic: str, payload: bytes, *, properties: bytes = b"", packet_id: int = 1
) -> None:
    """Publish with RETAIN at QoS 1 and wait for PUBACK."""
    await peer.send(
        builder.publish(
            topic,
            payload,
            qos=1,
            retain=True,
            packet_id=packet_id,
            properties=properties if peer.version == 5 else None,
        )
    )
    await peer.expect(builder.PUBACK)


async def messages(peer: Peer) -> list[tuple[str, bytes, int]]:
    """What has come until PINGRESP: (topic, payload, RETAIN)."""
    got: list[tuple[str, bytes, int]] = []
    await peer.send(builder.PINGREQ_PACKET)
    while True:
        packet = await peer.packet()
        assert packet is not None
        if packet.kind == builder.PINGRESP & 0xF0:
            return got
        message = peer.take_apart(packet)
        got.append((message.topic, message.payload, packet.first & RETAIN))


async def settled(peer: Peer, count: int) -> list[tuple[str, bytes, int]]:
    """The same, with as many as are to come."""
    got: list[tuple[str, bytes, int]] = []
    while len(got) < count:
        got += await messages(peer)
    return got + await messages(peer)


@pytest.mark.parametrize("version", [4, 5])
async def test_a_new_subscriber_gets_the_last_one(tmp_path: Path, version: int) -> None:
    async with running_broker(tmp_path) as broker:
        publisher = await broker.connect("publisher", version=version)
        early = await broker.connect("early", version=version)
        await early.subscribe("a/#")
        await retain(publisher, "a/b", b"old")
        await retain(publisher, "a/b", b"new")
        await retain(publisher, "c", b"other")
        assert await settled(early, 2) == [("a/b", b"old", 0), ("a/b", b"new", 0)], "live: RETAIN is 0"
        late = await broker.connect("late", version=version)
        await late.subscribe("a/+")
        assert await settled(late, 1) == [("a/b", b"new", RETAIN)]
        await publisher.publish("a/b", b"live")
        assert await settled(late, 1) == [("a/b", b"live", 0)]
        await retain(publisher, "a/b", b"")
        assert await settled(late, 1) == [("a/b", b"", 0)]
        await late.subscribe("a/b")
        assert await settled(late, 0) == [], "an empty one removes"


async def test_options_of_the_subscription(tmp_path: Path) -> None:
    """MQTT 5.0 §3.8.3.1: retain handling, retain as published, no local."""
    async with running_broker(tmp_path) as broker:
        client = await broker.connect("c", version=5)
        await retain(client, "t", b"kept")
        await client.subscribe("t", options=0x20)
        assert await settled(client, 0) == [], "2: never"
        await client.subscribe("t", options=0x10)
        assert await settled(client, 0) == [], "1: not if the subscription is there already"
        await client.subscribe("t", options=0x00)
        assert await settled(client, 1) == [("t", b"kept", RETAIN)], "0: each time"
        await client.subscribe("+", options=0x10)
        assert await settled(client, 1) == [("t", b"kept", RETAIN)]
        other = await broker.connect("other", version=5)
        await other.subscribe("t", options=0x08)
        assert await settled(other, 1) == [("t", b"kept", RETAIN)]
        await retain(client, "t", b"as published")
        assert await settled(other, 1) == [("t", b"as published", RETAIN)]
        own = await broker.connect("own", version=5)
        await retain(own, "own", b"mine")
        await own.subscribe("own", options=0x04)
        assert await settled(own, 0) == []


async def test_message_expiry(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running_broker(tmp_path, clock=clock) as broker:
        client = await broker.connect("c", version=5)
        await retain(client, "t", b"x", properties=builder.p32(0x02, 10))
        clock.advance(4000)
        await client.subscribe("t")
        got = await client.message()
        assert got.properties == builder.p32(0x02, 6), "what is left of it"
        clock.advance(6000)
        await client.subscribe("t")
        assert await settled(client, 0) == []


async def test_more_than_a_client_takes_at_once(tmp_path: Path) -> None:
    """A thousand retained messages for a queue of ten, while others of the same topics are published."""
    config = replace(CONFIG, session_queue_messages_max=10)
    async with running_broker(tmp_path, config=config) as broker:
        publisher = await broker.connect("publisher")
        for number in range(1000):
            await publisher.send(
                builder.publish(f"t/{number}", b"0", qos=0, retain=True, packet_id=None, properties=None)
            )
        await publisher.ping()
        await publisher.publish("u", b"flush")
        late = await broker.connect("late", version=5, properties=builder.p16(0x21, 5))
        await late.subscribe("t/#", "u")
        newest: dict[str, bytes] = {}
        retained = 0
        for number in range(1, 501):
            await publisher.publish(f"t/{number}", b"1", packet_id=number)
        while len(newest) < 1000 or sum(payload == b"1" for payload in newest.values()) < 500:
            packet = await late.packet()
            assert packet is not None
            message: Message = late.take_apart(packet)
            if message.qos:
                await late.send(builder.ack(builder.PUBACK, message.packet_id))
            retained += packet.first & RETAIN
            newest[message.topic] = max(newest.get(message.topic, b""), message.payload)
            assert newest[message.topic] == message.payload, "never an older one after a newer one"
        assert retained + 500 >= 1000


async def restart(tmp_path: Path) -> list[tuple[str, bytes, int]]:
    async with running_broker(tmp_path) as broker:
        late = await broker.connect("late")
        await late.subscribe("#")
        return await settled(late, 2)


async def keep_two(broker: Running) -> None:
    publisher = await broker.connect("publisher", will=builder.will_fields("w", b"gone"), will_flags=0x2C)
    await retain(publisher, "a", b"1")
    await retain(publisher, "b", b"removed")
    await retain(publisher, "b", b"")
    publisher.drop()
    await broker.wait_until(lambda: broker.statistics()["retained"]["messages"] == 2)


async def test_a_restart(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        await keep_two(broker)
    checkpoint = read_checkpoint(tmp_path / "checkpoint")
    assert checkpoint is not None
    assert {m.topic for m in checkpoint.retained} == {b"a", b"w"}
    assert sorted(await restart(tmp_path)) == [("a", b"1", RETAIN), ("w", b"gone", RETAIN)]


@pytest.mark.parametrize("how", ["missing", "damaged", "old", "ahead"])
async def test_without_a_good_checkpoint_the_log_has_everything(tmp_path: Path, how: str) -> None:
    path = tmp_path / "checkpoint"
    async with running_broker(tmp_path) as broker:
        first = await broker.connect("first")
        await retain(first, "a", b"0")
    old = path.read_bytes()
    async with running_broker(tmp_path) as broker:
        await keep_two(broker)
    if how == "missing":
        path.unlink()
    elif how == "damaged":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    elif how == "old":
        path.write_bytes(old)
    else:
        from broker.state.checkpoint import Checkpoint, write_checkpoint

        write_checkpoint(path, Checkpoint(next_seq=10**9, retained=[]))
    assert sorted(await restart(tmp_path)) == [("a", b"1", RETAIN), ("w", b"gone", RETAIN)]


async def test_a_bound_is_counted(tmp_path: Path) -> None:
    async with running_broker(tmp_path, config=replace(CONFIG, retained_messages_max=1)) as broker:
        client = await broker.connect("c")
        await retain(client, "a", b"1")
        await retain(client, "b", b"2")
        assert broker.statistics()["retained"] == {"messages": 1, "bytes": 2, "refused": 1}
        await client.subscribe("#")
        assert await settled(client, 1) == [("a", b"1", RETAIN)]
