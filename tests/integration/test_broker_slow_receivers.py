"""Receivers that are slower than what is sent to them: nothing is lost, nothing comes twice, order holds, memory is bounded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from appliance.core.limits import KIB, MIB
from storage.log.reader import LogReader
from tests.broker_kit import CONFIG, Peer, Running, running_broker
from tests.protocol import builder

SMALL_QUEUE = replace(CONFIG, session_queue_messages_max=50, session_queue_bytes_max=64 * KIB)


async def publish_numbered(broker: Running, publisher: Peer, start: int, stop: int, size: int = 500) -> None:
    """Publish at QoS 1, ten at a time, each acknowledged."""
    for first in range(start, stop, 10):
        several = range(first, min(first + 10, stop))
        await publisher.send(
            *(
                publisher.publish_packet("t", b"%06d" % n + bytes(size), packet_id=n % 60_000 + 1)
                for n in several
            )
        )
        for number in several:
            assert (await publisher.expect(builder.PUBACK)).packet_id == number % 60_000 + 1


async def read_numbered(subscriber: Peer, count: int, *, acknowledge: bool = True) -> list[int]:
    found = []
    for _ in range(count):
        message = await subscriber.message()
        found.append(int(message.payload[:6]))
        if acknowledge and message.qos:
            await subscriber.send(builder.ack(builder.PUBACK, message.packet_id))
    return found


def held_bytes(broker: Running, client_id: str) -> int:
    """What the broker holds for a client in memory."""
    connection = broker.connection(client_id)
    return connection.outbound.queue_bytes + connection.unsent_bytes + sum(map(len, connection.outbox))


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_slow_subscriber_is_a_cursor(tmp_path: Path, qos: int) -> None:
    async with running_broker(tmp_path, config=SMALL_QUEUE, segment_bytes=256 * KIB) as broker:
        publisher = await broker.connect("publisher")
        slow = await broker.connect(
            "slow", version=5, receive_buffer_bytes=4096, properties=builder.p16(0x21, 20)
        )
        await slow.subscribe("t", qos=qos)
        quick = await broker.connect("quick")
        await quick.subscribe("t", qos=qos)
        held_max = 0
        count = 4000
        async with trio.open_nursery() as nursery:

            async def drink() -> None:
                assert await read_numbered(quick, count) == list(range(count))

            nursery.start_soon(drink)
            for start in range(0, count, 100):
                await publish_numbered(broker, publisher, start, start + 100, 1000)
                held_max = max(held_max, held_bytes(broker, "slow"))
        assert broker.statistics()["plane"]["lagging_subscribers"] == 1
        assert held_max < MIB
        assert await read_numbered(slow, count) == list(range(count))
        await publish_numbered(broker, publisher, count, count + 10)
        assert await read_numbered(slow, 10) == list(range(count, count + 10))
        await broker.wait_until(lambda: broker.statistics()["plane"]["lagging_subscribers"] == 0)
        await publish_numbered(broker, publisher, count + 10, count + 20)
        assert await read_numbered(slow, 10) == list(range(count + 10, count + 20))
        assert broker.statistics()["plane"]["delivered_messages"] == 2 * count + 20 + 20


async def test_catching_up_while_more_is_published(tmp_path: Path) -> None:
    """The hand-over from the log to the live stream, again and again."""
    async with running_broker(tmp_path, config=SMALL_QUEUE) as broker:
        publisher = await broker.connect("publisher")
        slow = await broker.connect("slow", version=5, properties=builder.p16(0x21, 5))
        await slow.subscribe("t")
        rounds, size = 12, 200
        got: list[int] = []

        async def drink() -> None:
            while len(got) < rounds * size:
                got.extend(await read_numbered(slow, 1))

        async with trio.open_nursery() as nursery:
            for start in range(0, rounds * size, size):
                await publish_numbered(broker, publisher, start, start + size, 100)
                if not start:
                    nursery.start_soon(drink)
                # The next ones come while the last of these are on their way out of the log.
                await broker.wait_until(lambda so_far=start: len(got) >= so_far + size - 20)  # type: ignore[misc]
        assert got == list(range(rounds * size))
        assert broker.connection("slow").outbound.lag_count > 2


async def test_subscribing_again_while_behind_loses_nothing(tmp_path: Path) -> None:
    async with running_broker(tmp_path, config=SMALL_QUEUE) as broker:
        publisher = await broker.connect("publisher")
        slow = await broker.connect("slow", version=5, properties=builder.p16(0x21, 5))
        await slow.subscribe("t")
        await publish_numbered(broker, publisher, 0, 300)
        assert broker.statistics()["plane"]["lagging_subscribers"] == 1
        await slow.send(builder.subscribe(9, ("t", 1), properties=b""))
        got: list[int] = []
        while len(got) < 300:
            packet = await slow.packet()
            assert packet is not None
            if packet.kind == builder.PUBLISH:
                message = slow.take_apart(packet)
                got.append(int(message.payload[:6]))
                await slow.send(builder.ack(builder.PUBACK, message.packet_id))
        assert got == list(range(300))


async def test_a_receive_maximum_of_one(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        publisher = await broker.connect("publisher")
        strict = await broker.connect("strict", version=5, properties=builder.p16(0x21, 1))
        await strict.subscribe("t")
        await publish_numbered(broker, publisher, 0, 30, 1)
        first = await strict.message()
        await strict.ping()  # and no second message before it
        await strict.send(builder.ack(builder.PUBACK, first.packet_id))
        assert await read_numbered(strict, 29) == list(range(1, 30))


async def test_messages_too_large_for_a_receiver_do_not_stop_it(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        publisher = await broker.connect("publisher")
        small = await broker.connect(
            "small", version=5, properties=builder.p16(0x21, 1) + builder.p32(0x27, 100)
        )
        await small.subscribe("t")
        await publish_numbered(broker, publisher, 0, 1, 1)
        await publish_numbered(broker, publisher, 1, 5, 1000)
        await publish_numbered(broker, publisher, 5, 8, 1)
        assert await read_numbered(small, 4) == [0, 5, 6, 7]


async def test_a_subscriber_that_leaves_while_it_is_behind(tmp_path: Path) -> None:
    async with running_broker(tmp_path, config=SMALL_QUEUE) as broker:
        publisher = await broker.connect("publisher")
        for number in range(5):
            slow = await broker.connect(f"slow{number}", receive_buffer_bytes=4096)
            await slow.subscribe("t", qos=0)
            await publish_numbered(broker, publisher, 0, 300, 2000)
            await read_numbered(slow, 50)
            slow.drop()
        await broker.wait_until(lambda: broker.statistics()["plane"]["connections"] == 1)
        assert broker.statistics()["plane"]["lagging_subscribers"] == 0
        assert broker.server._refill._wanted == {}


async def test_large_messages_over_tls_to_a_slow_reader(tmp_path: Path) -> None:
    """Partial sends of ciphertext: each byte is encrypted once and goes out once."""
    async with running_broker(tmp_path, with_tls=True) as broker:
        publisher = await broker.open_tls()
        await publisher.connect("publisher")
        slow = await broker.open_tls()
        await slow.connect("slow")
        await slow.subscribe("t", qos=0)
        payloads = [bytes((n,)) * 900_000 for n in range(5)]
        for payload in payloads:
            await publisher.publish("t", payload)
        for payload in payloads:
            await trio.sleep(0.02)
            assert (await slow.message()).payload == payload


async def test_what_can_not_be_read_of_the_log_is_skipped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_broker(tmp_path, config=SMALL_QUEUE) as broker:
        publisher = await broker.connect("publisher")
        slow = await broker.connect("slow", version=5, properties=builder.p16(0x21, 5))
        await slow.subscribe("t")
        await publish_numbered(broker, publisher, 0, 300)
        for path in broker.directory.glob("*.open"):
            path.unlink()
        fresh = LogReader(broker.directory)
        monkeypatch.setattr(broker.server._refill._window, "_source", fresh)
        await read_numbered(slow, 5)
        await slow.send(*(builder.ack(builder.PUBACK, n) for n in range(6, 51)))  # lets the queue drain
        await broker.wait_until(lambda: broker.statistics()["skipped_records"])
        # Not fed from the log any more, which the next record isn't in either: its file is gone.
        await broker.wait_until(lambda: broker.statistics()["plane"]["lagging_subscribers"] == 0)
        await publisher.publish("t", b"later")
        while (message := await slow.message()).payload != b"later":
            await slow.send(builder.ack(builder.PUBACK, message.packet_id))
        fresh.close()
