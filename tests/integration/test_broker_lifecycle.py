"""Start, drain, a log that fails, a disk that is full, and how long a lone reading lingers."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

import broker.committer
from appliance.core.clock import ManualClock, SystemClock
from appliance.core.errors import ConfigError, LogBroken, LogFull
from appliance.core.settings import Bind
from broker.listener import open_listener
from storage.log.columns import Kind
from tests.broker_kit import CONFIG, DEADLINE_S, GatedDisk, Peer, Running, running_broker
from tests.protocol import builder


async def nothing_more(peer: Peer, for_s: float = 0.1) -> bool:
    """Whether a peer hears nothing for a while."""
    with trio.move_on_after(for_s):
        await peer.packet()
        return False
    return True


class TestStartAndDrain:
    async def test_the_first_record_says_that_the_broker_has_started(self, tmp_path: Path) -> None:
        for _ in range(2):
            async with running_broker(tmp_path) as broker:
                await broker.connect("c")
        kinds = [kind for kind, *_ in broker.records()]
        assert kinds == [Kind.BROKER_STARTED, Kind.SESSION_OPENED, Kind.SESSION_CLOSED] * 2
        assert msgpack.unpackb(broker.records()[0][3]) == {"version": "kit"}

    async def test_drain(self, tmp_path: Path) -> None:
        """What was taken is on disk and acknowledged, then everybody is told; nobody gets in any more."""
        async with running_broker(tmp_path) as broker:
            new, old = await broker.connect("new", version=5), await broker.connect("old")
            half_open = await broker.open()
            broker.disk.shut()
            await new.send(new.publish_packet("t", b"taken", packet_id=1))
            await broker.wait_until(broker.disk.waiting.is_set)
            await new.send(new.publish_packet("t", b"taken too", packet_id=2))
            await broker.wait_until(lambda: broker.statistics()["plane"]["received_messages"] == 2)
            broker.server.drain()
            assert await half_open.packet() is None
            with pytest.raises(OSError):
                await Peer.open(broker.port)
            await new.send(new.publish_packet("t", b"too late", packet_id=3))
            assert await nothing_more(old)
            broker.disk.open_gate()
            assert [(await new.expect(builder.PUBACK)).packet_id for _ in range(2)] == [1, 2]
            assert await new.disconnected() == 0x8B
            assert await old.disconnected() is None
        assert [payload for *_, payload in broker.records(Kind.PUBLISH)] == [b"taken", b"taken too"]
        closings = {client: msgpack.unpackb(p) for _, client, _, p in broker.records(Kind.SESSION_CLOSED)}
        assert {closing["reason"] for closing in closings.values()} == {"draining"}
        assert set(closings) == {"new", "old"}

    async def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        with open_listener("127.0.0.1", 0) as taken:
            config = replace(CONFIG, tcp_bind=Bind(host="127.0.0.1", port=taken.getsockname()[1]))
            with pytest.RaisesGroup(ConfigError):
                async with running_broker(tmp_path, config=config):
                    raise AssertionError("it started")

    async def test_a_control_socket_that_can_not_be_made(self, tmp_path: Path) -> None:
        with pytest.RaisesGroup(pytest.RaisesGroup(FileNotFoundError)):
            async with running_broker(tmp_path, control_path=tmp_path / "nowhere" / "broker.sock"):
                raise AssertionError("it started")


class LeapingClock(SystemClock):
    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


async def test_a_clock_that_leaps_ahead_stands_in_the_log_before_what_comes_then(tmp_path: Path) -> None:
    clock, day_ms = LeapingClock(), 86_400_000
    async with running_broker(tmp_path, clock=clock) as broker:
        client = await broker.connect("c")
        await client.publish("t", b"before")
        clock.ahead_ms = day_ms
        await broker.wait_until(lambda: broker.records(Kind.CLOCK_AHEAD))
        await client.publish("t", b"after")
        clock.ahead_ms = 2 * day_ms
        await client.publish("t", b"at once")
    kinds = (Kind.CLOCK_AHEAD, Kind.PUBLISH)
    found = [(kind, payload) for kind, _, _, payload in broker.records(*kinds)]
    assert [payload for kind, payload in found if kind is Kind.PUBLISH] == [b"before", b"after", b"at once"]
    assert [kind for kind, _ in found] == [
        Kind.PUBLISH,
        Kind.CLOCK_AHEAD,
        Kind.PUBLISH,
        Kind.CLOCK_AHEAD,
        Kind.PUBLISH,
    ]


def failing(disk: GatedDisk, how: str) -> None:
    error = OSError(errno.EIO, "the disk is gone")
    if how == "write":
        disk.write_error = error
    else:
        disk.error = error


class TestLogFails:
    @pytest.mark.parametrize("how", ["write", "fsync"])
    async def test_no_acknowledgement_leaves_and_the_broker_ends(self, tmp_path: Path, how: str) -> None:
        heard: list[Any] = []
        with pytest.RaisesGroup(pytest.RaisesExc(LogBroken), flatten_subgroups=True):
            async with running_broker(tmp_path) as broker:
                publisher = await broker.connect("publisher", version=5)
                subscriber = await broker.connect("subscriber")
                await subscriber.subscribe("#")
                await publisher.publish("t", b"fine")
                heard.append((await subscriber.message()).payload)
                broker.disk.shut()
                await publisher.send(publisher.publish_packet("t", b"lost", packet_id=7))
                await broker.wait_until(broker.disk.waiting.is_set)
                late = await broker.open()
                await late.send(builder.connect("late", username="site", password=b"t"))
                failing(broker.disk, how)
                broker.disk.open_gate()
                if how == "write":  # the block in flight was written already; the next one is not
                    await publisher.expect(builder.PUBACK)
                    heard.append((await subscriber.message()).payload)
                    await publisher.send(publisher.publish_packet("t", b"lost", packet_id=8))
                for peer in (publisher, subscriber, late):
                    while (packet := await peer.packet()) is not None:
                        heard.append(packet)
        assert heard[0] == b"fine"
        assert [p for p in heard if not isinstance(p, bytes) and p.kind != builder.DISCONNECT] == []

    async def test_a_full_disk_is_waited_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody is told yes, nobody is closed; when there is room again everything goes on by itself."""
        monkeypatch.setattr(broker.committer.Committer.__init__, "__kwdefaults__", {"space_retry_s": 0.01})
        async with running_broker(tmp_path) as running:
            client = await running.connect("c")
            append, is_full = running.writer.append, True

            def refuse(*job: Any) -> Any:
                if is_full:
                    raise LogFull("no room", hint="Free space.")
                return append(*job)

            monkeypatch.setattr(running.writer, "append", refuse)
            await client.send(client.publish_packet("t", b"x", packet_id=9))
            await running.wait_until(lambda: running.statistics()["plane"]["log_is_full"])
            await client.ping()
            assert await nothing_more(client)
            is_full = False
            assert (await client.expect(builder.PUBACK)).packet_id == 9
            assert not running.statistics()["plane"]["log_is_full"]

    async def test_a_drain_does_not_wait_for_space(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*job: Any) -> Any:
            raise LogFull("no room", hint="Free space.")

        with pytest.RaisesGroup(pytest.RaisesExc(LogFull), flatten_subgroups=True):
            async with running_broker(tmp_path) as running:
                client = await running.connect("c")
                monkeypatch.setattr(running.writer, "append", refuse)
                await client.send(client.publish_packet("t", b"x"))
                await running.wait_until(lambda: running.statistics()["plane"]["log_is_full"])
                running.server.drain()


class TestLinger:
    async def blocks(self, running: Running) -> int:
        return int(running.statistics()["plane"]["blocks"])

    async def test_a_lone_reading_waits_for_company(self, tmp_path: Path) -> None:
        clock = ManualClock()
        async with running_broker(tmp_path, clock=clock, linger_ms=1000) as running:
            client = await running.open()
            await client.send(builder.connect("c", username="site", password=b"t"))
            await running.wait_until(lambda: running.statistics()["plane"]["connections"] == 1)
            clock.advance(1000)
            running.server.plane.wake()
            await client.expect(builder.CONNACK)
            before = await self.blocks(running)
            await client.send(client.publish_packet("t", b"1", packet_id=1))
            await running.wait_until(lambda: running.statistics()["plane"]["received_messages"] == 1)
            clock.advance(999)
            await client.send(client.publish_packet("t", b"2", packet_id=2), builder.PINGREQ_PACKET)
            await client.expect(builder.PINGRESP)
            assert await nothing_more(client)
            clock.advance(1)
            running.server.plane.wake()
            assert (await client.expect(builder.PUBACK)).packet_id == 1
            assert (await client.expect(builder.PUBACK)).packet_id == 2
            assert await self.blocks(running) == before + 1

    async def test_a_full_page_does_not(self, tmp_path: Path) -> None:
        clock = ManualClock()
        async with running_broker(tmp_path, clock=clock, linger_ms=1000) as running:
            client = await running.open()
            await client.send(builder.connect("c", username="site", password=b"t"))
            await running.wait_until(lambda: running.statistics()["plane"]["connections"] == 1)
            clock.advance(1000)
            running.server.plane.wake()
            await client.expect(builder.CONNACK)
            await client.publish("t", b"x" * 4096)

    async def test_load_does_not(self, tmp_path: Path) -> None:
        """Sixteen records within the linger time are load; small ones after them go at once."""
        clock = ManualClock()
        async with running_broker(tmp_path, clock=clock, linger_ms=1000) as running:
            client = await running.open()
            await client.send(builder.connect("c", username="site", password=b"t"))
            await running.wait_until(lambda: running.statistics()["plane"]["connections"] == 1)
            clock.advance(1000)
            running.server.plane.wake()
            await client.expect(builder.CONNACK)
            await client.send(*(client.publish_packet("t", b"x", packet_id=n) for n in range(1, 21)))
            for packet_id in range(1, 21):
                assert (await client.expect(builder.PUBACK)).packet_id == packet_id
            await client.publish("t", b"right behind")

    async def test_without_linger(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path, clock=ManualClock(), linger_ms=0) as running:
            client = await running.connect("c")
            for packet_id in range(1, 20):
                await client.publish("t", b"x", packet_id=packet_id)

    async def test_on_the_real_clock(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path, clock=SystemClock(), linger_ms=50) as running:
            client = await running.connect("c")
            before = trio.current_time()
            await client.publish("t", b"x")
            assert trio.current_time() - before < DEADLINE_S
