"""Contexts of traces through the broker: into the log, to the node, and to subscribers as they were published."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from appliance.tracing.span import Span
from broker.link import BrokerLink
from broker.mqtt.properties import decode_properties
from broker.tracer import Tracer
from storage.log.columns import Columns
from tests.broker_kit import Running, running_broker
from tests.broker_peer import Peer
from tests.protocol import builder

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OURS = (("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "a=1"), ("other", "x"))
PROPERTIES = b"".join(builder.puser(name, value) for name, value in OURS)
TOPIC = "dm/dev1/telemetry"


@asynccontextmanager
async def node_of(path: Path) -> AsyncIterator[list[Span]]:
    """A node that takes spans."""

    async def nobody(_asked: object) -> None:
        raise AssertionError

    spans: list[Span] = []
    link = BrokerLink(path, lambda: None, lambda _names: None, nobody)  # type: ignore[arg-type]
    link.on_spans = spans.extend
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        yield spans
        nursery.cancel_scope.cancel()


def messages_of(broker: Running) -> list[tuple[Columns, int]]:
    return [
        (columns, index)
        for block in broker.blocks()
        for columns in [block.columns()]
        for index, topic in enumerate(columns.topic_index)
        if columns.topics[topic] == TOPIC.encode()
    ]


async def publish(peer: Peer, qos: int, properties: bytes, *, retain: bool = False) -> None:
    packet_id = 1 if qos else None
    await peer.send(
        builder.publish(TOPIC, b"{}", qos=qos, packet_id=packet_id, properties=properties, retain=retain)
    )
    if qos == 1:
        await peer.expect(builder.PUBACK)
    elif qos == 2:
        await peer.expect(builder.PUBREC)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("way", ["tcp", "tls", "ws", "wss"])
async def test_a_context_survives_every_way_in(tmp_path: Path, qos: int, way: str) -> None:
    path = tmp_path / "c.sock"
    async with (
        running_broker(tmp_path, control_path=path, with_tls=True) as broker,
        node_of(path) as spans,
    ):
        if way == "tcp":
            peer = await broker.open(version=5)
        elif way == "tls":
            peer = await broker.open_tls(version=5)
        else:
            peer = await broker.open_websocket(version=5, is_secure=way == "wss")
        await peer.connect("dev1", username="dev1")
        watcher = await broker.connect("app", version=5)
        await watcher.subscribe(TOPIC)
        await publish(peer, qos, PROPERTIES)
        message = await watcher.message()
        assert decode_properties(message.properties).user_properties == OURS, "as it was published"
        ((columns, index),) = messages_of(broker)
        assert columns.published_properties(index) == PROPERTIES
        ((_, traceparent),) = columns.traced()
        assert traceparent.startswith(f"00-{TRACE}-".encode())
        await broker.wait_until(lambda: spans)
        receive = spans[0]
        assert (receive.trace_id, receive.parent_id) == (TRACE, SPAN)
        assert receive.span_id == traceparent.decode().split("-")[2]
        assert receive.attributes["messaging.mqtt.qos"] == qos


async def test_what_the_broker_adds_is_sent_to_nobody(tmp_path: Path) -> None:
    """Live, out of the log, and retained; to clients of every version, also after a restart."""
    async with running_broker(tmp_path, tracer=Tracer(sample_ratio=1.0)) as broker:
        away = await broker.connect(
            "away", version=5, clean=False, properties=builder.u8(0x11) + builder.u32(600)
        )
        await away.subscribe(TOPIC)
        away.drop()
        await broker.wait_until(lambda: broker.session("away").connection is None)
        live = await broker.connect("live", version=5)
        old = await broker.connect("old", version=4)
        for each in (live, old):
            await each.subscribe(TOPIC)
        device = await broker.connect("dev1", username="dev1", version=5)
        await publish(device, 1, b"", retain=True)
        await publish(device, 1, PROPERTIES, retain=True)
        assert [(await live.message()).properties for _ in range(2)] == [b"", PROPERTIES]
        assert [(await old.message()).payload for _ in range(2)] == [b"{}", b"{}"]
        assert [len(columns.traced()) for columns, _ in messages_of(broker)] == [1, 1]
        back = await broker.connect(
            "away", version=5, clean=False, properties=builder.u8(0x11) + builder.u32(600)
        )
        assert [(await back.message()).properties for _ in range(2)] == [b"", PROPERTIES]
    (tmp_path / "checkpoint").unlink()
    async with running_broker(tmp_path) as broker:
        late = await broker.connect("late", version=5)
        await late.subscribe(TOPIC)
        assert (await late.message()).properties == PROPERTIES


async def test_the_next_reading_is_traced_when_somebody_asks(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    async with running_broker(tmp_path, control_path=path) as broker:
        link = BrokerLink(path, lambda: None, lambda _names: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            await broker.wait_until(lambda: link.connected)
            assert (await link.ask("trace_next", device="dev1"))["waits_ms"] > 0
            device = await broker.connect("dev1", username="dev1", version=4)
            await device.publish("dm/dev1/status", b"{}")
            await device.publish(TOPIC, b"{}")
            await device.publish(TOPIC, b"{}", packet_id=2)
            nursery.cancel_scope.cancel()
        assert [len(columns.traced()) for columns, _ in messages_of(broker)] == [1, 0]
        assert broker.statistics()["tracing"]["traces"] == 1
