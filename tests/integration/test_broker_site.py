"""Two brokers of a site, each with the other's log as its copy: a subscriber on one gets what is published on the other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from broker.site.site_feed import SiteNodes, SiteView
from storage.log.columns import Kind
from tests.broker_kit import CONFIG, Running, running_broker, wait_until
from tests.protocol import builder as b

A, B = "aa" * 16, "bb" * 16


@asynccontextmanager
async def site(tmp_path: Path) -> AsyncIterator[tuple[Running, Running]]:
    folders = {A: tmp_path / "a", B: tmp_path / "b"}

    def nodes(own: str, other: str) -> SiteNodes:
        view = SiteView(own_brokers=[f"mqtt://{own}:1883"], others={other: [f"mqtts://{other}:8883"]})
        return SiteNodes(look=lambda: view, directory_of=lambda node_id: folders[node_id] / "log")

    async with AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(
                running_broker(folders[own], site=nodes(own, other), config=replace(CONFIG, sys_interval_s=0))
            )
            for own, other in ((A, B), (B, A))
        ]
        await wait_until(lambda: all((f / "log" / "cursors" / "site").exists() for f in folders.values()))
        yield running[0], running[1]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_subscriber_gets_what_is_published_on_the_other_node(tmp_path: Path, qos: int) -> None:
    async with site(tmp_path) as (one, other):
        subscriber = await other.connect("reader")
        await subscriber.subscribe("plant/#", qos=qos)
        publisher = await one.connect("writer")
        await publisher.send(b.publish("plant/1", b"21.5", qos=qos, packet_id=1 if qos else None))
        if qos:
            await publisher.expect(b.PUBACK if qos == 1 else b.PUBREC)
        message = await subscriber.message()
        assert (message.topic, message.payload, message.qos) == ("plant/1", b"21.5", qos)
        # Nothing goes in a circle: it is once in each log.
        await publisher.publish("plant/2", b"last", packet_id=2)
        await subscriber.message()
        for node, kind in ((one, Kind.PUBLISH), (other, Kind.SITE_PUBLISH)):
            topics = [topic for _, _, topic, _ in node.records(Kind.PUBLISH, Kind.SITE_PUBLISH)]
            assert topics == [b"plant/1", b"plant/2"]
            assert {found for found, *_ in node.records(Kind.PUBLISH, Kind.SITE_PUBLISH)} == {kind}


async def test_a_client_that_is_away_gets_it_when_it_comes_back(tmp_path: Path) -> None:
    async with site(tmp_path) as (one, other):
        subscriber = await other.connect("reader", clean=False)
        await subscriber.subscribe("plant/#", qos=1)
        subscriber.drop()
        publisher = await one.connect("writer")
        await publisher.publish("plant/1", b"while away")
        await wait_until(lambda: other.statistics()["site"][A]["messages"] == 1)
        subscriber = await other.connect("reader", clean=False)
        assert (await subscriber.message()).payload == b"while away"


async def test_retained_messages_are_the_same_on_both(tmp_path: Path) -> None:
    async with site(tmp_path) as (one, other):
        here, there = await one.connect("here"), await other.connect("there")
        await here.send(b.publish("state", b"first", retain=True))
        await here.ping()
        await wait_until(lambda: other.server.state.retained.get(b"state") is not None)
        await there.send(b.publish("state", b"second", retain=True))
        await there.ping()

        def kept(node: Running) -> bytes | None:
            message = node.server.state.retained.get(b"state")
            return message.payload if message is not None else None

        await wait_until(lambda: kept(one) == kept(other) == b"second")
        await here.send(b.publish("state", b"", retain=True))
        await here.ping()
        await wait_until(lambda: kept(one) is None and kept(other) is None)


async def test_devices_are_told_where_the_brokers_are_and_sent_on_at_the_end(tmp_path: Path) -> None:
    async with site(tmp_path) as (one, _):
        device = await one.connect("dev", username="dev", version=5)
        await device.subscribe("dm/site/brokers", qos=1)
        said = await device.message()
        assert json.loads(said.payload) == {"brokers": [f"mqtt://{A}:1883", f"mqtts://{B}:8883"]}
        one.server.drain()
        packet = await device.packet()
        assert packet is not None
        assert packet.body[0] == 0x9C
        assert b.ptext(0x1C, f"{B}:8883") in packet.body
