"""Out of the log to one session: what was in flight, what waited, retained messages, and what came after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import trio
import trio.testing

import broker.refill
from appliance.core.errors import CursorExpired, LogDamaged, StorageError
from broker.refill import LINEAR_FILTER_COUNT_MAX, _granting
from broker.router import Grant
from broker.session_records import CloseReason
from broker.state.positions import Position
from storage.log.columns import Kind
from tests.protocol import builder
from tests.session_kit import CONFIG, Client, Packet, Stage
from tests.unit.test_broker_state_retained import message as local_message

QUEUE_COUNT = 5


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(config=replace(CONFIG, session_queue_messages_max=QUEUE_COUNT))
    yield made
    made.end()


def numbered(start: int, stop: int) -> list[bytes]:
    return [b"%03d" % number for number in range(start, stop)]


async def drink(stage: Stage, client: Client) -> list[Packet]:
    """All messages that a client gets that acknowledges everything at QoS 1."""
    got: list[Packet] = []
    while True:
        await stage.feed()
        messages = client.messages()
        if not messages:
            return got
        got += messages
        client.acknowledge(*(message for message in messages if message.qos == 1))


def lag(client: Client) -> int | None:
    return client.session.outbound.lag_seq


def payloads(packets: list[Packet]) -> list[bytes]:
    return [packet.payload for packet in packets]


class TestInFlight:
    async def test_again_with_dup_and_the_same_identifiers(self, stage: Stage) -> None:
        client = stage.connect(receive_maximum=3)
        client.subscribe("t")
        stage.publish(b"000", b"001", b"002")
        first = client.messages()
        client.acknowledge(first[1])
        client.leave()
        client = stage.connect()
        assert client.packets()[0].body == b"\x01\x00\x00", "session present, and nothing before it"
        again = await drink(stage, client)
        assert payloads(again) == [b"000", b"002"]
        assert all(packet.is_duplicate for packet in again)
        assert [packet.packet_id for packet in again] == [first[0].packet_id, first[2].packet_id]
        assert not client.session.outbound.in_flight

    async def test_no_more_than_the_new_window_at_once(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        stage.publish(*numbered(0, 5))
        client.leave()
        client = stage.connect(receive_maximum=2)
        await stage.feed()
        first = client.messages()
        assert payloads(first) == [b"000", b"001"]
        client.acknowledge(first[0])
        await stage.feed()
        assert client.payloads() == [b"002"]
        stage.publish(b"005")
        await stage.feed()
        assert client.payloads() == [], "it waits behind those"
        client.acknowledge(first[1])
        assert payloads(await drink(stage, client)) == [b"003", b"004", b"005"]

    async def test_qos_2_from_the_step_that_it_had_come_to(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t", options=2)
        stage.publish(b"000", b"001", qos=2)
        one, other = client.messages()
        client.send(builder.ack(builder.PUBREC, one.packet_id))
        stage.commit()
        client.leave()
        client = stage.connect()
        await stage.feed()
        _, released, again = client.packets()
        assert (released.kind, released.packet_id) == (builder.PUBREL & 0xF0, one.packet_id)
        assert (again.payload, again.packet_id, again.is_duplicate) == (b"001", other.packet_id, True)

    async def test_what_the_log_has_no_more_is_counted(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        stage.publish(b"000")
        stage.publish(b"001")
        lost_seq = stage.log.blocks[-2].first_seq
        client.leave()
        stage.log.errors[lost_seq] = CursorExpired("gone")
        client = stage.connect()
        assert payloads(await drink(stage, client)) == [b"001"]
        assert client.session.outbound.lost_count == 1
        assert not client.session.outbound.in_flight

    async def test_of_a_shared_subscription_it_is_done_then(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("$share/g/t")
        stage.publish(b"000")
        client.leave()
        (group,) = stage.router.groups.values()
        assert list(group.unfinished) == [stage.log.blocks[-2].first_seq]
        stage.log.errors[stage.log.blocks[-2].first_seq] = CursorExpired("gone")
        client = stage.connect()
        assert await drink(stage, client) == []
        assert not group.unfinished, "or it would be given out for ever after each restart"

    async def test_a_client_that_leaves_again_meanwhile(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        stage.publish(b"000")
        client.leave()
        client = stage.connect()
        stage.log.meanwhile = client.leave
        await stage.feed()
        client = stage.connect()
        again = await drink(stage, client)
        assert [(packet.payload, packet.is_duplicate) for packet in again] == [(b"000", True)]

    async def test_with_the_subscription_identifiers_of_now(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t", properties=builder.pvar(0x0B, 7))
        stage.publish(b"000")
        client.leave()
        client = stage.connect()
        assert [packet.properties for packet in await drink(stage, client)] == [builder.pvar(0x0B, 7)]


class TestWaiting:
    async def test_what_came_while_it_was_away(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t", "u/+")
        client.leave()
        stage.publish(*numbered(0, 2))
        stage.publish(b"002", topic="u/x", qos=2)
        stage.publish(b"---", topic="else")
        stage.publish(b"003", qos=0)
        client = stage.connect(receive_maximum=1)
        await stage.feed()
        stage.publish(b"004")
        got = await drink(stage, client)
        assert payloads(got) == [*numbered(0, 3), b"004"], "in order, and QoS 0 doesn't wait"
        assert not any(packet.is_duplicate for packet in got)
        stage.publish(b"005")
        assert client.payloads() == [b"005"], "live again"

    async def test_the_newest_of_too_many(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        client.leave()
        for number in range(QUEUE_COUNT + 3):
            stage.publish(b"%03d" % number)
        assert stage.sessions.statistics().dropped_messages == 3
        client = stage.connect()
        assert payloads(await drink(stage, client)) == numbered(3, QUEUE_COUNT + 3)

    async def test_what_expired_meanwhile_does_not_come(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        client.leave()
        stage.publish(b"000", properties=builder.p32(0x02, 5))
        stage.publish(b"001", properties=builder.p32(0x02, 50))
        stage.clock.advance(6000)
        client = stage.connect()
        (message,) = await drink(stage, client)
        assert (message.payload, message.properties) == (b"001", builder.p32(0x02, 44))
        assert client.session.outbound.expired_count == 1

    async def test_what_it_is_no_longer_subscribed_to(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        client.leave()
        stage.publish(b"000")
        stage.router.unsubscribe(client.session, "t")
        client = stage.connect()
        assert await drink(stage, client) == []
        assert client.session.outbound.lost_count == 0

    async def test_what_is_damaged_is_counted(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        client.leave()
        stage.publish(b"000")
        stage.publish(b"001")
        stage.log.errors[stage.log.blocks[-2].first_seq] = LogDamaged("bits", first_seq=1, next_seq=1)
        client = stage.connect()
        assert payloads(await drink(stage, client)) == [b"001"]
        assert client.session.outbound.lost_count == 1

    async def test_a_client_that_leaves_again_meanwhile_loses_none(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        client.leave()
        stage.publish(b"000", b"001")
        client = stage.connect()
        stage.log.meanwhile = client.leave
        await stage.feed()
        client = stage.connect()
        assert payloads(await drink(stage, client)) == numbered(0, 2)

    async def test_no_more_than_the_socket_takes(self, stage: Stage) -> None:
        client = stage.connect(receive_maximum=1)
        client.subscribe("t")
        client.leave()
        stage.publish(*numbered(0, 4))
        client = stage.connect()
        client.is_stuck = True
        client.session.outbound.unsent_bytes = CONFIG.session_queue_bytes_max
        client.session.is_refilling = False
        assert not client.session.outbound.wants_refill
        client.session.outbound.unsent_bytes = 0
        client.is_stuck = False
        client.connection.is_blocked = False
        stage.mark_dirty(client.connection)
        assert payloads(await drink(stage, client)) == numbered(0, 4)


class TestRest:
    """A session whose client left while it was a cursor."""

    async def test_what_the_log_holds_becomes_places(self, stage: Stage) -> None:
        client = stage.connect(receive_maximum=1)
        client.subscribe("t")
        stage.publish(*numbered(0, QUEUE_COUNT + 4))
        outbound = client.session.outbound
        assert lag(client) is not None
        client.messages()
        client.leave()
        await stage.feed()
        assert lag(client) is None
        assert len(outbound.positions) == QUEUE_COUNT
        assert outbound.dropped_count == 3, "one is in flight"
        stage.publish(b"new")
        client = stage.connect()
        got = payloads(await drink(stage, client))
        assert got == [b"000", *numbered(5, QUEUE_COUNT + 4), b"new"]

    async def test_what_is_of_qos_0_does_not_wait(self, stage: Stage) -> None:
        client = stage.connect(receive_maximum=1)
        client.subscribe("t")
        client.session.outbound.fall_behind(stage.durable_next_seq)
        stage.publish(b"000", qos=0)
        stage.publish(b"001", qos=1)
        client.leave()
        await stage.feed()
        assert len(client.session.outbound.positions) == 1


class TestLog:
    async def test_from_the_place_that_it_had_come_to(self, stage: Stage) -> None:
        client = stage.connect(receive_maximum=2)
        client.subscribe("t", "x/#", options=1)
        for start in range(0, 50, 10):
            stage.publish(*numbered(start, start + 10))
        assert stage.refill.lagging_count == 1
        assert payloads(await drink(stage, client)) == numbered(0, 50)
        assert stage.refill.lagging_count == 0
        assert not stage.refill._window._chunks, "nothing is kept when nobody needs it"
        counted = (stage.refill, stage.fan_out, stage.slow_path)
        assert sum(part.delivered_messages for part in counted) == 50

    async def test_what_is_no_message_is_passed_over(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        client.session.outbound.fall_behind(stage.durable_next_seq)
        stage.publish(b"000", kind=Kind.SESSION_CHANGED)
        stage.publish(b"001", kind=Kind.SERVER_PUBLISH)
        stage.refill.want(client.session)
        assert payloads(await drink(stage, client)) == [b"001"]

    async def test_its_own_where_it_wants_none(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t", options=0x05)
        client.session.outbound.fall_behind(stage.durable_next_seq)
        stage.publish(b"000", client="c")
        stage.publish(b"001")
        stage.refill.want(client.session)
        assert payloads(await drink(stage, client)) == [b"001"]

    async def test_nothing_of_before_the_subscription(self, stage: Stage) -> None:
        client = stage.connect()
        client.session.outbound.fall_behind(stage.durable_next_seq)
        stage.publish(b"000")
        client.subscribe("t")
        stage.publish(b"001")
        stage.refill.want(client.session)
        assert payloads(await drink(stage, client)) == [b"001"]

    @pytest.mark.parametrize("is_expired", [False, True])
    async def test_what_can_not_be_read_is_skipped_and_counted(self, stage: Stage, is_expired: bool) -> None:
        client = stage.connect()
        client.subscribe("t")
        client.session.outbound.fall_behind(stage.durable_next_seq)
        first_seq = stage.durable_next_seq
        stage.publish(*numbered(0, 3))
        stage.publish(*numbered(3, 6))
        after_seq = stage.log.blocks[-1].first_seq
        stage.log.begin_seq = after_seq
        error = LogDamaged("bits", first_seq=first_seq, next_seq=after_seq)
        stage.log.errors[first_seq] = CursorExpired("gone") if is_expired else error
        stage.refill.want(client.session)
        assert payloads(await drink(stage, client)) == numbered(3, 6)
        assert stage.refill.skipped_records == 3

    async def test_a_disk_that_fails_closes_the_client(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        client.session.outbound.fall_behind(stage.durable_next_seq)
        stage.log.errors[stage.durable_next_seq] = StorageError("the disk fails")
        stage.publish(b"000")
        stage.refill.want(client.session)
        await stage.feed()
        assert stage.closed == [("c", CloseReason.KICKED, 0x80)]
        assert stage.refill.lagging_count == 0

    async def test_a_client_that_leaves_while_the_log_is_read(self, stage: Stage) -> None:
        client = stage.connect(receive_maximum=1)
        client.subscribe("t")
        stage.publish(*numbered(0, 8))
        client.acknowledge(*client.messages())
        stage.log.meanwhile = client.leave
        client.session.outbound.queue.clear()
        client.session.outbound.queue_bytes = 0
        stage.refill.want(client.session)
        await stage.feed()
        assert client.session.connection is None
        assert client.session.outbound.lag_seq is None, "it has come to rest"

    async def test_a_session_that_ends_is_forgotten(self, stage: Stage) -> None:
        client = stage.connect(receive_maximum=1, expiry_s=0, clean=True)
        client.subscribe("t")
        stage.publish(*numbered(0, 9))
        assert stage.refill.lagging_count == 1
        client.leave()
        assert stage.refill.lagging_count == 0
        reads = stage.log.reads
        await stage.feed()
        assert stage.log.reads == reads

    async def test_slices_give_others_their_turn(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(broker.refill, "SLICE_RECORD_COUNT", 2)
        client = stage.connect()
        client.subscribe("t")
        client.session.outbound.fall_behind(stage.durable_next_seq)
        stage.publish(*numbered(0, 5))
        stage.refill.want(client.session)
        refill = stage.refill
        await refill._serve(refill._wanted.pop(id(client.session)), stage.plane)
        assert client.payloads() == numbered(0, 2)
        assert id(client.session) in refill._wanted
        assert payloads(await drink(stage, client)) == numbered(2, 5)


class TestRun:
    async def test_it_sleeps_until_somebody_wants_something(self, stage: Stage) -> None:
        client = stage.connect(receive_maximum=2)
        client.subscribe("t")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.refill.run, stage.plane)
            await trio.testing.wait_all_tasks_blocked()
            stage.publish(*numbered(0, 30))
            got: list[bytes] = []
            with trio.fail_after(60):
                while len(got) < 30:
                    messages = client.messages()
                    got += payloads(messages)
                    client.acknowledge(*messages)
                    stage.flush()
                    await trio.lowlevel.checkpoint()
            assert got == numbered(0, 30)
            nursery.cancel_scope.cancel()


class TestRetained:
    async def test_in_front_of_what_comes_meanwhile(self, stage: Stage) -> None:
        stage.publish(b"000", retain=True)
        stage.publish(b"001", topic="t/x", retain=True, qos=0)
        client = stage.connect()
        client.subscribe("t/#")
        stage.publish(b"002", retain=True)
        got = await drink(stage, client)
        assert {(p.payload, p.qos, p.is_retained) for p in got[:2]} == {(b"000", 1, True), (b"001", 0, True)}
        assert [(p.payload, p.is_retained) for p in got[2:]] == [(b"002", False)]
        assert not client.session.retained_due
        assert not client.session.retained

    async def test_none(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        assert client.session.outbound.lag_seq is None
        assert not client.session.retained_due

    async def test_those_of_the_broker_itself(self, stage: Stage) -> None:
        client = stage.connect()
        assert stage.local.keep(local_message("$SYS/x", b"now"))
        client.subscribe("$SYS/#")
        (message,) = await drink(stage, client)
        assert (message.topic, message.payload, message.is_retained) == ("$SYS/x", b"now", True)

    async def test_its_own_where_it_wants_none(self, stage: Stage) -> None:
        stage.publish(b"000", retain=True, client="c")
        client = stage.connect()
        client.subscribe("t", options=0x05)
        assert await drink(stage, client) == []

    async def test_a_slice_at_a_time(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(broker.refill, "SLICE_RECORD_COUNT", 2)
        for number in range(5):
            stage.publish(b"%03d" % number, topic=f"t/{number}", retain=True)
        client = stage.connect(receive_maximum=1)
        client.subscribe("t/#")
        assert sorted(payloads(await drink(stage, client))) == numbered(0, 5)

    async def test_a_client_that_leaves_gets_them_when_it_is_back(self, stage: Stage) -> None:
        for number in range(3):
            stage.publish(b"%03d" % number, topic=f"t/{number}", retain=True)
        client = stage.connect()
        client.subscribe("t/#")
        client.leave()
        assert client.session.retained_due == {"t/#"}
        client = stage.connect()
        got = await drink(stage, client)
        assert sorted(payloads(got)) == numbered(0, 3)
        assert all(packet.is_retained for packet in got)
        assert not client.session.retained_due

    async def test_one_in_the_queue_when_the_client_leaves_stays_retained(self, stage: Stage) -> None:
        stage.publish(b"000", topic="t/0", retain=True)
        stage.publish(b"001", topic="t/1", retain=True)
        client = stage.connect(receive_maximum=1)
        client.subscribe("t/#")
        await stage.feed()
        (first,) = client.messages()
        client.leave()
        assert [position.is_retained for position in client.session.outbound.positions] == [True]
        client = stage.connect()
        got = await drink(stage, client)
        assert payloads(got)[0] == first.payload
        assert sorted(payloads(got)) == numbered(0, 2)
        assert all(packet.is_retained for packet in got)


@pytest.mark.parametrize("count", [1, LINEAR_FILTER_COUNT_MAX, LINEAR_FILTER_COUNT_MAX + 1, 50])
def test_grants_by_list_and_by_tree_are_the_same(count: int) -> None:
    grants = {f"x/{n}": Grant(qos=0, since_seq=1) for n in range(count - 1)}
    grants["x/#"] = Grant(qos=1, since_seq=1)
    grants["$share/g/y"] = Grant(qos=2, since_seq=1)
    grant_of = _granting(grants)
    assert grant_of("x/0") is grants["x/#"]
    assert grant_of("y") is None, "a shared one is the group's"


def test_who_wants_nothing_is_not_served(stage: Stage) -> None:
    client = stage.connect()
    stage.refill.want(client.session)
    assert not stage.refill._wanted
    client.session.outbound.fall_behind(1)
    client.session.is_refilling = True
    stage.refill.want(client.session)
    assert not stage.refill._wanted, "its turn is now"


def test_a_place_is_of_a_record(stage: Stage) -> None:
    client = stage.connect()
    client.subscribe("t")
    client.leave()
    seq = stage.durable_next_seq
    stage.publish(b"000", b"001")
    assert list(client.session.outbound.positions) == [Position(seq, False), Position(seq + 1, False)]
    assert client.session.outbound.positions.size_bytes == 2 * len(b"t" + b"000")
