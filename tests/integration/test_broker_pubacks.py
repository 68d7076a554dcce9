"""PUBACKs in runs, alone, and between other packets: each makes room for the next delivery, whichever way it is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from tests.broker_kit import CONFIG, Peer, Running, running_broker
from tests.protocol import builder

DEADLINE_S = 60.0
WINDOW = 40
COUNT = 6 * WINDOW
CONFIGURED = replace(CONFIG, session_queue_messages_max=10_000)


async def in_flight(broker: Running, version: int) -> tuple[Peer, Peer]:
    """A publisher, and a subscriber with all of COUNT messages sent to it or waiting for its window."""
    publisher = await broker.connect("publisher")
    properties = builder.p16(0x21, WINDOW) if version == 5 else b""
    subscriber = await broker.connect("subscriber", version=version, properties=properties)
    await subscriber.subscribe("t", qos=1)
    await publisher.send(*(publisher.publish_packet("t", b"%06d" % n, packet_id=n + 1) for n in range(COUNT)))
    for number in range(COUNT):
        assert (await publisher.expect(builder.PUBACK)).packet_id == number + 1
    return publisher, subscriber


async def take(subscriber: Peer, start: int, stop: int) -> list[bytes]:
    """Read deliveries, in order; the PUBACKs that they are to be answered with."""
    answers = []
    for number in range(start, stop):
        message = await subscriber.message()
        assert message.payload == b"%06d" % number
        answers.append(builder.ack(builder.PUBACK, message.packet_id))
    return answers


@pytest.mark.parametrize("together", [1, 7, WINDOW])
async def test_a_run_makes_room_for_as_many(tmp_path: Path, together: int) -> None:
    with trio.fail_after(DEADLINE_S):
        async with running_broker(tmp_path, config=CONFIGURED) as broker:
            _, subscriber = await in_flight(broker, 5)
            answers = await take(subscriber, 0, WINDOW)
            taken = WINDOW
            while taken < COUNT:
                more, answers = answers[:together], answers[together:]
                await subscriber.send(b"".join(more))
                following = min(taken + len(more), COUNT)
                answers += await take(subscriber, taken, following)
                taken = following


async def test_other_packets_between_them_are_answered_in_their_turn(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with running_broker(tmp_path, config=CONFIGURED) as broker:
            _, subscriber = await in_flight(broker, 5)
            answers = await take(subscriber, 0, WINDOW)
            with_reason = [
                builder.packet(builder.PUBACK, answer[2:4], b"\x00") if index % 3 == 0 else answer
                for index, answer in enumerate(answers)
            ]
            own = subscriber.publish_packet("own", b"x", packet_id=9)
            await subscriber.send(
                b"".join((*with_reason[:10], own, *with_reason[10:25], b"\xc0\x00", *with_reason[25:]))
            )
            kinds: list[int] = []
            payloads: list[bytes] = []
            while len(payloads) < WINDOW or len(kinds) < 2:
                packet = await subscriber.packet()
                assert packet is not None
                if packet.kind == builder.PUBLISH:
                    payloads.append(packet.body[-6:])
                else:
                    kinds.append(packet.kind)
            assert payloads == [b"%06d" % number for number in range(WINDOW, 2 * WINDOW)]
            assert sorted(kinds) == sorted([builder.PUBACK, builder.PINGRESP])
            assert broker.statistics()["plane"]["connections"] == 2


@pytest.mark.parametrize("version", [4, 5])
async def test_identifier_0_is_still_a_protocol_error(tmp_path: Path, version: int) -> None:
    with trio.fail_after(DEADLINE_S):
        async with running_broker(tmp_path, config=CONFIGURED) as broker:
            _, subscriber = await in_flight(broker, version)
            await subscriber.send(builder.ack(builder.PUBACK, 1) + b"\x40\x02\x00\x00")
            await broker.wait_until(lambda: broker.statistics()["plane"]["connections"] == 1)
            assert broker.statistics()["plane"]["closed_by_reason"] == {"protocol_error": 1}


@pytest.mark.parametrize("version", [4, 5])
async def test_pubacks_of_nothing_in_flight_are_no_error(tmp_path: Path, version: int) -> None:
    """As many as one receive holds: more than one visit handles."""
    with trio.fail_after(DEADLINE_S):
        async with running_broker(tmp_path, config=CONFIGURED) as broker:
            subscriber = await broker.connect("subscriber", version=version)
            await subscriber.send(
                b"".join(builder.ack(builder.PUBACK, n) for n in range(1, 16_001)) + b"\xc0\x00"
            )
            await subscriber.expect(builder.PINGRESP)
