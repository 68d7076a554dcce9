"""Limits, each with a bystander who must not notice: who is too fast, too slow, too many or too large."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.config import BrokerConfig
from appliance.core.limits import MIB
from tests.broker_kit import CONFIG, Running, running_broker
from tests.protocol import builder


def reached(broker: Running) -> dict[str, int]:
    """The limits that somebody ran into, and how often."""
    return {name: count for name, count in broker.statistics()["limits"].items() if count}


class TestTooFast:
    @pytest.mark.parametrize(
        ("config", "limit"),
        [
            (
                replace(CONFIG, device_bytes_per_s_max=10_000, device_messages_per_s_max=0),
                "device_bytes_per_s_max",
            ),
            (
                replace(CONFIG, device_messages_per_s_max=100, device_bytes_per_s_max=0),
                "device_messages_per_s_max",
            ),
        ],
        ids=["bytes", "messages"],
    )
    async def test_a_device_is_read_from_no_faster_than_its_rate(
        self, tmp_path: Path, config: BrokerConfig, limit: str
    ) -> None:
        """Its bytes wait in its own socket; the others notice nothing, and when time has passed all of it is taken."""
        clock = ManualClock()
        async with (
            running_broker(tmp_path, config=config, clock=clock) as broker,
            trio.open_nursery() as nursery,
        ):
            flood = await broker.connect("flood", username="dev1", version=5, keep_alive=1)
            quiet = await broker.connect("quiet", username="dev2")
            count = 1000
            await flood.send(
                b"".join(flood.publish_packet("dm/dev1/x", b"x" * 87, packet_id=n + 1) for n in range(count))
            )
            await broker.wait_until(lambda: limit in reached(broker))
            await quiet.publish("dm/dev2/x", b"here")
            taken = broker.statistics()["plane"]["received_messages"]
            assert taken < 500, "no more than two seconds' worth and one read"
            assert not (set(reached(broker)) - {limit})
            acknowledged = 0

            async def acknowledgements() -> None:
                nonlocal acknowledged
                while acknowledged < count:
                    await flood.expect(builder.PUBACK)
                    acknowledged += 1

            nursery.start_soon(acknowledgements)
            # Longer than one and a half times its keep alive, during which nobody listens to it.
            packet_id = 1
            while acknowledged < count:
                clock.advance(200)
                packet_id += 1
                await quiet.publish("dm/dev2/x", b"here", packet_id=packet_id)
            plane = broker.statistics()["plane"]
            assert plane["received_messages"] == count + packet_id
            assert plane["closed_by_reason"] == {}
            assert packet_id * 200 >= 7_000, (
                "1,000 messages of 100 bytes, of which two seconds' worth came at once"
            )

    async def test_an_application_has_a_limit_of_its_own(self, tmp_path: Path) -> None:
        config = replace(CONFIG, device_messages_per_s_max=1, application_messages_per_s_max=0)
        async with running_broker(tmp_path, config=config, clock=ManualClock()) as broker:
            site = await broker.connect("site")
            await site.send(*(site.publish_packet("t", b"", packet_id=n) for n in range(1, 2000)))
            for _ in range(1, 2000):
                await site.expect(builder.PUBACK)
            assert reached(broker) == {}

    async def test_whoever_leaves_in_a_pause_leaves_nothing_behind(self, tmp_path: Path) -> None:
        config = replace(CONFIG, device_bytes_per_s_max=1000)
        clock = ManualClock()
        async with running_broker(tmp_path, config=config, clock=clock) as broker:
            flood = await broker.connect("flood", username="dev1")
            await flood.send(flood.publish_packet("dm/dev1/x", b"x" * 3_500))
            await flood.expect(builder.PUBACK)
            intake = broker.server.plane._intake
            await broker.wait_until(lambda: intake.paused_count == 1)
            assert broker.server.administration.kick("flood")
            assert intake.paused_count == 0
            clock.advance(60_000)
            await (await broker.connect("other", username="dev2")).publish("dm/dev2/x", b"x")


class TestStalledPackets:
    @pytest.mark.parametrize("version", [4, 5])
    async def test_a_packet_that_never_ends_is_broken_off(self, tmp_path: Path, version: int) -> None:
        """A byte now and then keeps no connection alive: a packet has to come whole in time."""
        clock = ManualClock()
        config = replace(CONFIG, packet_timeout_ms=5_000)
        async with running_broker(tmp_path, config=config, clock=clock) as broker:
            slow = await broker.connect("slow", version=version, keep_alive=4)
            whole = await broker.connect("whole", version=version, keep_alive=4)
            quiet = await broker.connect("quiet")
            packet = slow.publish_packet("t", b"x" * 100_000)
            connection = broker.server.plane._by_client_id["slow"]
            for at in range(12):
                await slow.send(packet[at : at + 1])
                # A slow one that keeps at it: many packets, each of which ends in time.
                other = whole.publish_packet("t", b"y" * 20, packet_id=at + 1)
                await whole.send(other[:7])
                if at:
                    await broker.wait_until(lambda: connection.fd < 0 or len(connection.waiting) > 1)
                clock.advance(600)
                await quiet.publish("t", b"here", packet_id=at + 1)
                await whole.send(other[7:])
                await whole.expect(builder.PUBACK)
                if connection.fd < 0:
                    break
            assert await slow.disconnected() == (0x8D if version == 5 else None)
            assert reached(broker) == {"packet_timeout_ms": 1}
            assert broker.statistics()["plane"]["connections"] == 2

    async def test_a_packet_is_given_the_time_it_needs(self, tmp_path: Path) -> None:
        clock = ManualClock()
        async with running_broker(tmp_path, clock=clock) as broker:
            client = await broker.connect("c")
            packet = client.publish_packet("t", b"x" * 200_000)
            for at in range(0, len(packet), 50_000):
                await client.send(packet[at : at + 50_000])
                clock.advance(10_000)
            await client.expect(builder.PUBACK)
            assert reached(broker) == {}


class TestShares:
    @pytest.mark.parametrize(
        ("username", "key", "version", "code"),
        [
            ("dev1", "connections_per_device_max", 5, 0x97),
            ("dev1", "connections_per_device_max", 4, 3),
            ("site1", "connections_per_application_max", 5, 0x97),
            ("dev1", "connections_per_address_max", 5, 0x97),
            ("site1", "connections_per_address_max", 4, 3),
        ],
    )
    async def test_one_client_takes_no_more_than_its_share(
        self, tmp_path: Path, username: str, key: str, version: int, code: int
    ) -> None:
        config = replace(CONFIG, **{key: 2})  # type: ignore[arg-type]
        async with running_broker(tmp_path, config=config) as broker:
            clients = [await broker.connect(f"c{n}", username=username, version=version) for n in range(2)]
            for number in range(5):
                peer = await broker.open(version=version)
                assert await peer.refused(f"more{number}", username=username) == code
            again = await broker.connect("c0", username=username, version=version)
            await again.publish(f"dm/{username}/x", b"it took its own place over")
            assert reached(broker) == {key: 5}
            await clients[1].send(builder.disconnect())
            await clients[1].disconnected()
            other = await broker.connect("other", username="dev2")
            await other.publish("dm/dev2/x", b"x")

    async def test_subscriptions_of_all_together(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path, config=replace(CONFIG, subscriptions_max=10)) as broker:
            other = await broker.connect("other")
            await other.subscribe("a")
            greedy = await broker.connect("greedy", version=5)
            codes = (await greedy.subscribe(*(f"f/{n}" for n in range(12)))).body[3:]
            assert codes == b"\x01" * 9 + b"\x97" * 3
            assert (await greedy.subscribe("f/1")).body[3:] == b"\x01", "one that is there may be renewed"
            assert reached(broker) == {"subscriptions_max": 3}
            greedy.drop()
            await broker.wait_until(lambda: broker.statistics()["plane"]["subscriptions"] == 1)
            assert (await other.subscribe("b")).body[2:] == b"\x01"
            await other.send(other.publish_packet("a", b"x"))
            kinds = {packet.kind for packet in [await other.packet(), await other.packet()] if packet}
            assert kinds == {builder.PUBACK, builder.PUBLISH}

    @pytest.mark.parametrize(
        ("packet", "limit"),
        [
            (builder.packet(0x30, length=2 * MIB), "packet_bytes_max"),
            (builder.packet(0x30, builder.u16(1), length=2 * MIB), "packet_bytes_max"),
            (builder.packet(0x82, length=2 * MIB), "packet_bytes_max"),
            (builder.publish("a", properties=builder.p16(0x23, 17)), "topic_alias_max"),
            (builder.publish("a/" * 40, properties=b""), "topic_level_count_max"),
            (builder.publish("a" * 513, properties=builder.p16(0x23, 1)), "topic_alias_topic_bytes_max"),
            (builder.subscribe(1, ("a/" * 40, 1), properties=b""), "topic_level_count_max"),
            (builder.publish("a", properties=builder.puser("k", "v") * 65), "user_property_count_max"),
            (builder.subscribe(1, *((f"{n}", 1) for n in range(1100)), properties=b""), "subscription_count_max"),
        ],
        ids=["size", "size of one begun", "size of SUBSCRIBE", "alias", "levels", "topic of an alias", "levels of a filter", "user properties", "filters"],
    )  # fmt: skip
    async def test_a_packet_beyond_a_limit_is_counted_by_its_name(
        self, tmp_path: Path, packet: bytes, limit: str
    ) -> None:
        async with running_broker(tmp_path) as broker:
            other = await broker.connect("other")
            bad = await broker.connect("bad", version=5)
            await bad.send(packet)
            assert await bad.disconnected() in (0x90, 0x8F, 0x94, 0x95, 0x97)
            assert reached(broker) == {limit: 1}
            await other.publish("t", b"x")

    @pytest.mark.parametrize(
        ("connect", "limit"),
        [
            (builder.connect("c" * 257, version=5), "client_id_bytes_max"),
            (builder.connect("c", version=5, username="u" * 257), "user_name_bytes_max"),
            (builder.connect("c", version=5, username="u", password=b"p" * 4097), "password_bytes_max"),
            (builder.packet(0x10, length=MIB), "connect_bytes_max"),
        ],
        ids=["client id", "user name", "password", "all of it"],
    )
    async def test_a_connect_beyond_a_limit_is_counted_by_its_name(
        self, tmp_path: Path, connect: bytes, limit: str
    ) -> None:
        async with running_broker(tmp_path) as broker:
            other = await broker.connect("other")
            stranger = await broker.open(version=5)
            await stranger.send(connect)
            while await stranger.packet() is not None:
                pass
            assert reached(broker) == {limit: 1}
            await other.publish("t", b"x")

    async def test_at_the_door(self, tmp_path: Path) -> None:
        """Silent strangers, too many connects: counted under the key that an operator can change."""
        config = replace(CONFIG, connect_rate_per_address_max=2, connect_timeout_ms=100)
        async with running_broker(tmp_path, config=config, clock=ManualClock()) as broker:
            other = await broker.connect("other")
            silent = await broker.open()
            assert await silent.packet() is None
            third = await broker.open()
            await third.refused("third")
            assert reached(broker) == {"connect_timeout_ms": 1, "connect_rate_per_address_max": 1}
            await other.publish("t", b"x")

    async def test_more_in_flight_than_the_receive_maximum(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path, config=replace(CONFIG, receive_maximum=3)) as broker:
            other = await broker.connect("other")
            bad = await broker.connect("bad", version=5)
            broker.disk.shut()
            await bad.send(*(bad.publish_packet("t", b"", packet_id=n) for n in range(1, 6)))
            assert await bad.disconnected() == 0x93
            broker.disk.open_gate()
            assert reached(broker) == {"receive_maximum": 1}
            await other.publish("t", b"x")
