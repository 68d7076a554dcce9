"""The topics below $SYS through a running broker: who gets them, when, and that nothing of them is on disk."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.errors import Unavailable
from broker.link import BrokerLink
from broker.sys_publisher import SysPublisher
from storage.log.columns import Kind
from tests.broker_kit import CONFIG, DEADLINE_S, Message, Peer, Running, running_broker
from tests.protocol import builder

QUICK = replace(CONFIG, sys_interval_s=1)
RETAIN = 1
MOSQUITTO = """
bytes/received bytes/sent clients/active clients/connected clients/disconnected clients/expired clients/inactive
clients/maximum clients/total heap/current heap/maximum messages/inflight messages/received messages/sent
messages/stored publish/messages/dropped publish/messages/received publish/messages/sent publish/bytes/received
publish/bytes/sent shared_subscriptions/count
store/messages/bytes store/messages/count subscriptions/count uptime version
"""
"""Of mosquitto(8), "Broker status", without those below load/ and `retained messages/count`."""


async def until(peer: Peer, topic: str, wanted: str) -> str:
    """Wait for a topic's value that matches a pattern."""
    with trio.fail_after(DEADLINE_S):
        while True:
            message = await peer.message()
            if message.topic == topic and re.fullmatch(wanted, message.payload.decode()):
                return message.payload.decode()


async def retained(peer: Peer) -> dict[str, str]:
    """What a subscription gets at once: everything until PINGRESP after the last, by topic."""
    got: dict[str, str] = {}
    while True:
        await peer.send(builder.PINGREQ_PACKET)
        before = len(got)
        while (packet := await peer.packet()) is not None and packet.kind != builder.PINGRESP & 0xF0:
            message = peer.take_apart(packet)
            assert packet.first & RETAIN
            assert message.qos == 0
            got[message.topic] = message.payload.decode()
        if got and len(got) == before:
            return got


def updater(running: Running) -> SysPublisher:
    publisher = running.server._sys
    assert isinstance(publisher, SysPublisher)
    return publisher


async def test_mosquittos_names_are_all_there(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as running:
        peer = await running.connect("watcher")
        await peer.subscribe("$SYS/#", qos=2)
        got = await retained(peer)
        wanted = {f"$SYS/broker/{name}" for name in MOSQUITTO.split()} | {
            "$SYS/broker/retained messages/count"
        }
        wanted |= {
            f"$SYS/broker/load/{name}/{window}"
            for name in (
                "connections", "sockets", "bytes/received", "bytes/sent", "messages/received", "messages/sent",
                "publish/dropped", "publish/received", "publish/sent",
            )
            for window in ("1min", "5min", "15min")
        }  # fmt: skip
        assert wanted - got.keys() == set()
        assert got["$SYS/broker/version"] == "homeport version kit"
        assert re.fullmatch(r"\d+ seconds", got["$SYS/broker/uptime"])
        assert int(got["$SYS/broker/heap/current"]) > 1 << 20
        assert int(got["$SYS/homeport/disk/total_bytes"]) > 0
        assert got.pop("$SYS/homeport/pipeline/lag_ms") == "unknown", "no node has told it"
        assert got.pop("$SYS/homeport/pipeline/behind_records") == "unknown"
        assert got.pop("$SYS/homeport/disk/level") in ("ok", "low", "hold", "read_only")
        assert all(re.fullmatch(r"[0-9.]+( seconds)?|homeport version kit", text) for text in got.values()), (
            got
        )


async def test_values_are_brought_up_to_date_for_who_is_subscribed(tmp_path: Path) -> None:
    async with running_broker(tmp_path, config=QUICK) as running:
        watcher = await running.connect("watcher")
        await watcher.subscribe("$SYS/broker/clients/connected", "$SYS/broker/publish/messages/#")
        await until(watcher, "$SYS/broker/clients/connected", "1")
        other = await running.connect("other")
        for number in (1, 2, 3):
            await other.publish("t", b"x", packet_id=number)
        await until(watcher, "$SYS/broker/clients/connected", "2")
        await until(watcher, "$SYS/broker/publish/messages/received", "3")
        other.drop()
        await until(watcher, "$SYS/broker/clients/connected", "1")


async def test_only_what_differs_is_sent_and_not_as_retained(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as running:
        peer = await running.connect("watcher")
        await peer.subscribe("$SYS/broker/version", "$SYS/broker/subscriptions/count")
        first = await retained(peer)
        assert first["$SYS/broker/subscriptions/count"] == "0", "as of the start: nobody updated it since"
        updater(running).update()
        packet = await peer.expect(builder.PUBLISH)
        assert packet.first & RETAIN == 0
        assert peer.take_apart(packet) == Message("$SYS/broker/subscriptions/count", b"2", 0, 0, b"")
        updater(running).update()
        await peer.ping()


async def test_the_node_says_how_far_its_store_is_behind(tmp_path: Path) -> None:
    path = tmp_path / "broker.sock"
    link = BrokerLink(path, lambda: None, lambda _names: None)
    clock = ManualClock(now_ms=1_700_000_000_000)
    async with (
        running_broker(tmp_path, control_path=path, clock=clock) as running,
        trio.open_nursery() as nursery,
    ):
        with pytest.raises(Unavailable):
            await link.tell_lag(lag_ms=1, behind_records=1)
        nursery.start_soon(link.run)
        await running.wait_until(lambda: link.connected)
        await link.tell_lag(lag_ms=1_250, behind_records=77)
        await running.wait_until(lambda: running.server._told.numbers())
        peer = await running.connect("watcher")
        await peer.subscribe("$SYS/homeport/pipeline/+")
        updater(running).update()
        await until(peer, "$SYS/homeport/pipeline/lag_ms", "1250")
        await until(peer, "$SYS/homeport/pipeline/behind_records", "77")
        clock.advance(31_000)
        updater(running).update()
        await until(peer, "$SYS/homeport/pipeline/lag_ms", "unknown")
        nursery.cancel_scope.cancel()


async def test_nothing_of_it_reaches_the_log(tmp_path: Path) -> None:
    async with running_broker(tmp_path, config=QUICK) as running:
        peer = await running.connect("watcher")
        await peer.subscribe("$SYS/#")
        before = running.writer.head.next_seq
        for _ in range(5):
            updater(running).update()
            await until(peer, "$SYS/broker/messages/sent", r"\d+")
        assert running.writer.head.next_seq == before
        assert running.records(Kind.PUBLISH, Kind.SERVER_PUBLISH) == []


@pytest.mark.parametrize("topic_filter", ["$SYS/#", "$SYS/broker/uptime", "+/broker/uptime", "#"])
async def test_a_device_does_not_get_it(tmp_path: Path, topic_filter: str) -> None:
    async with running_broker(tmp_path) as running:
        device = await running.connect("d", username="dev1", version=5)
        suback = await device.subscribe(topic_filter)
        assert suback.body[-1] == 0x87
        updater(running).update()
        await device.ping()


@pytest.mark.parametrize("topic_filter", ["#", "+/broker/uptime"])
async def test_a_wildcard_in_the_first_level_does_not_match(tmp_path: Path, topic_filter: str) -> None:
    """MQTT 5.0 §4.7.2."""
    async with running_broker(tmp_path) as running:
        peer = await running.connect("watcher")
        await peer.subscribe(topic_filter)
        updater(running).update()
        await peer.ping()


async def test_nobody_may_publish_there(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as running:
        peer = await running.connect("liar", version=5)
        await peer.send(peer.publish_packet("$SYS/broker/uptime", b"9 seconds"))
        assert (await peer.expect(builder.PUBACK)).body[2] == 0x87


async def test_an_interval_of_0_is_off(tmp_path: Path) -> None:
    async with running_broker(tmp_path, config=replace(CONFIG, sys_interval_s=0)) as running:
        peer = await running.connect("watcher")
        await peer.subscribe("$SYS/#")
        await peer.ping()


async def test_who_does_not_read_misses_values_and_costs_no_memory(tmp_path: Path) -> None:
    config = replace(CONFIG, session_queue_bytes_max=64 * 1024)
    async with running_broker(tmp_path, config=config) as running:
        deaf = await running.connect("deaf", receive_buffer_bytes=4096)
        await deaf.subscribe("$SYS/#")
        connection = running.server.plane.clients.get("deaf")
        assert connection is not None
        publish = running.server.local.publish
        payload = b"x" * 1000
        with trio.fail_after(DEADLINE_S):
            while not running.statistics()["plane"]["missed_local_messages"]:
                for number in range(100):
                    publish(b"$SYS/test/%d" % number, payload, running.server.plane)
                running.server.plane.wake()
                await trio.sleep(0.001)
        assert connection.outbound.unsent_bytes < 64 * 1024 + 110_000
        assert not connection.outbound.lag_count, "a value that is missed makes nobody read the log"


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="needs mosquitto-clients")
async def test_mosquittos_own_tool_shows_it(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as running:
        done = await trio.run_process(
            ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(running.port), "-u", "site", "-P", "token", "-t", "$SYS/#",
             "-v", "-C", "40", "-W", "10"],
            capture_stdout=True,
        )  # fmt: skip
        lines = done.stdout.decode().splitlines()
        assert len(lines) == 40
        assert any(line.startswith("$SYS/broker/version homeport version") for line in lines)
        assert any(line.startswith("$SYS/broker/uptime ") for line in lines)
