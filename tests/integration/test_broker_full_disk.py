"""The disk fills up: who is told no, who waits, what goes on, and that everything comes back by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import broker.committer
from appliance.core.errors import LogFull
from storage.log.columns import Kind
from storage.log.disk_level import DiskLevel, DiskLevels, Space
from storage.log.housekeeping import KeepingRules
from storage.log.verify import verify
from tests.broker_kit import GatedDisk, Peer, Running, running_broker
from tests.protocol import builder

RULES = KeepingRules(levels=DiskLevels(), ballast_bytes=0, keep_percent=0, quota_percent=0)
QUOTA_EXCEEDED = 0x97


class FillingDisk(GatedDisk):
    """A file system whose used share is told."""

    used_percent = 10.0

    def space(self, path: Path) -> Space:
        return Space(total_bytes=1_000_000, free_bytes=int(10_000 * (100 - self.used_percent)))


@asynccontextmanager
async def on_a_filling_disk(directory: Path) -> AsyncIterator[tuple[Running, FillingDisk]]:
    disk = FillingDisk()
    async with running_broker(directory, disk=disk) as running:
        running.writer.keep_house(RULES)
        yield running, disk


async def fill(running: Running, disk: FillingDisk, percent: float, level: DiskLevel) -> None:
    disk.used_percent = percent
    await running.wait_until(lambda: running.writer.housekeeping.level is level)


async def quiet(peer: Peer, for_s: float = 0.7) -> bool:
    """Whether a peer hears nothing, for longer than housekeeping takes to look again."""
    with trio.move_on_after(for_s):
        await peer.packet()
        return False
    return True


async def refused(peer: Peer, packet: bytes, kind: int, packet_id: int) -> None:
    await peer.send(packet)
    answer = await peer.expect(kind)
    assert (answer.packet_id, answer.body[2]) == (packet_id, QUOTA_EXCEEDED)


async def test_devices_of_mqtt_5_are_told_and_control_goes_on(tmp_path: Path) -> None:
    async with on_a_filling_disk(tmp_path) as (running, disk):
        device = await running.connect("d", username="d", version=5)
        site = await running.connect("site", version=5)
        await site.subscribe("dm/#")
        await device.publish("dm/d/telemetry", b"before")
        assert (await site.message()).payload == b"before"
        await fill(running, disk, 93, DiskLevel.HOLD)
        await refused(device, device.publish_packet("dm/d/telemetry", b"no", packet_id=3), builder.PUBACK, 3)
        for _ in range(2):  # the identifier is free again each time
            packet = device.publish_packet("dm/d/telemetry", b"no", qos=2, packet_id=4)
            await refused(device, packet, builder.PUBREC, 4)
        await device.send(device.publish_packet("dm/d/telemetry", b"dropped", qos=0))
        await device.ping()
        await device.subscribe("dm/d/commands")
        await site.publish("dm/d/commands", b"control")
        assert (await device.message()).payload == b"control"
        late = await running.connect("late", username="late", version=5)
        await refused(late, late.publish_packet("dm/late/telemetry", b"no", packet_id=1), builder.PUBACK, 1)
        held = running.statistics()["held"]
        assert held == {"clients": 0, "refused_messages": 4, "dropped_messages": 1}
        assert running.statistics()["log"]["housekeeping"]["disk_level_name"] == "hold"
        await fill(running, disk, 91, DiskLevel.HOLD)
        await refused(device, device.publish_packet("dm/d/telemetry", b"no", packet_id=5), builder.PUBACK, 5)
        await fill(running, disk, 50, DiskLevel.OK)
        puback = await device.publish("dm/d/telemetry", b"after", packet_id=6)
        assert len(puback.body) == 2 or puback.body[2] == 0
        assert [(await site.message()).payload for _ in range(2)] == [b"control", b"after"]
    published = [payload for *_, payload in running.records(Kind.PUBLISH)]
    assert published == [b"before", b"control", b"after"]
    assert verify(running.directory).ok


async def test_older_devices_wait_and_lose_nothing(tmp_path: Path) -> None:
    """No acknowledgement, no reading on, no keep alive held against them; in order afterwards."""
    async with on_a_filling_disk(tmp_path) as (running, disk):
        device = await running.connect("d", username="d", keep_alive=1)
        pinging = await running.connect("p", username="p", keep_alive=1)
        await fill(running, disk, 93, DiskLevel.HOLD)
        packets = [device.publish_packet("dm/d/telemetry", b"%d" % n, packet_id=n) for n in (1, 2, 3)]
        await device.send(builder.PINGREQ_PACKET + packets[0] + packets[1])
        assert (await device.expect(builder.PINGRESP)).kind == builder.PINGRESP
        await running.wait_until(lambda: running.statistics()["held"]["clients"] == 1)
        await device.send(packets[2])
        for _ in range(5):
            await pinging.ping()
            assert await quiet(device)
        assert running.statistics()["plane"]["closed_by_reason"] == {}
        await fill(running, disk, 50, DiskLevel.OK)
        assert [(await device.expect(builder.PUBACK)).packet_id for _ in packets] == [1, 2, 3]
        assert running.statistics()["held"] == {"clients": 0, "refused_messages": 0, "dropped_messages": 0}
    assert [payload for *_, payload in running.records(Kind.PUBLISH)] == [b"1", b"2", b"3"]


async def test_a_held_client_that_goes_away_is_let_go(tmp_path: Path) -> None:
    async with on_a_filling_disk(tmp_path) as (running, disk):
        device = await running.connect("d", username="d")
        await fill(running, disk, 93, DiskLevel.HOLD)
        await device.send(device.publish_packet("dm/d/telemetry", b"x"))
        await running.wait_until(lambda: running.statistics()["held"]["clients"] == 1)
        device.drop()
        await running.wait_until(lambda: running.statistics()["plane"]["connections"] == 0)
        assert running.statistics()["held"]["clients"] == 0


async def test_a_held_client_that_says_goodbye_leaves_no_will(tmp_path: Path) -> None:
    async with on_a_filling_disk(tmp_path) as (running, disk):
        will = builder.will_fields("dm/d/gone", b"gone")
        device = await running.connect("d", username="d", will=will, will_flags=4)
        await fill(running, disk, 93, DiskLevel.HOLD)
        await device.send(device.publish_packet("dm/d/telemetry", b"x"))
        await running.wait_until(lambda: running.statistics()["held"]["clients"] == 1)
        await device.send(device.publish_packet("dm/d/telemetry", b"y", packet_id=2) + builder.disconnect())
        device.drop()
        await running.wait_until(lambda: running.statistics()["plane"]["connections"] == 0)
        assert running.statistics()["plane"]["closed_by_reason"] == {"client_disconnect": 1}
    assert running.records(Kind.SERVER_PUBLISH) == []


async def test_at_read_only_nothing_is_written_and_everybody_is_told(tmp_path: Path) -> None:
    async with on_a_filling_disk(tmp_path) as (running, disk):
        site = await running.connect("site", version=5)
        old = await running.connect("old")
        await fill(running, disk, 96, DiskLevel.READ_ONLY)
        next_seq = running.writer.head.next_seq
        await refused(site, site.publish_packet("t", b"no", packet_id=3), builder.PUBACK, 3)
        await old.send(old.publish_packet("t", b"waits", packet_id=4))
        waiting = await running.open(version=5)
        await waiting.send(builder.connect("waiting", version=5, username="site", password=b"t"))
        assert await quiet(old)
        assert await quiet(waiting)
        await site.ping()
        assert running.writer.head.next_seq == next_seq
        await fill(running, disk, 50, DiskLevel.OK)
        assert (await old.expect(builder.PUBACK)).packet_id == 4
        await waiting.expect(builder.CONNACK)
        await site.publish("t", b"yes")
    assert [payload for *_, payload in running.records(Kind.PUBLISH)] == [b"waits", b"yes"]


async def test_a_block_without_space_is_told_to_mqtt_5_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full at once, before its level was looked at: whoever isn't in the block that waits is told."""
    monkeypatch.setattr(broker.committer.Committer.__init__, "__kwdefaults__", {"space_retry_s": 0.01})
    async with running_broker(tmp_path) as running:
        first = await running.connect("first", version=5)
        second = await running.connect("second", version=5)
        append, is_full = running.writer.append, True

        def refuse(*job: Any) -> Any:
            if is_full:
                raise LogFull("no room", hint="Free space.")
            return append(*job)

        monkeypatch.setattr(running.writer, "append", refuse)
        await first.send(first.publish_packet("t", b"in the block", packet_id=9))
        await running.wait_until(lambda: running.statistics()["plane"]["log_is_full"])
        await refused(second, second.publish_packet("t", b"no", packet_id=2), builder.PUBACK, 2)
        await first.send(first.publish_packet("t", b"behind it", packet_id=10))
        assert await quiet(first), "an answer would overtake the one that waits"
        is_full = False
        assert [(await first.expect(builder.PUBACK)).packet_id for _ in range(2)] == [9, 10]
    assert [payload for *_, payload in running.records(Kind.PUBLISH)] == [b"in the block", b"behind it"]


async def test_a_bridge_is_held_back_like_the_devices_behind_it(tmp_path: Path) -> None:
    async with on_a_filling_disk(tmp_path) as (running, disk):
        bridge = await running.open()
        await bridge.send(builder.connect("bridge", version=0x84, username="site", password=b"t"))
        await bridge.expect(builder.CONNACK)
        await fill(running, disk, 93, DiskLevel.HOLD)
        await bridge.send(bridge.publish_packet("dm/x/telemetry", b"x"))
        await running.wait_until(lambda: running.statistics()["held"]["clients"] == 1)
        assert await quiet(bridge)
        await fill(running, disk, 50, DiskLevel.OK)
        await bridge.expect(builder.PUBACK)
