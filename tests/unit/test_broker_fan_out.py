"""From blocks to subscribers: live, lagging, and back again, over a log that is a list."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

import broker.fan_out
from appliance.core.clock import ManualClock
from appliance.core.errors import LogDamaged
from broker.committer import batch_body
from broker.connection import Connection
from broker.fan_out import FanOut
from broker.mqtt.batch import Batch
from broker.outbound import Step
from broker.router import Grant, Router
from broker.session_records import CloseReason
from broker.state.retained import RetainedMessages
from storage.log.block import Block
from storage.log.columns import Kind
from tests.broker_kit import connection_pair

if TYPE_CHECKING:
    from broker.data_plane import DataPlane


class ListLog:
    """Blocks in memory; `damaged` makes reading fail."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.damaged = False
        self.reads = 0
        self.is_open = threading.Event()
        self.is_open.set()

    @property
    def next_seq(self) -> int:
        return self.blocks[-1].first_seq + self.blocks[-1].record_count if self.blocks else 1

    def append(self, batch: Batch) -> int:
        first_seq = self.next_seq
        body, first_ms, last_ms = batch_body(batch)
        self.blocks.append(Block(1, first_seq, len(batch), first_ms, last_ms, b"", b"", body))
        return first_seq

    def read(self, seq: int, *, bytes_max: int) -> list[Block]:
        self.reads += 1
        assert self.is_open.wait(10)
        if self.damaged:
            raise LogDamaged("a bit has flipped", first_seq=seq, next_seq=seq + 1)
        return [block for block in self.blocks if block.first_seq + block.record_count > seq][:3]


@dataclass
class Stage:
    """What the fan-out needs of the data plane, and a log behind it."""

    log: ListLog = field(default_factory=ListLog)
    router: Router = field(default_factory=Router)
    retained: RetainedMessages = field(
        default_factory=lambda: RetainedMessages(messages_max=10_000, bytes_max=1_000_000)
    )
    clock: ManualClock = field(default_factory=ManualClock)
    durable_next_seq: int = 1
    dirty: list[Connection] = field(default_factory=list)
    closed: list[tuple[Connection, CloseReason]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fan_out = FanOut(self.router, self.log, self.retained, self.clock)

    @property
    def plane(self) -> DataPlane:
        return cast("DataPlane", self)

    def mark_dirty(self, connection: Connection) -> None:
        self.dirty.append(connection)

    def wake(self) -> None:
        pass

    def close(self, connection: Connection, reason: CloseReason, code: int) -> None:
        self.closed.append((connection, reason))
        self.fan_out.forget(connection)
        connection.part(b"")

    def publish(self, *messages: bytes, topic: bytes = b"t", qos: int = 1, client: str = "sender") -> None:
        """One block, on disk and fanned out."""
        batch = Batch()
        batch.mark_time(1)
        batch.add(Kind.SESSION_CHANGED, ("x", "x"))
        for payload in messages:
            batch.add(Kind.PUBLISH, (client, "site"), topic=topic, payload=payload, flags=qos << 1)
        first_seq = self.log.append(batch)
        self.fan_out.deliver(batch, first_seq, self.plane)
        self.durable_next_seq = self.log.next_seq


@contextmanager
def subscriber(stage: Stage, *filters: str, no_local: bool = False, **limits: Any) -> Iterator[Connection]:
    connection, theirs = connection_pair(**limits)
    for topic_filter in filters or ("t",):
        stage.router.subscribe(
            connection, topic_filter, Grant(qos=1, no_local=no_local, since_seq=stage.durable_next_seq)
        )
    yield connection
    connection.part(b"")
    theirs.close()


def payloads(connection: Connection) -> list[bytes]:
    """Last bytes of each packet sent: tests use payloads of three bytes."""
    sent = [packet[-3:] for packet in connection.outbox]
    connection.outbox.clear()
    return sent


def numbered(start: int, stop: int) -> list[bytes]:
    return [b"%03d" % number for number in range(start, stop)]


def take_all(connection: Connection) -> list[bytes]:
    """What a client gets that acknowledges everything, and whose socket takes everything."""
    got = payloads(connection)
    while connection.outbound.in_flight:
        packet = connection.outbound.complete(min(connection.outbound.in_flight), Step.PUBACK)
        if packet:
            got.append(packet[-3:])
    connection.outbound.unsent_bytes = 0
    return got


async def settle(stage: Stage, connection: Connection) -> list[bytes]:
    """Run the refilling task until the subscriber has caught up."""
    got: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.fan_out.run, stage.plane)
        with trio.fail_after(10):
            while connection.outbound.lag_seq is not None:
                got += take_all(connection)
                stage.fan_out.want_refill(connection)
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    return got + take_all(connection)


def test_live() -> None:
    stage = Stage()
    stage.publish(b"000")
    with subscriber(stage) as one, subscriber(stage, "#", "t") as other, subscriber(stage, "else") as third:
        stage.publish(b"001", b"002")
        stage.publish(b"003", topic=b"not wanted")
        assert payloads(one) == [b"001", b"002"]
        assert payloads(other) == [b"001", b"002", b"003"]
        assert payloads(third) == []
        assert stage.fan_out.delivered_messages == 5
        assert one.outbound.unsent_bytes > 0


def test_the_lower_qos_and_no_local() -> None:
    stage = Stage()
    with subscriber(stage) as one, subscriber(stage, no_local=True) as own:
        stage.publish(b"001", qos=0)
        stage.publish(b"002", client="c")
        assert [packet[0] for packet in one.outbox] == [0x30, 0x32]
        assert payloads(own) == [b"001"], "the subscriber's own message does not come back"


async def test_a_slow_subscriber_is_fed_from_the_log() -> None:
    stage = Stage()
    with (
        subscriber(stage, queue_messages_max=3, client_receive_maximum=2) as slow,
        subscriber(stage) as quick,
    ):
        for start in range(0, 100, 10):
            stage.publish(*numbered(start, start + 10))
        assert stage.fan_out.lagging_count == 1
        assert len(payloads(quick)) == 100
        assert len(slow.outbound.queue) == 3
        assert await settle(stage, slow) == numbered(0, 100)
        assert stage.fan_out.lagging_count == 0
        stage.publish(b"100")
        assert payloads(slow) == [b"100"], "live again"


async def test_blocks_that_come_while_it_catches_up() -> None:
    stage = Stage()
    with subscriber(stage, queue_messages_max=3, client_receive_maximum=2) as slow:
        stage.publish(*numbered(0, 10))
        got: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.fan_out.run, stage.plane)
            for start in range(10, 100, 10):
                got += take_all(slow)
                stage.fan_out.want_refill(slow)
                await trio.sleep(0.001)
                stage.publish(*numbered(start, start + 10))
            nursery.cancel_scope.cancel()
        assert got + await settle(stage, slow) == numbered(0, 100)


async def test_a_block_on_disk_that_was_not_fanned_out_yet_comes_once() -> None:
    stage = Stage()
    with subscriber(stage, queue_messages_max=5, client_receive_maximum=2) as slow:
        stage.publish(*numbered(0, 10))
        batch = Batch()
        batch.mark_time(1)
        for payload in numbered(10, 13):
            batch.add(Kind.PUBLISH, ("sender", "site"), topic=b"t", payload=payload, flags=2)
        first_seq = stage.log.append(batch)  # fsynced, and its turn comes later
        got: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.fan_out.run, stage.plane)
            with trio.fail_after(10):
                while len(got) < 10:
                    got += take_all(slow)
                    stage.fan_out.want_refill(slow)
                    await trio.sleep(0.001)
            for _ in range(20):  # it tries to go on, and can't yet
                got += take_all(slow)
                stage.fan_out.want_refill(slow)
                await trio.sleep(0.001)
            assert len(got) == 10
            stage.fan_out.deliver(batch, first_seq, stage.plane)
            stage.durable_next_seq = stage.log.next_seq
            nursery.cancel_scope.cancel()
        assert got + await settle(stage, slow) == numbered(0, 13)


async def test_many_filters_and_none_of_before_the_subscription() -> None:
    stage = Stage()
    stage.publish(b"000")
    with subscriber(
        stage, *(f"f{n}/+" for n in range(50)), "t", "#", queue_messages_max=3, client_receive_maximum=2
    ) as slow:
        stage.publish(*numbered(1, 20))
        assert await settle(stage, slow) == numbered(1, 20)


async def test_a_block_for_too_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would hold ingest up comes out of the log instead, in slices; nothing is lost, nothing comes twice."""
    monkeypatch.setattr(broker.fan_out, "OFFERS_PER_BLOCK_MAX", 25)
    monkeypatch.setattr(broker.fan_out, "SLICE_RECORD_COUNT", 7)
    stage = Stage()
    with subscriber(stage) as one, subscriber(stage, "#") as other, subscriber(stage, no_local=True) as third:
        stage.publish(*numbered(0, 30))
        assert stage.fan_out.lagging_count == 3
        assert len(one.outbox) == 8
        stage.publish(*numbered(30, 40), client="c")
        assert await settle(stage, one) == numbered(0, 40)
        assert await settle(stage, other) == numbered(0, 40)
        assert await settle(stage, third) == numbered(0, 30)
        assert stage.fan_out.lagging_count == 0
        assert not stage.fan_out._chunks, "nothing is kept when nobody needs it"
        assert stage.log.reads <= 3, "they are at the same place, and read once for all"


async def test_a_subscriber_that_leaves_while_the_log_is_read() -> None:
    """It costs nothing afterwards: the task sleeps."""
    stage = Stage()
    with subscriber(stage, queue_messages_max=3, client_receive_maximum=2) as slow:
        stage.publish(*numbered(0, 100))
        take_all(slow)
        async with trio.open_nursery() as nursery:
            stage.log.is_open.clear()
            nursery.start_soon(stage.fan_out.run, stage.plane)
            stage.fan_out.want_refill(slow)
            with trio.fail_after(10):
                while not stage.log.reads:  # noqa: ASYNC110 - counted in a thread
                    await trio.sleep(0.001)
            stage.router.forget(slow)
            stage.fan_out.forget(slow)
            slow.part(b"")
            stage.log.is_open.set()
            with trio.fail_after(10):
                await trio.testing.wait_all_tasks_blocked(0.05)
            reads = stage.log.reads
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert stage.log.reads == reads
            nursery.cancel_scope.cancel()
    assert stage.fan_out.lagging_count == 0


async def test_a_log_that_can_not_be_read_closes_the_subscriber() -> None:
    stage = Stage()
    with subscriber(stage, queue_messages_max=3, client_receive_maximum=2) as slow:
        stage.publish(*numbered(0, 100))
        take_all(slow)
        stage.log.damaged = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.fan_out.run, stage.plane)
            stage.fan_out.want_refill(slow)
            with trio.fail_after(10):
                while not stage.closed:  # noqa: ASYNC110 - a list that another task fills
                    await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        assert stage.closed == [(slow, CloseReason.KICKED)]


@pytest.mark.parametrize("count", [1, 4, 5, 50])
def test_grants_by_list_and_by_tree_are_the_same(count: int) -> None:
    from broker.fan_out import _granting

    grants = {f"x/{n}": Grant(qos=0, no_local=False, since_seq=1) for n in range(count - 1)}
    grants["x/#"] = Grant(qos=1, no_local=False, since_seq=1)
    grant_of = _granting(grants)
    assert grant_of("x/0") is grants["x/#"]
    assert grant_of("y") is None
