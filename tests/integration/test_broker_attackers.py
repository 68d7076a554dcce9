"""What one client can do to the others, with and without credentials: nothing that they would notice."""

from __future__ import annotations

import random
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.limits import FRAME_BYTES_HARD_MAX, MIB
from broker.connection import Connection
from broker.data_plane import DataPlane
from broker.intake import SLOW_SHARE_MAX, SLOW_TURN_MAX, SLOW_UNIT_BYTES
from broker.slow_path import SlowPath
from storage.log.columns import Kind
from tests.broker_kit import CONFIG, DEADLINE_S, Peer, Running, running_broker
from tests.protocol import builder

MALFORMED = [
    pytest.param(builder.packet(0x32, builder.text("t"), b"\0\0", b"\0"), 0x81, id="packet identifier 0"),
    pytest.param(builder.packet(0x30, b"\xff\xff\xff\xff", b"\0payload"), 0x81, id="topic of 0xFF"),
    pytest.param(builder.publish(b"\xc3\x28", properties=b""), 0x81, id="topic not UTF-8"),
    pytest.param(builder.publish("a/+", properties=b""), 0x90, id="wildcard in a topic"),
    pytest.param(builder.publish("t", qos=3, packet_id=1, properties=b""), 0x81, id="QoS 3"),
    pytest.param(
        builder.publish("t", properties=builder.p16(0x23, 0xFFFF)), 0x94, id="topic alias above the maximum"
    ),
    pytest.param(
        builder.publish("", properties=builder.p16(0x23, 1)), 0x82, id="topic alias that was not set"
    ),
    pytest.param(
        builder.publish("t" * 60_000, properties=builder.p16(0x23, 1)), 0x97, id="topic alias for 60 KB"
    ),
    pytest.param(b"\x30\xff\xff\xff\xff\x01", 0x81, id="length of five bytes"),
    pytest.param(builder.packet(0x30, length=200 * MIB), 0x95, id="200 MiB announced"),
    pytest.param(builder.packet(0xF0), 0x82, id="AUTH"),
    pytest.param(builder.connect("again", version=5), 0x82, id="a second CONNECT"),
    pytest.param(builder.subscribe(1, properties=b""), 0x82, id="SUBSCRIBE for nothing"),
    pytest.param(builder.subscribe(1, ("a/#/b", 1), properties=b""), 0x8F, id="filter malformed"),
    pytest.param(builder.packet(0x80, builder.u16(1)), 0x81, id="SUBSCRIBE with wrong flags"),
    pytest.param(builder.packet(0x00), 0x81, id="packet type 0"),
]


@pytest.mark.parametrize(("packet", "code"), MALFORMED)
async def test_malformed_input_closes_that_connection_alone(tmp_path: Path, packet: bytes, code: int) -> None:
    async with running_broker(tmp_path) as broker:
        others = [await broker.connect(f"c{n}") for n in range(50)]
        bad = await broker.connect("bad", version=5)
        await bad.send(
            bad.publish_packet("t", b"before", packet_id=3) + packet + bad.publish_packet("t", b"behind")
        )
        reason = await bad.disconnected()
        for number, other in enumerate(others):
            await other.publish("t", b"%d" % number)
        assert reason == code
        plane = broker.statistics()["plane"]
        assert plane["connections"] == 50
        assert plane["closed_by_reason"] == {"protocol_error": 1}
    published = [payload for *_, payload in broker.records(Kind.PUBLISH)]
    assert published[0] == b"before"
    assert b"behind" not in published


async def test_random_bytes_after_connect(tmp_path: Path) -> None:
    rng = random.Random(20261122)
    async with running_broker(tmp_path, config=replace(CONFIG, packet_bytes_max=4096)) as broker:
        other = await broker.connect("other")
        for number in range(150):
            peer = await broker.connect(f"r{number}", version=rng.choice([4, 5]))
            data = rng.randbytes(rng.randint(1, 200))
            if rng.random() < 0.5:
                data = bytes((rng.choice([0x30, 0x32, 0x82, 0xA2, 0x40, 0xE0]), len(data) % 128)) + data
            await peer.send(data)
            if rng.random() < 0.5:
                peer.drop()
        await other.publish("t", b"x")


async def test_no_bytes_publish_under_another_ones_topic(tmp_path: Path) -> None:
    """A PUBLISH whose first four bytes are 0xFF was once recorded under the first topic of its block."""
    async with running_broker(tmp_path) as broker:
        victim = await broker.connect("victim", username="victim")
        thief = await broker.connect("thief", username="thief")
        broker.disk.shut()
        await victim.send(victim.publish_packet("dm/victim/telemetry", b"mine"))
        await broker.wait_until(broker.disk.waiting.is_set)
        await victim.send(victim.publish_packet("dm/victim/telemetry", b"mine", packet_id=2))
        await victim.ping()
        await thief.send(builder.packet(0x30, b"\xff\xff\xff\xff", b"stolen"))
        assert await thief.packet() is None
        broker.disk.open_gate()
        await victim.expect(builder.PUBACK)
        await victim.expect(builder.PUBACK)
    assert [client for _, client, *_ in broker.records(Kind.PUBLISH)] == ["victim", "victim"]


async def test_loud_clients_do_not_starve_quiet_ones(tmp_path: Path) -> None:
    """Twelve that always have more to say fill every batch; each round of the epoll set serves everybody once."""
    async with running_broker(tmp_path) as broker, trio.open_nursery() as nursery:
        payload = b"x" * 1000

        async def shout(peer: Peer) -> None:
            chunk = peer.publish_packet("t", payload, qos=0) * 200
            while True:
                await peer.stream.send_all(chunk)

        for number in range(12):
            nursery.start_soon(shout, await broker.connect(f"loud{number}"))
        quiet = await broker.connect("quiet")
        # Twelve loud ones fill two batches a round: the quiet one's PUBACK is a handful of blocks away.
        for packet_id in range(1, 6):
            before = broker.statistics()["plane"]["blocks"]
            await quiet.publish("q", b"?", packet_id=packet_id)
            assert broker.statistics()["plane"]["blocks"] - before <= 40
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "flood", [builder.PINGREQ_PACKET, builder.ack(builder.PUBACK, 1)], ids=["ping", "puback"]
)
async def test_floods_of_small_packets(tmp_path: Path, flood: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tens of thousands of slow packets at once: others are served in between, and each is answered.

    PUBACKs are taken in runs, and four of them count as one packet.
    """
    async with running_broker(tmp_path) as broker, trio.open_nursery() as nursery:
        count = 5_000
        flooders = [await broker.connect(f"f{n}") for n in range(30)]
        quiet = await broker.connect("quiet")
        handled = handled_max = 0
        handle_next, take_pubacks, gather = SlowPath.handle_next, SlowPath.take_pubacks, DataPlane._gather

        def counted(self: SlowPath, connection: Connection, data: bytes, pos: int) -> int:
            nonlocal handled, handled_max
            handled += 1
            handled_max = max(handled, handled_max)
            return handle_next(self, connection, data, pos)

        def counted_run(self: SlowPath, connection: Connection, data: bytes, pos: int, bytes_max: int) -> int:
            nonlocal handled, handled_max
            after = take_pubacks(self, connection, data, pos, bytes_max)
            handled += -(-(after - pos) // SLOW_UNIT_BYTES)
            handled_max = max(handled, handled_max)
            return after

        def gathered(self: DataPlane) -> None:
            nonlocal handled
            handled = 0
            gather(self)

        monkeypatch.setattr(SlowPath, "handle_next", counted)
        monkeypatch.setattr(SlowPath, "take_pubacks", counted_run)
        monkeypatch.setattr(DataPlane, "_gather", gathered)

        async def send(peer: Peer) -> None:
            await peer.stream.send_all(flood * count)

        async def drink(peer: Peer) -> None:
            for _ in range(count):
                await peer.expect(builder.PINGRESP)

        for peer in flooders:
            nursery.start_soon(send, peer)
            if flood == builder.PINGREQ_PACKET:
                nursery.start_soon(drink, peer)
        for packet_id in range(1, 10):
            await quiet.publish("t", b"x", packet_id=packet_id)
        assert SLOW_SHARE_MAX < handled_max <= SLOW_TURN_MAX + SLOW_SHARE_MAX


async def test_publishes_that_are_not_permitted_hold_nobody_up(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker, trio.open_nursery() as nursery:
        bad = await broker.connect("bad", username="dev1", version=5)
        quiet = await broker.connect("quiet")
        count = 20_000

        async def send() -> None:
            await bad.stream.send_all(bad.publish_packet("dm/dev2/x", b"") * count)

        async def refusals() -> None:
            for _ in range(count):
                assert (await bad.expect(builder.PUBACK)).body[2] == 0x87

        nursery.start_soon(send)
        nursery.start_soon(refusals)
        for packet_id in range(1, 10):
            await quiet.publish("t", b"x", packet_id=packet_id)


async def test_a_publisher_that_reads_no_acknowledgement_is_not_read_from(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        deaf = await broker.connect("deaf", receive_buffer_bytes=4096)
        connection = broker.connection("deaf")
        chunk = b"".join(deaf.publish_packet("t", b"", packet_id=n) for n in range(1, 5000))
        sent = 0
        with trio.move_on_after(DEADLINE_S) as scope:
            while not connection.is_stuffed:
                with trio.move_on_after(0.5):
                    await deaf.stream.send_all(chunk)
                    sent += 1
        assert not scope.cancelled_caught
        assert sent > 0
        # More of it moves nothing: the broker has stopped reading, and holds what it held.
        received = broker.statistics()["plane"]["received_bytes"]
        with trio.move_on_after(0.3):
            while True:
                await deaf.stream.send_all(chunk)
        assert broker.statistics()["plane"]["received_bytes"] - received < MIB
        assert connection.unsent_bytes < 2 * MIB
        other = await broker.connect("other")
        await other.publish("t", b"x")


async def test_long_topics_in_many_connections_fit_a_block(tmp_path: Path) -> None:
    """Each connection's last topic was once put into every block in which it said anything at all."""
    async with running_broker(tmp_path, linger_ms=0) as broker:
        count = FRAME_BYTES_HARD_MAX // 60_000 + 20
        clients = [await broker.connect(f"c{n}") for n in range(count)]
        for number, client in enumerate(clients):
            await client.publish(f"{number}/" + "x" * 60_000, b"1")
        broker.disk.shut()
        await clients[0].send(clients[0].publish_packet("short", b"2"))
        await broker.wait_until(broker.disk.waiting.is_set)
        for client in clients:
            await client.ping()
        broker.disk.open_gate()
        await clients[0].expect(builder.PUBACK)
        await clients[-1].publish("short", b"3")
    assert max(len(block.body) for block in broker.blocks()) < MIB


class TestStrangers:
    async def test_silent_ones_are_closed_after_the_connect_timeout(self, tmp_path: Path) -> None:
        async with running_broker(
            tmp_path, config=replace(CONFIG, connect_timeout_ms=200), with_tls=True
        ) as broker:
            assert broker.tls_port is not None
            silent = await broker.open()
            slow = await broker.open()
            tls = await Peer.open(broker.tls_port)
            broker.peers.append(tls)
            connect = builder.connect("c", username="site", password=b"t")
            async with trio.open_nursery() as nursery:

                async def drip() -> None:
                    for byte in connect[:-1]:
                        await slow.stream.send_all(bytes((byte,)))
                        await trio.sleep(0.02)

                nursery.start_soon(drip)
                for peer in (silent, slow, tls):
                    assert await peer.packet() is None
                nursery.cancel_scope.cancel()
            assert broker.statistics()["listeners"]["refused_by_code"] == {"timeout": 3}

    async def test_silent_ones_give_way_when_others_wait(self, tmp_path: Path) -> None:
        clock = ManualClock()
        config = replace(CONFIG, handshakes_max=4, connect_timeout_ms=300_000)
        async with running_broker(tmp_path, config=config, clock=clock) as broker:
            silent = [await broker.open() for _ in range(4)]
            await broker.wait_until(lambda: broker.statistics()["listeners"]["handshakes"] == 4)
            clock.advance(1_000)
            client = await broker.open()
            await client.send(builder.connect("c", username="site", password=b"t"))
            clock.advance(1_500)
            await client.expect(builder.CONNACK)
            assert await silent[0].packet() is None
            assert broker.statistics()["listeners"]["given_way"] >= 1
            await silent[3].connect("late")

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="a browser"),
            pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="TLS on the plain port"),
            pytest.param(builder.packet(0x10, length=MIB), id="CONNECT of 1 MiB announced"),
            pytest.param(b"\x10\xff\xff\xff\xff\x01", id="length of five bytes"),
            pytest.param(builder.PINGREQ_PACKET, id="another packet first"),
            pytest.param(builder.packet(0x10, b"\0\4MQTT\4"), id="CONNECT cut off"),
            pytest.param(builder.packet(0x10, b""), id="CONNECT of nothing"),
        ],
    )
    async def test_what_is_no_mqtt_hears_nothing(self, tmp_path: Path, data: bytes) -> None:
        async with running_broker(tmp_path) as broker:
            peer = await broker.open()
            await peer.send(data)
            assert await peer.packet() is None
            await broker.connect("c")

    async def test_a_version_that_is_too_new(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path) as broker:
            peer = await broker.open()
            await peer.send(builder.connect("c", version=6))
            assert (await peer.expect(builder.CONNACK)).body[1] in (1, 0x84)
            assert await peer.packet() is None

    @pytest.mark.parametrize(("version", "code"), [(4, 3), (5, 0x9F)])
    async def test_too_many_connects_from_one_address(self, tmp_path: Path, version: int, code: int) -> None:
        clock = ManualClock()
        config = replace(CONFIG, connect_rate_per_address_max=5)
        async with running_broker(tmp_path, config=config, clock=clock) as broker:
            for number in range(5):
                await broker.connect(f"c{number}")
            peer = await broker.open(version=version)
            assert await peer.refused("one-more") == code
            assert broker.statistics()["listeners"]["rate_limited"] == 1
            clock.advance(200)
            await broker.connect("later")

    @pytest.mark.parametrize(("version", "code"), [(4, 3), (5, 0x89)])
    async def test_connections_max(self, tmp_path: Path, version: int, code: int) -> None:
        async with running_broker(tmp_path, config=replace(CONFIG, connections_max=3)) as broker:
            clients = [await broker.connect(f"c{n}") for n in range(3)]
            peer = await broker.open(version=version)
            assert await peer.refused("one-more") == code
            again = await broker.connect("c1")
            assert await clients[1].packet() is None, "who reconnects takes its own place"
            await again.publish("t", b"x")
            await clients[0].send(builder.disconnect())
            await clients[0].disconnected()
            await broker.connect("one-more")

    async def test_connects_at_once_do_not_exceed_the_maximum(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path, config=replace(CONFIG, connections_max=5)) as broker:
            peers = [await broker.open() for _ in range(20)]
            for number, peer in enumerate(peers):
                await peer.send(builder.connect(f"c{number}", username="site", password=b"t"))
            codes = [(await peer.expect(builder.CONNACK)).body[1] for peer in peers]
            assert sorted(codes) == [0] * 5 + [3] * 15


class TestTlsGarbage:
    async def hello(self, broker: Running) -> Peer:
        assert broker.tls_port is not None
        peer = await Peer.open(broker.tls_port)
        broker.peers.append(peer)
        return peer

    @pytest.mark.parametrize(
        "data",
        [
            builder.connect("c", username="site", password=b"t"),
            b"\x16\x03\x01\xff\xff" + bytes(70_000),
            b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00",
            bytes(100),
        ],
        ids=["plain MQTT", "a record too long", "a hello of 16 MiB", "zeros"],
    )
    async def test_in_the_handshake(self, tmp_path: Path, data: bytes) -> None:
        async with running_broker(
            tmp_path, with_tls=True, config=replace(CONFIG, connect_timeout_ms=500)
        ) as broker:
            peer = await self.hello(broker)
            try:
                await peer.send(data)
            except trio.BrokenResourceError:
                pass
            await peer.packet()
            client = await broker.open_tls()
            await client.connect("c")

    async def test_behind_good_records(self, tmp_path: Path) -> None:
        """PINGREQ and garbage in one segment: the answer can't be encrypted any more, and that closes one connection."""
        async with running_broker(tmp_path, with_tls=True) as broker:
            assert broker.certificate is not None
            other = await broker.open_tls()
            await other.connect("other")
            peer = await self.hello(broker)
            context = ssl.create_default_context(cafile=str(broker.certificate))
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await peer.send(outgoing.read())
                    incoming.write(await peer.stream.receive_some(65_536))
            client.write(builder.connect("bad", username="site", password=b"t"))
            await peer.send(outgoing.read())
            await broker.wait_until(lambda: broker.statistics()["plane"]["connections"] == 2)
            client.write(builder.PINGREQ_PACKET)
            await peer.send(outgoing.read() + b"\x17\x03\x03\0\x20" + b"?" * 32)
            await broker.wait_until(lambda: broker.statistics()["plane"]["connections"] == 1)
            await other.publish("t", b"x")


async def test_two_thousand_connections_at_once(tmp_path: Path) -> None:
    """All connect, publish and leave at once; each close record fits a block."""
    async with running_broker(tmp_path) as broker:
        peers: list[Peer] = []

        async def live(number: int) -> None:
            async with limiter:
                peer = await broker.open()
                peers.append(peer)
                await peer.connect(f"client-{number:05}" + "x" * 200, keep_alive=600)
            await peer.publish(f"t/{number}", b"x")

        limiter = trio.CapacityLimiter(500)
        async with trio.open_nursery() as nursery:
            for number in range(2000):
                nursery.start_soon(live, number)
        plane = broker.statistics()["plane"]
        assert plane["connections"] == plane["acknowledged_messages"] == 2000
        for peer in peers:
            peer.drop()
        await broker.wait_until(lambda: broker.statistics()["plane"]["connections"] == 0)
    assert len(broker.records(Kind.SESSION_CLOSED)) == len(broker.records(Kind.SESSION_OPENED)) == 2000
    assert max(len(block.body) for block in broker.blocks()) < MIB


async def test_subscribe_of_as_much_as_a_packet_holds(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        client = await broker.connect("c", version=5)
        filters = [(f"{n}", 1) for n in range(100_000)]
        await client.send(builder.subscribe(1, *filters, properties=b""))
        assert await client.disconnected() == 0x97
        assert broker.statistics()["plane"]["subscriptions"] == 0


async def test_client_ids_with_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They can't forge a line of the log or of a terminal."""
    async with running_broker(tmp_path) as broker:
        peer = await broker.open()
        await peer.send(
            builder.connect("a\n2026 [error] forged\x1b[2J", username="site", password=b"t")
            + builder.packet(0x00)
        )
        while await peer.packet() is not None:
            pass
        refused = await broker.open()
        await refused.send(builder.connect("b\nforged", username="x\ny\x1b[2J", password=b"wrong"))
        while await refused.packet() is not None:
            pass
    said = capsys.readouterr()
    assert "\x1b[2J" not in said.out + said.err
    assert not any(line.startswith(("2026 [error]", "forged")) for line in (said.out + said.err).splitlines())


async def test_a_refusal_that_would_quote_a_long_topic(tmp_path: Path) -> None:
    """Escaped it is four times as long, and no string of MQTT; what is told is cut, and the others notice nothing."""
    async with running_broker(tmp_path) as broker:
        other = await broker.connect("other")
        bad = await broker.open(version=5)
        will = builder.will_fields("dm/d2/" + "\1" * 65_000, b"", properties=b"")
        await bad.send(
            builder.connect("c", version=5, username="d1", password=b"t", will=will, will_flags=0x04)
        )
        connack = await bad.expect(builder.CONNACK)
        assert connack.body[:2] == b"\0\x87"
        assert len(connack.body) < 1000
        await other.publish("t", b"x")
