"""Clients of the whole broker over real sockets: messages, wills, keep alive, takeover, limits of one connection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from appliance.core.clock import ManualClock
from storage.log.columns import Kind
from tests.broker_kit import CONFIG, Message, Running, running_broker
from tests.protocol import builder

VERSIONS = pytest.mark.parametrize("version", [4, 5])


def wills_of(broker: Running) -> list[tuple[str, bytes, bytes]]:
    return [record[1:] for record in broker.records(Kind.SERVER_PUBLISH)]


def closings_of(broker: Running) -> dict[str, dict[str, Any]]:
    return {client: msgpack.unpackb(payload) for _, client, _, payload in broker.records(Kind.SESSION_CLOSED)}


@VERSIONS
async def test_messages_both_ways(tmp_path: Path, version: int) -> None:
    async with running_broker(tmp_path) as broker:
        publisher = await broker.connect("publisher", version=version)
        subscriber = await broker.connect("subscriber", version=version)
        await subscriber.subscribe("a/+/c", "d/#")
        await publisher.publish("a/b/c", b"one", packet_id=5)
        await publisher.send(publisher.publish_packet("d", b"two", qos=0))
        await publisher.publish("a/b/x", b"not wanted")
        await publisher.publish("d/e/f", b"three")
        assert await subscriber.message() == Message("a/b/c", b"one", 1, 1, b"")
        assert await subscriber.message() == Message("d", b"two", 0, 0, b"")
        assert await subscriber.message() == Message("d/e/f", b"three", 1, 2, b"")
        await subscriber.send(builder.ack(builder.PUBACK, 1), builder.ack(builder.PUBACK, 2))
        await subscriber.send(
            builder.unsubscribe(3, "a/+/c", properties=b"" if version == 5 else None),
        )
        await subscriber.expect(builder.UNSUBACK)
        await publisher.publish("a/b/c", b"four")
        await publisher.publish("d", b"five")
        assert (await subscriber.message()).payload == b"five"
        plane = broker.statistics()["plane"]
        assert plane["received_messages"] == plane["acknowledged_messages"] + 1 == 6
        assert plane["delivered_messages"] == 4
        assert plane["connections"] == 2
        assert plane["subscriptions"] == 1


async def test_system_topics_are_apart(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        publisher = await broker.connect("publisher")
        everything = await broker.connect("everything")
        await everything.subscribe("#", "+/x")
        named = await broker.connect("named")
        await named.subscribe("$other/#")
        await publisher.publish("$other/x", b"apart")
        await publisher.publish("plain/x", b"plain")
        assert (await named.message()).payload == b"apart"
        assert (await everything.message()).payload == b"plain"


async def test_properties_reach_mqtt_5_and_only_that(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        publisher = await broker.connect("publisher", version=5)
        new = await broker.connect("new", version=5)
        old = await broker.connect("old", version=4)
        for subscriber in (new, old):
            await subscriber.subscribe("t")
        properties = builder.puser("traceparent", "00-abc") + builder.p8(1, 1)
        await publisher.send(builder.publish("t", b"x", qos=1, packet_id=1, properties=properties))
        assert (await new.message()).properties == properties
        assert (await old.message()).payload == b"x"


async def test_no_local(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        own = await broker.connect("own", version=5)
        await own.subscribe("t", options=4)
        other = await broker.connect("other", version=5)
        await own.publish("t", b"mine")
        await other.publish("t", b"theirs")
        assert (await own.message()).payload == b"theirs"


class TestWill:
    WILL = builder.will_fields("will/a", b"gone")

    async def test_on_a_lost_connection(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path) as broker:
            watcher = await broker.connect("watcher")
            await watcher.subscribe("will/#")
            client = await broker.connect("a", will=self.WILL, will_flags=0x0C)
            client.drop()
            assert await watcher.message() == Message("will/a", b"gone", 1, 1, b"")
        assert wills_of(broker) == [("a", b"will/a", b"gone")]
        assert closings_of(broker)["a"]["reason"] == "connection_lost"

    async def test_not_on_disconnect(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path) as broker:
            client = await broker.connect("a", will=self.WILL, will_flags=0x04)
            await client.send(builder.disconnect())
            assert await client.disconnected() is None
        assert wills_of(broker) == []
        assert closings_of(broker)["a"]["reason"] == "client_disconnect"

    async def test_on_disconnect_with_will(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path) as broker:
            fields = builder.will_fields(
                "will/a", b"gone", properties=builder.p32(0x18, 3600) + builder.puser("k", "v")
            )
            client = await broker.connect("a", version=5, will=fields, will_flags=0x04)
            watcher = await broker.connect("watcher", version=5)
            await watcher.subscribe("will/#")
            await client.send(builder.disconnect(0x04))
            message = await watcher.message()
            assert message == Message("will/a", b"gone", 0, 0, builder.puser("k", "v"))

    async def test_a_will_as_large_as_they_come(self, tmp_path: Path) -> None:
        """Of 60 KB, and larger than a batch has room for beside others."""
        async with running_broker(tmp_path) as broker:
            watcher = await broker.connect("watcher")
            await watcher.subscribe("#", qos=0)
            topic = "w/" + "t" * 60_000
            for number in range(10):
                will = builder.will_fields(topic + str(number), b"x" * 60_000)
                client = await broker.connect(f"c{number}", will=will, will_flags=0x04)
                client.drop()
            found = {(await watcher.message()).topic for _ in range(10)}
            assert found == {topic + str(number) for number in range(10)}
        assert len(wills_of(broker)) == 10


class TestKeepAlive:
    async def test_one_and_a_half_times(self, tmp_path: Path) -> None:
        clock = ManualClock()
        async with running_broker(tmp_path, clock=clock) as broker:
            silent = await broker.connect("silent", version=5, keep_alive=10)
            lively = await broker.connect("lively", keep_alive=10)
            never = await broker.connect("never", keep_alive=0)
            clock.advance(14_000)
            await lively.ping()
            clock.advance(1_500)
            broker.server.plane.wake()
            assert await silent.disconnected() == 0x8D
            await lively.ping()
            await never.ping()
        closing = closings_of(broker)["silent"]
        assert closing["reason"] == "keep_alive"
        assert closing["last_packet_at_ms"] == clock.now_ms() - 15_500

    async def test_time_that_a_disk_stood_still_is_not_held_against_anybody(self, tmp_path: Path) -> None:
        clock = ManualClock()
        async with running_broker(tmp_path, clock=clock) as broker:
            clients = [await broker.connect(f"c{n}", keep_alive=10) for n in range(40)]
            broker.disk.shut()
            for client in clients:  # five times what one block takes: most of it stays in the kernel
                await client.send(*[client.publish_packet("t", b"x" * 1000, qos=0)] * 60)
                await client.send(client.publish_packet("t", b"last"))
            await broker.wait_until(broker.disk.waiting.is_set)
            clock.advance(20_000)
            broker.disk.open_gate()
            for client in clients:
                await client.expect(builder.PUBACK)

    async def test_a_wall_clock_that_is_set_moves_no_keep_alive(self, tmp_path: Path) -> None:
        clock = ManualClock()
        async with running_broker(tmp_path, clock=clock) as broker:
            client = await broker.connect("c", keep_alive=10)
            for now_ms in (4_000_000_000_000, 0, 1_700_000_000_000):
                clock.set_wall(now_ms)
                await client.publish("t", b"x")


class TestOneClientId:
    async def test_takeover_by_the_same_principal(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path) as broker:
            older = await broker.connect("c", version=5)
            await older.subscribe("t")
            newer = await broker.connect("c", version=5)
            assert await older.disconnected() == 0x8E
            await newer.publish("t", b"x")
            assert broker.statistics()["plane"]["connections"] == 1
            assert broker.statistics()["plane"]["subscriptions"] == 0
        assert [kind for kind, client, _, _ in broker.records() if client == "c"] == [
            Kind.SESSION_OPENED,
            Kind.SESSION_CLOSED,
            Kind.SESSION_OPENED,
            Kind.PUBLISH,
            Kind.SESSION_CLOSED,
        ]

    @pytest.mark.parametrize(("version", "code"), [(4, 2), (5, 0x85)])
    async def test_not_by_another_one(self, tmp_path: Path, version: int, code: int) -> None:
        async with running_broker(tmp_path) as broker:
            first = await broker.connect("c", username="dev1")
            other = await broker.open(version=version)
            assert await other.refused("c", username="dev2") == code
            await first.ping()

    async def test_taken_over_before_it_was_told_yes(self, tmp_path: Path) -> None:
        """Both CONNECTs wait for the disk; the older one gets no CONNACK."""
        async with running_broker(tmp_path) as broker:
            blocker = await broker.connect("blocker")
            broker.disk.shut()
            await blocker.send(blocker.publish_packet("t", b"x"))
            await broker.wait_until(broker.disk.waiting.is_set)
            older, newer = await broker.open(version=5), await broker.open(version=5)
            for peer in (older, newer):
                await peer.send(builder.connect("c", version=5, username="site", password=b"token"))
                await broker.wait_until(lambda: broker.server.plane.owner_of("c") is not None)
            assert await older.packet() is None
            broker.disk.open_gate()
            assert (await newer.expect(builder.CONNACK)).body[1] == 0


class TestAccess:
    async def test_devices_stay_among_themselves(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path, patterns=["site/+/{device}/data"]) as broker:
            device = await broker.connect("d", username="dev1", version=5)
            assert (await device.publish("dm/dev1/telemetry", b"x")).body[2:] in (b"", b"\0", b"\0\0")
            await device.publish("site/4/dev1/data", b"x")
            refusal = await device.publish("dm/dev2/telemetry", b"x", packet_id=9)
            assert refusal.body[2] == 0x87
            suback = await device.subscribe("dm/dev1/#", "dm/dev2/#", "#")
            assert suback.body[-3:] == b"\x01\x87\x87"
            assert broker.statistics()["plane"]["refused_messages"] == 1
        assert {topic for _, _, topic, _ in broker.records(Kind.PUBLISH)} == {
            b"dm/dev1/telemetry",
            b"site/4/dev1/data",
        }

    async def test_3_1_1_has_no_word_for_it(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path) as broker:
            device = await broker.connect("d", username="dev1")
            await device.send(device.publish_packet("dm/dev2/telemetry", b"x"))
            assert await device.packet() is None
        assert closings_of(broker)["d"]["code"] == 0x87

    @pytest.mark.parametrize(("version", "code"), [(4, 4), (5, 0x86)])
    async def test_a_wrong_token(self, tmp_path: Path, version: int, code: int) -> None:
        async with running_broker(tmp_path) as broker:
            peer = await broker.open(version=version)
            assert await peer.refused("c", password=b"wrong") == code
            assert broker.statistics()["listeners"]["refused_by_code"] == {"bad_credentials": 1}


class TestLimits:
    async def test_receive_maximum(self, tmp_path: Path) -> None:
        """The 11th unacknowledged PUBLISH is one too many, and nothing behind it is done."""
        async with running_broker(tmp_path, config=replace(CONFIG, receive_maximum=10)) as broker:
            client = await broker.connect("c", version=5)
            broker.disk.shut()
            publishes = [client.publish_packet("t", b"x", packet_id=n) for n in range(1, 12)]
            await client.send(*publishes, builder.subscribe(1, ("a/#", 1), properties=b""))
            assert await client.disconnected() == 0x93
            assert broker.statistics()["plane"]["subscriptions"] == 0
            broker.disk.open_gate()
            other = await broker.connect("other", version=5)
            for _ in range(3):
                await other.send(*publishes[:10])
                for _ in range(10):
                    await other.expect(builder.PUBACK)

    async def test_packets_that_are_too_large(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path, config=replace(CONFIG, packet_bytes_max=2000)) as broker:
            for packet in (
                builder.packet(0x32, length=2001),
                builder.packet(0x82, length=2001),
                builder.publish("t", b"x" * 3000, properties=b""),
            ):
                client = await broker.connect("c", version=5)
                await client.send(packet)
                assert await client.disconnected() == 0x95

    async def test_a_packet_of_1_mib_in_small_pieces(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path) as broker:
            client = await broker.connect("c")
            subscriber = await broker.connect("s")
            await subscriber.subscribe("t", qos=0)
            payload = bytes(range(256)) * 4080
            packet = client.publish_packet("t", payload)
            for start in range(0, len(packet), 1000):
                await client.send(packet[start : start + 1000])
            await client.expect(builder.PUBACK)
            assert (await subscriber.message()).payload == payload
            await client.publish("t", b"small")
        assert [payload for *_, payload in broker.records(Kind.PUBLISH)] == [payload, b"small"]

    async def test_a_topic_of_65535_bytes(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path) as broker:
            client = await broker.connect("c")
            subscriber = await broker.connect("s")
            await subscriber.subscribe("#")
            topic = "é" * 32_767 + "x"
            for _ in range(3):
                await client.publish(topic, b"x")
                assert (await subscriber.message()).topic == topic

    async def test_what_comes_behind_connect_at_once(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path) as broker:
            peer = await broker.open()
            connect = builder.connect("c", username="site", password=b"t")
            await peer.send(connect, *(peer.publish_packet("t", b"x", packet_id=n) for n in range(1, 500)))
            await peer.expect(builder.CONNACK)
            acks = [(await peer.expect(builder.PUBACK)).packet_id for _ in range(1, 500)]
            assert acks == list(range(1, 500))
