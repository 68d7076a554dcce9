"""The broker is gone at every step of QoS 1 and QoS 2, in both directions: what comes back brings each message to its end.

A publisher and a subscriber, both with sessions that are kept, exchange messages through a broker whose disk is copied at each
step of each block: before it is written, when it is written and not synced, and when it is synced and nobody was told. With
each copy goes what the clients knew at that moment. A broker is then started on the copy, the clients come back with what
they knew, and go on to the end. QoS 1 arrives at least once, QoS 2 exactly once, both in order.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.broker_kit import CONFIG, GatedDisk, Running, running_broker
from tests.protocol import builder as b

TOPIC = "crash/t"
HOUR = b.p32(0x11, 3600)
DUP = 8


@dataclass
class Publisher:
    """What a publisher must remember: what is not done, by packet identifier."""

    waiting: dict[int, bytes] = field(default_factory=dict)
    """PUBLISH that was not answered."""
    released: list[int] = field(default_factory=list)
    """PUBREC came, PUBCOMP did not."""
    done: list[bytes] = field(default_factory=list)
    next_packet_id: int = 1


@dataclass
class Subscriber:
    """What a subscriber must remember: what it has had, and of which QoS 2 messages it waits for PUBREL."""

    is_subscribed: bool = False
    unreleased: set[int] = field(default_factory=set)
    got: list[bytes] = field(default_factory=list)


@dataclass
class World:
    publisher: Publisher = field(default_factory=Publisher)
    subscriber: Subscriber = field(default_factory=Subscriber)


class CopyingDisk(GatedDisk):
    """Copies the broker's folder at each step of each write, with the world as it was."""

    def __init__(self, folder: Path, copies: Path, world: World) -> None:
        super().__init__()
        self._folder = folder
        self._copies = copies
        self._world = world
        self.moments: list[tuple[str, Path, World]] = []

    def pwritev(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        self._copy("before the write")
        return super().pwritev(descriptor, buffers, offset)

    def fdatasync(self, descriptor: int) -> None:
        self._copy("before the sync")
        super().fdatasync(descriptor)
        self._copy("after the sync")

    def _copy(self, step: str) -> None:
        path = self._copies / str(len(self.moments))
        shutil.copytree(self._folder, path)
        self.moments.append((step, path, copy.deepcopy(self._world)))


class PublishingClient:
    """Publishes one message after the other, each to its end."""

    def __init__(self, state: Publisher, version: int, qos: int) -> None:
        self.state = state
        self._version = version
        self._qos = qos

    async def connect(self, broker: Running) -> None:
        self._peer = await broker.open(version=self._version)
        await self._peer.connect("publisher", clean=False, **_kept(self._version))
        for packet_id, packet in list(self.state.waiting.items()):
            await self._peer.send(bytes((packet[0] | DUP,)) + packet[1:])
            await self._finish(packet_id)
        for packet_id in list(self.state.released):
            await self._peer.send(b.ack(b.PUBREL, packet_id))
            await self._finish(packet_id)

    async def publish(self, payload: bytes) -> None:
        state = self.state
        packet_id, state.next_packet_id = state.next_packet_id, state.next_packet_id % 3 + 1
        packet = b.publish(
            TOPIC, payload, qos=self._qos, packet_id=packet_id, properties=b"" if self._version == 5 else None
        )
        state.waiting[packet_id] = packet
        state.done.append(payload)
        await self._peer.send(packet)
        await self._finish(packet_id)

    async def _finish(self, packet_id: int) -> None:
        state = self.state
        while packet_id in state.waiting or packet_id in state.released:
            packet = await self._peer.packet()
            assert packet is not None
            assert packet.packet_id == packet_id
            if packet.kind == b.PUBREC:
                del state.waiting[packet_id]
                state.released.append(packet_id)
                await self._peer.send(b.ack(b.PUBREL, packet_id))
            elif packet.kind == b.PUBCOMP:
                state.released.remove(packet_id)
            else:
                assert packet.kind == b.PUBACK
                del state.waiting[packet_id]


class SubscribingClient:
    """Takes what comes, and answers as the specification says."""

    def __init__(self, state: Subscriber, version: int, qos: int) -> None:
        self.state = state
        self._version = version
        self._qos = qos

    async def connect(self, broker: Running) -> None:
        self._peer = await broker.open(version=self._version)
        connack = await self._peer.connect("subscriber", clean=False, **_kept(self._version))
        if self.state.is_subscribed:
            assert connack.body[0] == 1, "a session that was acknowledged is there"
        else:
            await self._peer.send(
                b.subscribe(1, (TOPIC, self._qos), properties=b"" if self._version == 5 else None)
            )
            while (packet := await self._peer.packet()) is not None and packet.kind != b.SUBACK:
                await self._handle(packet.first, packet.body)
            self.state.is_subscribed = True

    async def take_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            packet = await self._peer.packet()
            assert packet is not None
            await self._handle(packet.first, packet.body)

    async def leave(self) -> None:
        await self._peer.send(b.disconnect())
        while (packet := await self._peer.packet()) is not None:
            await self._handle(packet.first, packet.body)

    async def _handle(self, first: int, body: bytes) -> None:
        state = self.state
        if first & 0xF0 == b.PUBREL & 0xF0:
            packet_id = int.from_bytes(body[:2], "big")
            state.unreleased.discard(packet_id)
            await self._peer.send(b.ack(b.PUBCOMP, packet_id))
            return
        assert first & 0xF0 == b.PUBLISH
        at = 2 + int.from_bytes(body[:2], "big")
        packet_id = int.from_bytes(body[at : at + 2], "big")
        payload = body[at + 2 + (1 if self._version == 5 else 0) :]
        if first >> 1 & 3 == 1:
            state.got.append(payload)
            await self._peer.send(b.ack(b.PUBACK, packet_id))
            return
        if packet_id not in state.unreleased:
            state.unreleased.add(packet_id)
            state.got.append(payload)
        await self._peer.send(b.ack(b.PUBREC, packet_id))


def _kept(version: int) -> dict[str, Any]:
    return {"properties": HOUR} if version == 5 else {}


async def story(broker: Running, world: World, version: int, qos: int) -> None:
    """Live messages, some while the subscriber is away, and again live ones."""
    publisher = PublishingClient(world.publisher, version, qos)
    subscriber = SubscribingClient(world.subscriber, version, qos)
    got = world.subscriber.got
    await subscriber.connect(broker)
    await publisher.connect(broker)
    for number in range(2):
        await publisher.publish(b"live %d" % number)
    await subscriber.take_until(lambda: len(got) == 2 and not world.subscriber.unreleased)
    await subscriber.leave()
    for number in range(2):
        await publisher.publish(b"away %d" % number)
    await subscriber.connect(broker)
    await subscriber.take_until(lambda: len(got) == 4 and not world.subscriber.unreleased)
    await publisher.publish(b"last")
    await subscriber.take_until(lambda: len(got) == 5 and not world.subscriber.unreleased)


async def go_on(folder: Path, world: World, version: int, qos: int) -> None:
    """The clients come back, finish what they had begun, and exchange one more."""
    async with running_broker(folder, config=replace(CONFIG, sys_interval_s=0)) as broker:
        publisher = PublishingClient(world.publisher, version, qos)
        subscriber = SubscribingClient(world.subscriber, version, qos)
        await subscriber.connect(broker)
        await publisher.connect(broker)
        await publisher.publish(b"end")
        await subscriber.take_until(
            lambda: b"end" in world.subscriber.got and not world.subscriber.unreleased
        )


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [1, 2])
async def test_gone_at_every_step(tmp_path: Path, version: int, qos: int) -> None:
    world = World()
    folder = tmp_path / "broker"
    folder.mkdir()
    disk = CopyingDisk(folder, tmp_path, world)
    async with running_broker(folder, disk=disk, config=replace(CONFIG, sys_interval_s=0)) as broker:
        await story(broker, world, version, qos)
        count = len(disk.moments)
    assert count >= 30, "each block is copied three times"
    for step, copied, known in disk.moments[:count]:
        began = list(known.subscriber.got)
        with trio.fail_after(60):
            await go_on(copied, known, version, qos)
        where = f"{step}, {copied.name} of {count}: {began} → {known.subscriber.got}"
        got, expected = known.subscriber.got, known.publisher.done
        if qos == 2:
            assert len(got) == len(set(got)), f"twice: {where}"
        firsts = list(dict.fromkeys(got))
        # What was published before the subscription was acknowledged need not arrive.
        assert firsts == expected[len(expected) - len(firsts) :], f"order, or lost: {where}"
        if began or known.subscriber.is_subscribed:
            assert set(expected) == set(got), f"lost: {where}"
