"""Sessions where histories cross: who waits for whom, what a client can make of it, and what a loss of power makes of that."""

from __future__ import annotations

import errno
import gc
from collections.abc import Iterator
from dataclasses import replace
from inspect import GEN_CREATED, getgeneratorstate, isgenerator
from pathlib import Path

import msgpack
import pytest

import broker.fan_out
import broker.lifecycle
import broker.shared
from appliance.core.errors import LogDamaged
from appliance.management.access import Principal
from broker.refill import BEGUN_WALK_COUNT_MAX
from broker.router import Grant, merged
from broker.state.checkpoint import _HEADER, MAGIC, decode_checkpoint
from storage.log.columns import Kind
from storage.log.layout import crc32c
from storage.log.reader import LogReader
from tests.broker_kit import running_broker
from tests.protocol import builder
from tests.session_kit import CONFIG, Client, Stage

SHARED = "$share/g/t"


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(config=replace(CONFIG, session_queue_messages_max=5))
    yield made
    made.end()


@pytest.fixture
def narrow() -> Iterator[Stage]:
    """Where 1,000 bytes may wait for a client."""
    made = Stage(config=replace(CONFIG, session_queue_bytes_max=1000))
    yield made
    made.end()


def finish(client: Client, *, is_told: bool = True) -> list[bytes]:
    """Take QoS 2 messages to their end; returns the payloads of those that are no duplicates."""
    stage, fresh = client.stage, []
    for message in client.messages():
        if not message.is_duplicate:
            fresh.append(message.payload)
        client.send(builder.ack(builder.PUBREC, message.packet_id))
        stage.commit()
        client.packets()
        if is_told:
            client.send(builder.ack(builder.PUBCOMP, message.packet_id))
    return fresh


# --- shared subscriptions: somebody is woken ------------------------------------------------------------------


async def test_what_waited_for_a_member_that_leaves_goes_to_one_that_is_idle(stage: Stage) -> None:
    slow = stage.connect("slow", receive_maximum=1)
    slow.subscribe(SHARED)
    stage.publish(b"1", b"2", b"3")
    assert slow.payloads() == [b"1"]
    idle = stage.connect("idle")
    idle.subscribe(SHARED)
    idle.packets()
    slow.leave()
    await stage.feed()
    assert idle.payloads() == [b"2", b"3"]
    stage.publish(b"4")
    await stage.feed()
    assert idle.payloads() == [b"4"]


async def test_the_same_where_the_session_of_the_one_that_leaves_ends(stage: Stage) -> None:
    slow = stage.connect("slow", receive_maximum=1, expiry_s=0)
    slow.subscribe("other")
    stage.publish(b"0", topic="other")
    slow.subscribe(SHARED)
    stage.publish(b"1", b"2")
    assert slow.payloads() == [b"0"]
    idle = stage.connect("idle")
    idle.subscribe(SHARED)
    idle.packets()
    slow.leave()
    await stage.feed()
    assert idle.payloads() == [b"1", b"2"]


async def test_a_group_that_fell_behind_with_a_whole_block_goes_on_by_itself(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.fan_out, "OFFERS_PER_BLOCK_MAX", 2)
    member = stage.connect("member")
    member.subscribe(SHARED, options=0)
    member.packets()
    stage.publish(b"1", b"2", b"3", b"4")
    await stage.feed()
    assert member.payloads() == [b"1", b"2", b"3", b"4"]


async def test_a_member_whose_socket_takes_again_what_it_had_no_room_for(narrow: Stage) -> None:
    """Nothing is acknowledged at QoS 0."""
    member = narrow.connect("member")
    member.subscribe(SHARED, options=0)
    member.packets()
    member.is_stuck = True
    for number in range(5):
        narrow.publish(b"%d" % number * 500)
    assert next(iter(narrow.router.groups.values())).is_behind
    member.is_stuck = member.connection.is_blocked = False
    narrow.mark_dirty(member.connection)
    narrow.flush()
    await narrow.feed()
    assert [payload[:1] for payload in member.payloads()] == [b"0", b"1", b"2", b"3", b"4"]


async def test_after_a_start_a_group_goes_on_when_a_member_is_back(stage: Stage) -> None:
    member = stage.connect("member")
    member.subscribe(SHARED)
    member.leave()
    stage.publish(b"1", b"2")
    stage.crash()
    back = stage.connect("member")
    await stage.feed()
    assert back.payloads() == [b"1", b"2"]


async def test_groups_that_nobody_is_in_any_more_are_forgotten(stage: Stage) -> None:
    member = stage.connect("member", receive_maximum=1)
    for number in range(20):
        member.subscribe(f"$share/g{number}/t")
        member.session.outbound.fall_behind(stage.durable_next_seq)
        stage.publish(b"m")
        member.session.outbound.lag_seq = None
        member.send(builder.unsubscribe(2, f"$share/g{number}/t", properties=b""))
        stage.commit()
    await stage.feed()
    gc.collect()
    assert not stage.shared_refill._lagging


# --- QoS 2 after a loss of power ------------------------------------------------------------------------------


async def test_what_was_in_flight_behind_a_cursor_does_not_come_twice(stage: Stage) -> None:
    client = stage.connect(receive_maximum=20)
    client.subscribe("t", options=2)
    client.packets()
    stage.publish(*[b"%d" % number for number in range(8)], qos=2)
    assert len(client.messages()) == 8
    stage.crash()
    back = stage.connect(receive_maximum=20)
    await stage.feed()
    messages = back.messages()
    assert [m.payload for m in messages] == [b"%d" % number for number in range(8)]
    assert all(m.is_duplicate for m in messages)


async def test_a_checkpoint_of_a_cursor_does_not_bring_it_twice(stage: Stage) -> None:
    client = stage.connect(receive_maximum=20)
    client.subscribe("t", options=2)
    client.leave()
    stage.publish(b"0", qos=2)
    client = stage.connect(receive_maximum=20)
    assert client.session.outbound.lag_seq is not None
    checkpoint = stage.checkpoint()
    stage.publish(b"1", qos=2)
    await stage.feed()
    assert finish(client) == [b"0", b"1"]
    stage.crash(checkpoint)
    back = stage.connect(receive_maximum=20)
    await stage.feed()
    assert finish(back) == []


# --- what a client can make of it -----------------------------------------------------------------------------


def test_a_member_that_no_longer_outlives_its_connection_spoils_no_checkpoint(stage: Stage) -> None:
    kept = stage.connect("kept")
    kept.subscribe("t")
    member = stage.connect("member")
    member.subscribe(SHARED)
    member.leave()
    stage.connect("member", expiry_s=0)
    stage.publish(b"1")
    checkpoint = stage.checkpoint()
    assert checkpoint.groups == []
    stage.crash(checkpoint)
    assert stage.sessions.get("kept") is not None


async def test_what_is_sent_again_is_bounded_as_everything_else(narrow: Stage) -> None:
    stage = narrow
    client = stage.connect()
    client.subscribe("t")
    client.packets()
    for _ in range(50):
        stage.publish(b"x" * 500)
        client.messages()
    client.leave()
    back = stage.connect(is_committed=False)
    back.is_stuck = True
    stage.commit()
    await stage.feed()
    assert back.connection.unsent_bytes < 3000
    back.is_stuck = back.connection.is_blocked = False
    stage.mark_dirty(back.connection)
    stage.flush()
    await stage.feed()
    assert len(back.messages()) == 50


async def test_what_waits_for_its_record_counts_against_the_queue(narrow: Stage) -> None:
    client = narrow.connect()
    client.subscribe("t", options=2)
    client.packets()
    for _ in range(50):
        narrow.add(b"x" * 500, qos=2)
    narrow.commit()
    outbound = client.session.outbound
    assert outbound.lag_count == 1, "it became a cursor where it had no room"
    assert len(client.messages()) == 2
    await narrow.feed()
    assert len(client.messages()) == 48
    assert outbound.withheld_bytes == 0


async def test_nothing_is_sent_again_that_the_client_no_longer_takes(stage: Stage) -> None:
    client = stage.connect()
    client.subscribe("t")
    client.packets()
    stage.publish(b"x" * 500, b"y")
    client.messages()
    client.leave()
    back = stage.connect(packet_bytes_max=100)
    await stage.feed()
    assert back.payloads() == [b"y"]
    assert back.session.outbound.oversize_count == 1


async def test_what_was_completed_while_the_log_was_read_is_not_sent_again(stage: Stage) -> None:
    client = stage.connect()
    client.subscribe("t", options=2)
    client.packets()
    stage.publish(b"1", qos=2)
    (message,) = client.messages()
    client.leave()
    back = stage.connect()

    def complete() -> None:
        back.send(builder.ack(builder.PUBREC, message.packet_id))
        stage.commit()
        back.send(builder.ack(builder.PUBCOMP, message.packet_id))

    stage.log.meanwhile = complete
    await stage.feed()
    assert back.payloads() == []


def test_a_group_is_done_with_what_could_not_be_sent_again(stage: Stage) -> None:
    member = stage.connect()
    member.subscribe(SHARED)
    member.packets()
    stage.publish(b"1")
    (message,) = member.messages()
    member.session.outbound.forget(message.packet_id)
    (group,) = stage.router.groups.values()
    assert group.first_unfinished(stage.durable_next_seq) == stage.durable_next_seq


def test_many_subscriptions_in_a_packet_begin_few_walks_of_the_retained_messages(stage: Stage) -> None:
    for number in range(300):
        stage.publish(b"r", topic=f"wide/{number}", retain=True)
    client = stage.connect()
    client.subscribe(*(f"wide/+/{number}" for number in range(50)))
    walks = [walk.found for walk in client.session.retained.values()]
    assert len(walks) == 50
    unbegun = [walk for walk in walks if isgenerator(walk) and getgeneratorstate(walk) == GEN_CREATED]
    assert len(unbegun) == 50 - BEGUN_WALK_COUNT_MAX


def test_overlapping_subscriptions_are_merged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    init = Grant.__post_init__

    def counting(grant: Grant) -> None:
        nonlocal made
        made += 1
        init(grant)

    grants = [Grant(qos=number % 3, identifiers=(number + 1,), since_seq=number) for number in range(100)]
    monkeypatch.setattr(Grant, "__post_init__", counting)
    whole = merged(*grants)
    assert made <= 1
    assert sorted(whole.identifiers) == list(range(1, 101))
    assert whole.qos == 2
    assert whole.since_seq == 0


def test_a_device_keeps_as_many_sessions_as_it_may_have_connections(stage: Stage) -> None:
    device = Principal(name="press-1", kind="device", access="own")
    stage.connect("of another").leave()
    for number in range(20):
        stage.connect(f"press-1-{number}", principal=device).leave()
        stage.advance(10)
    assert [session.client_id for session in stage.sessions.of("press-1")] == [
        f"press-1-{number}" for number in range(12, 20)
    ]
    back = stage.connect("press-1-12", principal=device)
    assert len(stage.sessions.of("press-1")) == CONFIG.connections_per_device_max
    stage.connect("press-1-20", principal=device)
    assert back.is_connected
    assert stage.sessions.get("press-1-13") is None
    assert stage.sessions.get("of another") is not None
    stage.crash()
    assert len(stage.sessions.of("press-1")) == CONFIG.connections_per_device_max


def test_a_message_that_is_never_acknowledged_does_not_have_all_others_remembered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.shared, "HANDED_COUNT_MAX", 10)
    holder, worker = stage.connect("holder", receive_maximum=1), stage.connect("worker")
    for member in (holder, worker):
        member.subscribe(SHARED, options=2)
        member.packets()
    for _ in range(60):
        stage.publish(b"m", qos=2)
        finish(worker)
        stage.advance(1000)
    (group,) = stage.router.groups.values()
    assert len(holder.messages()) == 1
    assert len(group.handed) <= 11
    assert holder.session.outbound.in_flight


@pytest.mark.parametrize("is_damaged", [False, True])
async def test_nothing_is_read_for_a_session_that_has_ended(stage: Stage, is_damaged: bool) -> None:
    client = stage.connect(expiry_s=0)
    client.subscribe("t")
    client.packets()
    session, first_seq = client.session, stage.durable_next_seq
    session.outbound.fall_behind(first_seq)
    for number in range(20):
        stage.publish(b"%d" % number)
    if is_damaged:
        stage.log.errors[first_seq] = LogDamaged("bits", first_seq=first_seq, next_seq=first_seq + 1)
    stage.log.meanwhile = client.leave
    stage.mark_dirty(client.connection)
    await stage.feed()
    assert stage.sessions.get("c") is None
    assert stage.log.reads == 1
    assert not stage.refill._lagging
    assert not session.outbound.positions


async def test_a_sector_that_can_not_be_read_ends_no_more_than_a_connection(stage: Stage) -> None:
    client = stage.connect()
    client.subscribe("t")
    client.leave()
    seq = stage.durable_next_seq
    stage.publish(b"1")
    stage.log.errors[seq] = OSError(errno.EIO, "Input/output error")
    back = stage.connect()
    await stage.feed()
    assert not back.is_connected
    assert stage.sessions.get("c") is not None
    stage.log.errors.clear()
    again = stage.connect()
    await stage.feed()
    assert again.payloads() == [b"1"]


async def test_sessions_and_groups_read_the_log_each_for_themselves(tmp_path: Path) -> None:
    """They do it in threads, at the same time, and a reader of the log is for one."""
    async with running_broker(tmp_path) as running:
        sources = [
            running.server._refill._window._source,
            running.server._shared_refill._window._source,
        ]
        assert all(isinstance(source, LogReader) for source in sources)
        assert sources[0] is not sources[1]


# --- many at once ---------------------------------------------------------------------------------------------


def test_sessions_that_are_due_together_end_in_turns(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.lifecycle, "DUE_COUNT_MAX", 3)
    for number in range(8):
        stage.connect(f"c{number}", expiry_s=1).leave()
    stage.advance(2000)
    assert len(stage.sessions) == 5
    stage.advance(500)
    stage.advance(500)
    assert len(stage.sessions) == 0


def test_progress_of_many_groups_is_recorded_in_turns(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.lifecycle, "PROGRESS_COUNT_MAX", 3)
    member = stage.connect()
    for number in range(8):
        member.subscribe(f"$share/g{number}/t")
    stage.advance(10_000)
    stage.publish(b"m")
    counts = []
    for _ in range(3):
        before = len(stage.log.blocks)
        stage.advance(1000)
        records = [
            block.columns().payload(index)
            for block in stage.log.blocks[before:]
            for index in block.columns().of_kind(Kind.SESSION_CHANGED)
        ]
        counts.append(sum(b"group" in record for record in records))
    assert counts == [3, 3, 2]


async def test_a_client_that_is_away_is_at_rest_after_a_block_that_was_too_large(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = stage.connect()
    client.subscribe("t")
    client.leave()
    monkeypatch.setattr(broker.fan_out, "OFFERS_PER_BLOCK_MAX", 2)
    stage.publish(b"1", b"2", b"3", b"4")
    await stage.feed()
    outbound = stage.sessions.get("c").outbound  # type: ignore[union-attr]
    assert outbound.lag_seq is None
    assert len(outbound.positions) == 4


# --- an older checkpoint ----------------------------------------------------------------------------------------


def test_a_checkpoint_of_format_1_still_has_the_retained_messages() -> None:
    body = msgpack.packb({"next_seq": 9, "retained": [(3, "c", b"t", b"p", b"", 1, 5, 0)]})
    data = _HEADER.pack(MAGIC, 1, len(body), crc32c(0, body)) + body
    checkpoint = decode_checkpoint(data)
    assert checkpoint.next_seq == 9
    assert [message.payload for message in checkpoint.retained] == [b"p"]
    assert checkpoint.sessions == []
