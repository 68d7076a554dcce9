"""From a block to its receivers, live; and who becomes a cursor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import broker.fan_out
import broker.refill
from broker.delivery import Delivery
from broker.mqtt.packets import Version
from storage.log.columns import Kind
from tests.protocol import builder
from tests.session_kit import CONFIG, Client, Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(config=replace(CONFIG, session_queue_messages_max=5))
    yield made
    made.end()


def numbered(start: int, stop: int) -> list[bytes]:
    return [b"%03d" % number for number in range(start, stop)]


def subscriber(stage: Stage, client_id: str, *filters: str, options: int = 1, **connect: Any) -> Client:
    """A client of a session that ends with its connection."""
    client = stage.connect(client_id, clean=True, expiry_s=0, **connect)
    client.subscribe(*(filters or ("t",)), options=options)
    client.packets()
    return client


async def drink(stage: Stage, client: Client) -> list[bytes]:
    """All that a client gets that acknowledges everything."""
    got: list[bytes] = []
    while True:
        await stage.feed()
        messages = client.messages()
        if not messages:
            return got
        got += [message.payload for message in messages]
        client.acknowledge(*(message for message in messages if message.qos))


def test_live(stage: Stage) -> None:
    stage.publish(b"000")
    one, other = subscriber(stage, "one"), subscriber(stage, "other", "#", "t")
    third = subscriber(stage, "third", "else")
    stage.publish(b"001", b"002")
    stage.publish(b"003", topic="not wanted")
    assert one.payloads() == [b"001", b"002"]
    assert other.payloads() == [b"001", b"002", b"003"]
    assert third.payloads() == []
    assert stage.fan_out.delivered_messages == 5


def test_the_lower_qos_and_no_local(stage: Stage) -> None:
    one, own = subscriber(stage, "one"), subscriber(stage, "own", options=1 | 4)
    stage.publish(b"001", qos=0)
    stage.publish(b"002", client="own")
    stage.publish(b"003", qos=2)
    assert [(message.payload, message.qos) for message in one.messages()] == [
        (b"001", 0),
        (b"002", 1),
        (b"003", 1),
    ]
    assert own.payloads() == [b"001", b"003"], "the subscriber's own message does not come back"


def test_records_that_are_no_messages_reach_nobody(stage: Stage) -> None:
    one = subscriber(stage, "one", "#")
    stage.add(b"", topic="", kind=Kind.SESSION_CHANGED)
    stage.commit()
    assert one.packets() == []


def test_a_message_is_encoded_once_for_all_who_get_it_alike(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    real = Delivery._encode

    def counting(self: Any, *args: Any) -> Any:
        encoded.append(args)
        return real(self, *args)

    monkeypatch.setattr(Delivery, "_encode", counting)
    clients = [subscriber(stage, f"five {n}") for n in range(10)]
    clients += [subscriber(stage, f"four {n}", version=Version.MQTT_3_1_1) for n in range(10)]
    clients += [subscriber(stage, "zero", options=0)]
    stage.publish(b"001")
    assert [client.payloads() for client in clients] == [[b"001"]] * 21
    assert len(encoded) == 3, "for each version and QoS"


async def test_a_slow_subscriber_is_fed_from_the_log(stage: Stage) -> None:
    slow, quick = subscriber(stage, "slow", receive_maximum=2), subscriber(stage, "quick")
    for start in range(0, 100, 10):
        stage.publish(*numbered(start, start + 10))
    assert stage.refill.lagging_count == 1
    assert len(quick.payloads()) == 100
    assert len(slow.session.outbound.queue) == 5
    assert await drink(stage, slow) == numbered(0, 100)
    assert stage.refill.lagging_count == 0
    stage.publish(b"100")
    assert slow.payloads() == [b"100"], "live again"


async def test_blocks_that_come_while_it_catches_up(stage: Stage) -> None:
    slow = subscriber(stage, "slow", receive_maximum=2)
    got: list[bytes] = []
    for start in range(0, 100, 10):
        stage.publish(*numbered(start, start + 10))
        messages = slow.messages()
        got += [message.payload for message in messages]
        slow.acknowledge(*messages)
        await stage.feed()
    assert got + await drink(stage, slow) == numbered(0, 100)


async def test_a_block_on_disk_that_was_not_fanned_out_yet_comes_once(stage: Stage) -> None:
    slow = subscriber(stage, "slow", receive_maximum=2)
    stage.publish(*numbered(0, 10))
    for payload in numbered(10, 13):
        stage.add(payload)
    block = stage.write()  # fsynced, and its turn comes later
    assert block is not None
    got = await drink(stage, slow)
    assert got == numbered(0, 10), "it can't go on yet"
    stage.fan_out.deliver(block.batch, stage.log.next_seq - 3, stage.plane)
    stage.durable_next_seq = stage.log.next_seq
    assert got + await drink(stage, slow) == numbered(0, 13)


async def test_many_filters_and_none_of_before_the_subscription(stage: Stage) -> None:
    stage.publish(b"000")
    slow = subscriber(stage, "slow", *(f"f{n}/+" for n in range(50)), "t", "#", receive_maximum=2)
    stage.publish(*numbered(1, 20))
    assert await drink(stage, slow) == numbered(1, 20)


async def test_a_block_for_too_many_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would hold ingest up comes out of the log instead, in slices; nothing is lost, nothing comes twice."""
    monkeypatch.setattr(broker.fan_out, "OFFERS_PER_BLOCK_MAX", 25)
    monkeypatch.setattr(broker.refill, "SLICE_RECORD_COUNT", 7)
    one, other = subscriber(stage, "one"), subscriber(stage, "other", "#")
    third = subscriber(stage, "third", options=1 | 4)
    stage.publish(*numbered(0, 30))
    assert stage.refill.lagging_count == 3
    first = one.messages()
    assert len(first) == 8
    one.acknowledge(*first)
    stage.publish(*numbered(30, 40), client="third")
    got = [message.payload for message in first]
    assert got + await drink(stage, one) == numbered(0, 40)
    assert await drink(stage, other) == numbered(0, 40)
    assert await drink(stage, third) == numbered(0, 30)
    assert stage.refill.lagging_count == 0


async def test_a_block_for_too_many_of_a_group(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.fan_out, "OFFERS_PER_BLOCK_MAX", 4)
    one = subscriber(stage, "one", "$share/g/t")
    stage.publish(*numbered(0, 10))
    assert await drink(stage, one) == numbered(0, 10)
    stage.publish(b"010")
    assert one.payloads() == [b"010"], "live again"


def test_retain_as_published(stage: Stage) -> None:
    """MQTT 5.0 §3.8.3.1."""
    plain, as_published = subscriber(stage, "plain"), subscriber(stage, "as published", options=1 | 8)
    stage.publish(b"001", retain=True)
    assert [message.is_retained for message in plain.messages()] == [False]
    assert [message.is_retained for message in as_published.messages()] == [True]


def test_qos_2_of_a_session_that_is_kept_goes_out_behind_its_record(stage: Stage) -> None:
    client = stage.connect("kept")
    client.subscribe("t", options=2)
    client.packets()
    stage.add(b"001", qos=2)
    block = stage.write()
    assert block is not None
    stage.fan_out.deliver(block.batch, stage.log.next_seq - 1, stage.plane)
    stage.durable_next_seq = stage.log.next_seq
    assert client.packets() == []
    assert [pending.kind for pending in stage.pending] == [Kind.QOS2_STEP]
    stage.commit()
    assert client.packets()[0].first == builder.PUBLISH | 4
