"""Sessions that outlive connections, restarts and the log's own limits, over real sockets."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from storage.log.columns import Kind
from tests.broker_kit import CONFIG, Peer, Running, running_broker
from tests.protocol import builder as b

HOUR = b.p32(0x11, 3600)
QUIET = replace(CONFIG, sys_interval_s=0)


async def kept(
    broker: Running, client_id: str, *, expiry: bytes = HOUR, present: bool = False, **options: Any
) -> Peer:
    """A client of MQTT 5 with a session that is kept."""
    peer = await broker.open(version=5)
    connack = await peer.connect(client_id, clean=False, properties=expiry, **options)
    assert connack.body[0] == present
    return peer


async def leave(peer: Peer) -> None:
    await peer.send(b.disconnect())
    assert await peer.packet() is None


async def payloads(peer: Peer, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        message = await peer.message()
        found.append(message.payload)
        if message.qos:
            await peer.send(b.ack(b.PUBACK, message.packet_id))
    return found


async def test_an_ordinary_restart(tmp_path: Path) -> None:
    async with running_broker(tmp_path, config=QUIET) as broker:
        client = await kept(broker, "kept")
        await client.subscribe("t/#")
        publisher = await broker.connect("publisher")
        await publisher.publish("t/1", b"in flight")
        assert (await client.message()).payload == b"in flight"
        client.drop()
        await broker.wait_until(lambda: broker.session("kept").connection is None)
        await publisher.publish("t/2", b"waits")
    async with running_broker(tmp_path, config=QUIET) as broker:
        assert broker.statistics()["sessions"]["away"] == 1
        publisher = await broker.connect("publisher")
        await publisher.publish("t/3", b"since")
        client = await kept(broker, "kept", present=True)
        assert await payloads(client, 3) == [b"in flight", b"waits", b"since"]


async def test_a_crash_without_a_checkpoint_and_with_one(tmp_path: Path) -> None:
    """The folder is copied while everything is connected, which is what a loss of power leaves."""
    async with running_broker(tmp_path / "a", config=QUIET) as broker:
        client = await kept(broker, "kept")
        await client.subscribe("t/#")
        publisher = await broker.connect("publisher")
        await publisher.publish("t/1", b"1")
        assert (await client.message()).payload == b"1"
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        await broker.server.keeper.write()
        await publisher.publish("t/2", b"2")
        await trio.testing.wait_all_tasks_blocked(0.01)
        shutil.copytree(tmp_path / "a", tmp_path / "c")
    for folder, expected in (("b", [b"1"]), ("c", [b"1", b"2"])):
        async with running_broker(tmp_path / folder, config=QUIET) as broker:
            client = await kept(broker, "kept", present=True)
            assert await payloads(client, len(expected)) == expected
            await client.ping()


async def test_a_full_queue_loses_its_oldest_and_says_so(tmp_path: Path) -> None:
    config = replace(QUIET, session_queue_messages_max=5)
    async with running_broker(tmp_path, config=config) as broker:
        client = await kept(broker, "kept")
        await client.subscribe("t")
        await leave(client)
        publisher = await broker.connect("publisher")
        for number in range(12):
            await publisher.publish("t", b"%d" % number)
        statistics = broker.statistics()["sessions"]
        assert (statistics["waiting_messages"], statistics["dropped_messages"]) == (5, 7)
        client = await kept(broker, "kept", present=True)
        assert await payloads(client, 5) == [b"7", b"8", b"9", b"10", b"11"]
        assert broker.statistics()["sessions"]["dropped_messages"] == 7


async def test_a_full_queue_by_bytes(tmp_path: Path) -> None:
    config = replace(QUIET, session_queue_bytes_max=65_536)
    async with running_broker(tmp_path, config=config) as broker:
        client = await kept(broker, "kept")
        await client.subscribe("t")
        await leave(client)
        publisher = await broker.connect("publisher")
        for number in range(4):
            await publisher.publish("t", b"%d" % number + bytes(30_000))
        await publisher.publish("t", bytes(70_000))
        client = await kept(broker, "kept", present=True)
        await publisher.publish("t", b"live")
        first = await payloads(client, 1)
        assert first == [b"live"], (
            "one that alone is over the bound takes nothing with it but what made way for it"
        )
        assert broker.statistics()["sessions"]["dropped_messages"] == 5


async def test_a_slow_client_that_leaves_keeps_what_it_did_not_get(tmp_path: Path) -> None:
    """It was a cursor: what the log holds for it becomes its queue, by the rule of the queue."""
    config = replace(QUIET, session_queue_messages_max=20)
    async with running_broker(tmp_path, config=config) as broker:
        slow = await kept(broker, "slow", expiry=HOUR + b.p16(0x21, 1))
        await slow.subscribe("t")
        publisher = await broker.connect("publisher")
        for number in range(100):
            await publisher.publish("t", b"%d" % number)
        assert broker.statistics()["plane"]["lagging_subscribers"] == 1
        slow.drop()
        await broker.wait_until(lambda: broker.session("slow").connection is None)
        await broker.wait_until(lambda: broker.session("slow").outbound.lag_seq is None)
        assert broker.statistics()["sessions"]["waiting_messages"] == 20
        slow = await kept(broker, "slow", present=True)
        # The first was in flight: it is not in the queue, and so was not dropped.
        assert await payloads(slow, 21) == [b"0", *(b"%d" % n for n in range(80, 100))]


async def test_what_the_log_no_longer_holds_is_skipped_and_counted(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(20_000)
    async with running_broker(tmp_path, config=QUIET, segment_bytes=64 * 1024) as broker:
        client = await kept(broker, "kept")
        await client.subscribe("t")
        await leave(client)
        publisher = await broker.connect("publisher")
        for number in range(20):
            await publisher.publish("t", b"%02d" % number + noise)
        await broker.wait_until(lambda: len(list(broker.directory.glob("*.seg"))) >= 3)
        sealed = sorted(broker.directory.glob("*.seg"))
        for path in sealed[:2]:
            path.unlink()
        client = await kept(broker, "kept", present=True)
        found = [payload[:2] for payload in await payloads(client, 1)]
        await publisher.publish("t", b"live")
        while found[-1] != b"li":
            found += [payload[:2] for payload in await payloads(client, 1)]
        lost = broker.statistics()["sessions"]["lost_messages"]
        assert lost > 0
        assert found == [*(b"%02d" % n for n in range(lost, 20)), b"li"]


async def test_wills_of_who_was_connected_when_the_broker_went(tmp_path: Path) -> None:
    """Published at the start, delayed ones after their delay; not those of clients that have said goodbye."""
    async with running_broker(tmp_path / "a", config=QUIET) as broker:
        for client_id, delay_s in (("now", 0), ("later", 3600)):
            will = b.will_fields(f"will/{client_id}", b"gone", properties=b.p32(0x18, delay_s))
            await kept(broker, client_id, will=will, will_flags=0x0C)
        polite = await broker.connect("polite", will=b.will_fields("will/polite", b"no"), will_flags=0x04)
        await leave(polite)
        await broker.connect("clean", will=b.will_fields("will/clean", b"gone"), will_flags=0x0C)
        watcher = await kept(broker, "watcher")
        await watcher.subscribe("will/#")
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    async with running_broker(tmp_path / "b", config=QUIET) as broker:
        watcher = await kept(broker, "watcher", present=True)
        found = {(m.topic, m.payload) for m in [await watcher.message() for _ in range(2)]}
        assert found == {("will/now", b"gone"), ("will/clean", b"gone")}
        await watcher.ping()
        again = await kept(broker, "later", present=True)
        await leave(again)
        await watcher.ping()
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    async with running_broker(tmp_path / "c", config=QUIET) as broker:
        topics = [topic for _, _, topic, _ in broker.records(Kind.SERVER_PUBLISH)]
        assert sorted(topics) == [b"will/clean", b"will/now"], "each once, however often the broker starts"


async def test_sessions_are_bounded(tmp_path: Path) -> None:
    async with running_broker(tmp_path, config=replace(QUIET, sessions_max=1)) as broker:
        await kept(broker, "first")
        other = await broker.open(version=5)
        assert await other.refused("second", clean=False, properties=HOUR) == 0x97
        await broker.connect("clean")
        older = await broker.open(version=4)
        assert await older.refused("third", clean=False) == 3
        assert broker.statistics()["listeners"]["refused_by_code"] == {"sessions_max": 2}


async def test_no_session_is_kept_where_the_configuration_says_so(tmp_path: Path) -> None:
    async with running_broker(tmp_path, config=replace(QUIET, session_expiry_s_max=0)) as broker:
        client = await broker.open(version=5)
        connack = await client.connect("c", clean=False, properties=HOUR)
        assert b.p32(0x11, 0) in connack.body
        await leave(client)
        assert broker.statistics()["sessions"]["durable"] == 0


async def test_an_operator_ends_a_session(tmp_path: Path) -> None:
    async with running_broker(tmp_path, config=QUIET) as broker:
        client = await kept(broker, "kept")
        await client.subscribe("t")
        assert broker.server.administration.end_session("kept")
        assert await client.disconnected() == 0x98
        assert not broker.server.administration.end_session("kept")
        client = await kept(broker, "kept", present=False)
        await leave(client)
        assert broker.server.administration.end_session("kept")
    async with running_broker(tmp_path, config=QUIET) as broker:
        assert broker.statistics()["sessions"]["durable"] == 0


async def test_revoked_access_ends_sessions(tmp_path: Path) -> None:
    async with running_broker(tmp_path, config=QUIET) as broker:
        client = await kept(broker, "kept", username="dev1")
        away = await kept(broker, "away", username="dev1")
        await leave(away)
        assert broker.server.revoke("dev1") == 1
        assert await client.disconnected() == 0x87
        assert broker.statistics()["sessions"]["durable"] == 0


async def test_a_draining_broker_sends_its_clients_on(tmp_path: Path) -> None:
    """MQTT 5.0 §3.14.2.2.5: use another server, and which."""
    config = replace(QUIET, server_reference="other.example:8883")
    async with running_broker(tmp_path, config=config) as broker:
        client = await broker.connect("c", version=5)
        broker.server.drain()
        packet = await client.packet()
        assert packet is not None
        assert packet.body[0] == 0x9C
        assert b.ptext(0x1C, "other.example:8883") in packet.body


@pytest.mark.parametrize("wants", [True, False])
async def test_reasons_are_said_to_who_wants_them(tmp_path: Path, wants: bool) -> None:
    """[MQTT-3.1.2-29]: no reason string where the client asked for none; DISCONNECT may have one all the same, ours has not."""
    async with running_broker(tmp_path, config=QUIET) as broker:
        client = await broker.connect("c", version=5, properties=b.p8(0x17, int(wants)))
        await client.send(b.PINGRESP_PACKET)
        packet = await client.packet()
        assert packet is not None
        assert (b"\x1f" in packet.body) == wants
