"""Clients on a disk that fails once, or is slow for seconds: what they notice, and what they don't."""

from __future__ import annotations

import errno
from pathlib import Path

import trio

from storage.log.columns import Kind
from storage.log.verify import verify
from tests.broker_kit import GatedDisk, running_broker
from tests.protocol import builder

SLOW_S = 5.0


class FailsOnce(GatedDisk):
    """One fdatasync fails when `fail_next` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.fail_next = False

    def fdatasync(self, descriptor: int) -> None:
        if self.fail_next:
            self.fail_next = False
            raise OSError(errno.EIO, "Input/output error")
        super().fdatasync(descriptor)


async def test_a_sync_that_fails_once_is_not_noticed(tmp_path: Path) -> None:
    """The acknowledgement comes when the block is on disk in a new segment; nobody is closed."""
    disk = FailsOnce()
    async with running_broker(tmp_path, disk=disk) as broker:
        client = await broker.connect("c")
        await client.publish("t", b"before")
        disk.fail_next = True
        await client.publish("t", b"while")
        await client.publish("t", b"after")
        assert not disk.fail_next
        log = broker.statistics()["log"]
        assert log["write_failures_total"] == 1
        assert "Input/output error" in log["last_write_failure"]
        assert log["broken"] == ""
        assert len(list(broker.directory.glob("*.open"))) == 2
    assert [payload for *_, payload in broker.records(Kind.PUBLISH)] == [b"before", b"while", b"after"]
    assert verify(broker.directory).ok


async def test_a_sync_of_five_seconds_only_delays(tmp_path: Path) -> None:
    """Clients stay connected, also one whose keep alive is a second and who pings; all is acknowledged afterwards."""
    async with running_broker(tmp_path) as broker:
        publisher = await broker.connect("publisher", keep_alive=2)
        pinging = await broker.connect("pinging", keep_alive=1)
        broker.disk.shut()
        began = trio.current_time()
        await publisher.send(publisher.publish_packet("t", b"slow", packet_id=1))
        await broker.wait_until(broker.disk.waiting.is_set)
        while trio.current_time() - began < SLOW_S:
            await pinging.ping()
            await publisher.ping()
            await trio.sleep(0.5)
        assert broker.statistics()["plane"]["acknowledged_messages"] == 0
        broker.disk.open_gate()
        assert (await publisher.expect(builder.PUBACK)).packet_id == 1
        await pinging.publish("t", b"later")
        assert broker.statistics()["plane"]["closed_by_reason"] == {}
        assert broker.statistics()["log"]["sync_us_max"] >= (SLOW_S - 0.5) * 1_000_000
