"""Shared subscriptions fed out of the log: when a member can take a message again, or has lost one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import trio
import trio.testing

import broker.shared_refill
from appliance.core.errors import CursorExpired, LogDamaged, StorageError
from broker.mqtt.topics import SharedFilter
from broker.shared import SharedGroup
from storage.log.columns import Kind
from tests.protocol import builder
from tests.session_kit import CONFIG, Client, Stage

SHARED = "$share/g/t"


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(config=replace(CONFIG, session_queue_messages_max=2))
    yield made
    made.end()


def numbered(start: int, stop: int) -> list[bytes]:
    return [b"%03d" % number for number in range(start, stop)]


def member(stage: Stage, name: str, *, options: int = 1, receive_maximum: int = 100) -> Client:
    client = stage.connect(name, receive_maximum=receive_maximum)
    if SHARED not in client.session.filters:
        client.subscribe(SHARED, options=options)
    client.packets()
    return client


def group_of(stage: Stage) -> SharedGroup:
    return stage.router.groups[SharedFilter("g", "t")]


async def drink(stage: Stage, *clients: Client) -> list[bytes]:
    """All that these get, who acknowledge everything at QoS 1, in the order of the log."""
    got: list[bytes] = []
    while True:
        await stage.feed()
        count = len(got)
        for client in clients:
            messages = client.messages()
            got += [message.payload for message in messages]
            client.acknowledge(*(message for message in messages if message.qos == 1))
        if len(got) == count:
            return sorted(got)


async def test_each_message_to_one_of_them_in_turn(stage: Stage) -> None:
    one, other = member(stage, "one"), member(stage, "other")
    stage.publish(*numbered(0, 4))
    assert one.payloads() == [b"000", b"002"]
    assert other.payloads() == [b"001", b"003"]
    assert list(group_of(stage).unfinished)
    assert await drink(stage, one, other) == []


async def test_a_member_that_is_full_is_passed_over(stage: Stage) -> None:
    slow, quick = member(stage, "slow", receive_maximum=1), member(stage, "quick")
    stage.publish(*numbered(0, 20))
    assert len(slow.payloads()) == 1
    assert len(quick.payloads()) == 20 - 3
    assert len(slow.session.outbound.queue) == 2
    assert not group_of(stage).is_behind


async def test_what_nobody_can_take_waits_in_the_log(stage: Stage) -> None:
    one, other = member(stage, "one", receive_maximum=1), member(stage, "other", receive_maximum=1)
    for start in range(0, 30, 10):
        stage.publish(*numbered(start, start + 10))
    assert group_of(stage).is_behind
    assert await drink(stage, one, other) == numbered(0, 30)
    assert not group_of(stage).is_behind
    assert not group_of(stage).unfinished
    stage.publish(b"030")
    assert [*one.payloads(), *other.payloads()] == [b"030"], "live again"


async def test_what_comes_while_all_are_away(stage: Stage) -> None:
    member(stage, "one").leave()
    stage.publish(*numbered(0, 10))
    stage.publish(b"---", topic="else")
    stage.publish(b"---", kind=Kind.SESSION_CHANGED)
    assert group_of(stage).is_behind
    one = member(stage, "one")
    stage.shared_refill.want(one.session)
    assert await drink(stage, one) == numbered(0, 10)


async def test_a_member_that_comes_is_given_what_waits(stage: Stage) -> None:
    """Nothing else has to happen first."""
    member(stage, "one").leave()
    stage.publish(*numbered(0, 2))
    one = member(stage, "one")
    assert await drink(stage, one) == numbered(0, 2)


async def test_what_only_waited_for_a_member_goes_to_another(stage: Stage) -> None:
    slow, other = member(stage, "slow", receive_maximum=1), member(stage, "other")
    stage.publish(*numbered(0, 6))
    got = slow.payloads()
    assert len(slow.session.outbound.queue) == 2
    slow.leave()
    assert sorted(got + await drink(stage, other)) == numbered(0, 6)


async def test_what_a_session_that_ends_had_not_acknowledged(stage: Stage) -> None:
    ending, other = member(stage, "ending"), member(stage, "other")
    stage.publish(*numbered(0, 4))
    assert len(ending.payloads()) == 2
    ending.leave()
    stage.lifecycle.end(ending.session, "expired")
    assert await drink(stage, other) == numbered(0, 4)
    assert stage.shared_refill.delivered_messages > 0
    assert not group_of(stage).unfinished


async def test_qos_2_of_a_session_that_ends_goes_to_nobody(stage: Stage) -> None:
    """[MQTT-4.8.2-5]."""
    ending, other = member(stage, "ending", options=2), member(stage, "other", options=2)
    stage.publish(b"000", b"001", qos=2)
    assert len(ending.payloads()) == 1
    assert len(other.payloads()) == 1
    ending.leave()
    stage.lifecycle.end(ending.session, "expired")
    assert await drink(stage, other) == []


async def test_one_that_expired_while_it_waited_goes_to_nobody(stage: Stage) -> None:
    ending, other = member(stage, "ending"), member(stage, "other", receive_maximum=1)
    for _ in range(5):
        stage.publish(b"---", properties=builder.p32(0x02, 5))
    stage.publish(b"new")
    stage.clock.advance(6000)
    assert set(ending.payloads()) <= {b"---", b"new"}
    ending.leave()
    stage.lifecycle.end(ending.session, "expired")
    got = await drink(stage, other)
    assert got.count(b"---") == 1, "what was sent before"
    assert got.count(b"new") == 1
    assert not group_of(stage).unfinished


async def test_at_qos_0_nothing_is_remembered(stage: Stage) -> None:
    one = member(stage, "one", options=0)
    stage.publish(b"000", qos=0)
    assert one.payloads() == [b"000"]
    assert not group_of(stage).unfinished


@pytest.mark.parametrize("is_expired", [False, True])
async def test_what_can_not_be_read_is_skipped_and_counted(stage: Stage, is_expired: bool) -> None:
    member(stage, "one").leave()
    first_seq = stage.durable_next_seq
    stage.publish(*numbered(0, 3))
    stage.publish(*numbered(3, 5))
    after_seq = stage.log.blocks[-1].first_seq
    stage.log.begin_seq = after_seq
    damage = LogDamaged("bits", first_seq=first_seq, next_seq=after_seq)
    stage.log.errors[first_seq] = CursorExpired("gone") if is_expired else damage
    one = member(stage, "one")
    stage.shared_refill.want(one.session)
    assert await drink(stage, one) == numbered(3, 5)
    assert stage.shared_refill.skipped_records == 3


async def test_one_that_was_given_back_and_is_gone_is_counted(stage: Stage) -> None:
    ending, other = member(stage, "ending"), member(stage, "other")
    stage.publish(b"000")
    seq = stage.durable_next_seq - 1
    assert ending.payloads() == [b"000"]
    stage.log.errors[seq] = CursorExpired("gone")
    ending.leave()
    stage.lifecycle.end(ending.session, "expired")
    assert await drink(stage, other) == []
    assert stage.shared_refill.skipped_records == 1
    assert not group_of(stage).is_behind


async def test_a_disk_that_fails_is_no_end(stage: Stage) -> None:
    member(stage, "one").leave()
    stage.log.errors[stage.durable_next_seq] = StorageError("the disk fails")
    stage.publish(b"000")
    stage.log.errors[stage.log.blocks[-1].first_seq] = StorageError("the disk fails")
    one = member(stage, "one")
    stage.shared_refill.want(one.session)
    assert await drink(stage, one) == []
    assert group_of(stage).is_behind
    stage.log.errors.clear()
    stage.shared_refill.want(one.session)
    assert await drink(stage, one) == [b"000"]


async def test_a_group_that_nobody_is_in_any_more(stage: Stage) -> None:
    one = member(stage, "one")
    one.session.outbound.unsent_bytes = 10**9
    stage.publish(b"000")
    one.session.outbound.unsent_bytes = 0
    stage.shared_refill.want(one.session)
    one.send(builder.unsubscribe(1, SHARED, properties=b""))
    assert await drink(stage, one) == []
    assert not stage.shared_refill._lagging


async def test_slices_give_others_their_turn(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.shared_refill, "SLICE_RECORD_COUNT", 2)
    monkeypatch.setattr(broker.shared_refill, "RETURNED_SLICE_COUNT", 1)
    ending, other = member(stage, "ending"), member(stage, "other", receive_maximum=1)
    stage.publish(*numbered(0, 12))
    ending.payloads()
    ending.leave()
    stage.lifecycle.end(ending.session, "expired")
    assert await drink(stage, other) == numbered(0, 12)


async def test_it_sleeps_until_there_is_something(stage: Stage) -> None:
    one = member(stage, "one", receive_maximum=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.shared_refill.run, stage.plane)
        await trio.testing.wait_all_tasks_blocked()
        stage.publish(*numbered(0, 20))
        got: list[bytes] = []
        with trio.fail_after(60):
            while len(got) < 20:
                messages = one.messages()
                got += [message.payload for message in messages]
                one.acknowledge(*messages)
                await trio.lowlevel.checkpoint()
        assert got == numbered(0, 20)
        nursery.cancel_scope.cancel()


class TestAfterALossOfPower:
    async def test_what_was_not_acknowledged_is_given_out_again(self, stage: Stage) -> None:
        one, other = member(stage, "one"), member(stage, "other")
        stage.publish(*numbered(0, 4))
        one.acknowledge(*one.messages())
        stage.advance(1000)
        stage.crash()
        one, other = member(stage, "one"), member(stage, "other")
        stage.publish(b"004")
        got = await drink(stage, one, other)
        assert set(got) == set(numbered(1, 5)), "what is before the first unfinished one is done"

    async def test_qos_2_stays_whose_it_was(self, stage: Stage) -> None:
        one, other = member(stage, "one", options=2), member(stage, "other", options=2)
        stage.publish(*numbered(0, 4), qos=2)
        had = {name: client.payloads() for name, client in (("one", one), ("other", other))}
        for checkpoint in (None, stage.checkpoint()):
            stage.crash(checkpoint)
            for name in had:
                client = stage.connect(name)
                await stage.feed()
                again = client.messages()
                assert [packet.payload for packet in again] == had[name]
                assert all(packet.is_duplicate for packet in again)

    async def test_what_waits_needs_no_new_message(self, stage: Stage) -> None:
        member(stage, "one").leave()
        stage.publish(*numbered(0, 2))
        stage.crash()
        one = member(stage, "one")
        assert await drink(stage, one) == numbered(0, 2)
