"""Sessions out of the log's records: each kind of record, and that all of them together give what there was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from appliance.core.errors import LogDamaged
from broker.mqtt.batch import Batch
from broker.mqtt.packets import Will
from broker.mqtt.properties import Properties
from broker.mqtt.topics import SharedFilter
from broker.outbound import Step
from broker.router import Grant
from broker.session_records import CloseReason
from broker.state.broker_state import BrokerState
from broker.state.session import Session
from broker.state.session_snapshot import session_snapshot
from storage.log.columns import Kind
from tests.protocol import builder
from tests.session_kit import CONFIG, ListLog, Stage, recovered

QUEUE_COUNT = 5
SENT_COUNT = 12
"""More than the queue and the window hold."""
QUEUED = replace(CONFIG, session_queue_messages_max=QUEUE_COUNT)
WILL = Will(topic="w", payload=b"gone", qos=1, retain=False, properties=Properties.EMPTY)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(config=QUEUED)
    yield made
    made.end()


def again(stage: Stage, client_id: str = "c") -> Session:
    """The session as the log alone makes it."""
    session = recovered(stage.config, stage.log).sessions.get(client_id)
    assert session is not None
    return session


def is_known(stage: Stage, client_id: str = "c") -> bool:
    return recovered(stage.config, stage.log).sessions.get(client_id) is not None


def waiting(session: Session) -> list[int]:
    return [position.seq for position in session.outbound.positions]


def write(kind: Kind, payload: bytes, client: tuple[str, str] = ("c", "site")) -> ListLog:
    log = ListLog()
    batch = Batch()
    batch.mark_time(5000)
    batch.add(Kind.SESSION_OPENED, ("c", "site"), payload=msgpack.packb({"expiry_s": 9}))
    batch.add(kind, client, payload=payload)
    log.append(batch)
    return log


class TestOpenedAndClosed:
    def test_open(self, stage: Stage) -> None:
        stage.connect(expiry_s=77, will=WILL)
        session = again(stage)
        assert (session.is_open, session.expiry_s, session.client) == (True, 77, ("c", "site"))
        assert session.outbound.keeps_all
        assert session.will is not None
        assert (session.will.topic, session.will.payload, session.will.flags) == (b"w", b"gone", 2)

    def test_closed(self, stage: Stage) -> None:
        client = stage.connect(will=WILL)
        stage.clock.advance(1234)
        client.leave(CloseReason.CLIENT_DISCONNECT, 0)
        session = again(stage)
        assert (session.is_open, session.outbound.keeps_all, session.will) == (False, False, None)
        assert session.closed_at_ms == stage.now_ms

    def test_one_that_did_not_last(self, stage: Stage) -> None:
        client = stage.connect(expiry_s=0)
        client.subscribe("t")
        assert is_known(stage)
        client.leave()
        assert not is_known(stage)

    def test_a_disconnect_that_changed_how_long_it_lasts(self, stage: Stage) -> None:
        client = stage.connect()
        client.send(builder.disconnect(0, builder.p32(0x11, 5)))
        stage.commit()
        assert again(stage).expiry_s == 5

    def test_taken_up_again_or_not(self, stage: Stage) -> None:
        stage.connect().subscribe("t")
        stage.connect(expiry_s=5)
        assert (list(again(stage).filters), again(stage).expiry_s) == (["t"], 5)
        stage.connect(clean=True)
        assert list(again(stage).filters) == []

    def test_ended(self, stage: Stage) -> None:
        stage.connect(expiry_s=5).leave()
        stage.advance(5000)
        assert not is_known(stage)

    def test_a_restart_closes_what_was_open(self, stage: Stage) -> None:
        """Whatever the broker comes to say of them then."""
        stage.connect("lasts")
        stage.connect("ends", expiry_s=0)
        stage.connect("will", expiry_s=0, will=WILL)
        stage.clock.advance(1000)
        batch = Batch()
        batch.mark_time(stage.now_ms)
        batch.add(Kind.BROKER_STARTED, ("", ""), payload=msgpack.packb({"version": "x"}))
        stage.log.append(batch)
        session = again(stage, "lasts")
        assert (session.is_open, session.outbound.keeps_all) == (False, False)
        assert session.closed_at_ms == stage.now_ms
        assert not is_known(stage, "ends")
        assert again(stage, "will").will is not None, "it is still to be published"


class TestSubscriptions:
    def test_as_granted(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("a/#", options=0x0E, properties=builder.pvar(0x0B, 300))
        seq = stage.log.next_seq - 1
        assert again(stage).filters == {
            "a/#": Grant(qos=2, no_local=True, retain_as_published=True, identifiers=(300,), since_seq=seq)
        }
        client.subscribe("a/#", options=1)
        assert again(stage).filters == {"a/#": Grant(qos=1, since_seq=seq)}, "it goes on where it was"
        client.send(builder.unsubscribe(1, "a/#", properties=b""))
        stage.commit()
        assert again(stage).filters == {}

    def test_whose_retained_messages_were_not_all_sent(self, stage: Stage) -> None:
        stage.publish(b"000", topic="a", retain=True)
        client = stage.connect()
        client.subscribe("a", "b")
        assert again(stage).retained_due == {"a", "b"}
        client.leave()
        assert again(stage).retained_due == {"a"}, "of the other there were none"
        client = stage.connect()
        client.send(builder.unsubscribe(1, "a", properties=b""))
        stage.commit()
        assert again(stage).retained_due == set()


class TestMessages:
    def test_places_of_those_it_is_to_get(self, stage: Stage) -> None:
        stage.publish(b"before")
        client = stage.connect()
        client.subscribe("t", "own", options=0x05)
        first_seq = stage.log.next_seq
        for options in ({}, {"qos": 0}, {"client": "c"}, {"topic": "else"}, {"kind": Kind.SERVER_PUBLISH}):
            stage.publish(b"12", **options)
        stage.publish(b"12", properties=b"\x01\x01")
        session = again(stage)
        assert waiting(session) == [first_seq, first_seq + 4, first_seq + 5]
        assert session.outbound.positions.size_bytes == 3 + 3 + 5

    def test_the_newest_of_too_many(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        client.leave()
        for _ in range(QUEUE_COUNT + 3):
            stage.publish(b"12")
        assert waiting(again(stage)) == waiting(client.session)
        assert again(stage).outbound.dropped_count == 3

    def test_a_cursor_where_the_client_was_connected(self, stage: Stage) -> None:
        """It may have got them: nothing gives way to what comes."""
        client = stage.connect()
        client.subscribe("t")
        first_seq = stage.log.next_seq
        for _ in range(QUEUE_COUNT + 3):
            stage.publish(b"12")
        session = again(stage)
        assert (session.outbound.lag_seq, len(waiting(session))) == (first_seq + QUEUE_COUNT, QUEUE_COUNT)
        assert session.outbound.dropped_count == 0

    def test_what_was_acknowledged_goes(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        first_seq = stage.log.next_seq
        stage.publish(b"000", b"001", b"002")
        client.acknowledge(client.messages()[1])
        stage.advance(1000)
        session = again(stage)
        assert waiting(session) == []
        assert session.outbound.in_flight == {
            1: first_seq << 3 | Step.PUBACK,
            3: (first_seq + 2) << 3 | Step.PUBACK,
        }


class TestQos2:
    def test_from_the_client_until_it_is_released(self, stage: Stage) -> None:
        client = stage.connect()
        client.send(
            *(builder.publish("t", b"1", qos=2, packet_id=i, properties=b"") for i in (7, 8)),
            builder.publish("t", b"1", qos=1, packet_id=9, properties=b""),
        )
        stage.commit()
        assert list(again(stage).unreleased) == [7, 8]
        client.send(builder.ack(builder.PUBREL, 7))
        stage.commit()
        assert list(again(stage).unreleased) == [8]

    def test_to_the_client_step_by_step(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t", options=2)
        seq = stage.log.next_seq
        stage.publish(b"000", qos=2)
        session = again(stage)
        assert (waiting(session), session.outbound.in_flight) == ([], {1: seq << 3 | Step.PUBREC})
        client.send(builder.ack(builder.PUBREC, 1))
        stage.commit()
        assert again(stage).outbound.in_flight == {1: seq << 3 | Step.PUBCOMP}
        client.send(builder.ack(builder.PUBCOMP, 1))
        stage.advance(1000)
        assert again(stage).outbound.in_flight == {}

    @pytest.mark.parametrize("with_checkpoint", [False, True])
    async def test_once_where_more_went_out_than_the_queue_holds(
        self, stage: Stage, with_checkpoint: bool
    ) -> None:
        """A restart makes a cursor of a session that had more to get than its queue holds: what went out stays out."""
        client = stage.connect(receive_maximum=3)
        client.subscribe("t", options=2)
        stage.publish(*(b"%d" % number for number in range(SENT_COUNT)), qos=2)
        checkpoint = stage.checkpoint() if with_checkpoint else None
        got: list[bytes] = []
        while messages := client.messages():
            got += [message.payload for message in messages]
            client.send(*(builder.ack(builder.PUBREC, message.packet_id) for message in messages))
            stage.commit()
            client.packets()
            client.send(*(builder.ack(builder.PUBCOMP, message.packet_id) for message in messages))
            stage.commit()
            await stage.feed()
        assert got == [b"%d" % number for number in range(SENT_COUNT)]
        stage.crash(checkpoint)
        client = stage.connect()
        await stage.feed()
        assert client.payloads() == []

    def test_of_a_shared_subscription_it_is_somebodys_for_good(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("$share/g/t", options=2)
        since_seq = stage.log.next_seq - 1
        stage.publish(b"000", qos=2)
        state = recovered(stage.config, stage.log)
        group = state.sessions.router.groups[SharedFilter("g", "t")]
        assert (group.lag_seq, group.handed) == (since_seq, {since_seq + 1})
        session = state.sessions.get("c")
        assert session is not None
        assert list(session.outbound.in_flight) == [1]


class TestShared:
    def test_it_goes_on_where_a_record_says(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("$share/g/t")
        stage.publish(b"000", b"001")
        client.acknowledge(*client.messages())
        through = stage.durable_next_seq
        stage.advance(1000)
        group = recovered(stage.config, stage.log).sessions.router.groups[SharedFilter("g", "t")]
        assert group.lag_seq == through
        client.send(builder.unsubscribe(1, "$share/g/t", properties=b""))
        stage.commit()
        assert not recovered(stage.config, stage.log).sessions.router.groups

    def test_a_member_that_joins_changes_nothing_of_it(self, stage: Stage) -> None:
        stage.connect("one").subscribe("$share/g/t")
        since_seq = stage.log.next_seq - 1
        stage.publish(b"000")
        stage.connect("two").subscribe("$share/g/t")
        stage.connect("two").subscribe("$share/g/t", options=2)
        group = recovered(stage.config, stage.log).sessions.router.groups[SharedFilter("g", "t")]
        assert group.lag_seq == since_seq
        assert len(group.members) == 2

    def test_a_record_of_a_group_that_is_gone(self) -> None:
        payload = msgpack.packb({"op": "group", "name": "g", "filter": "t", "through": 5})
        assert not recovered(CONFIG, write(Kind.SESSION_CHANGED, payload)).sessions.router.groups


class TestWills:
    def test_published_is_published(self, stage: Stage) -> None:
        client = stage.connect(will=WILL)
        client.leave()
        assert again(stage).will is None

    def test_one_that_waits_for_its_delay(self, stage: Stage) -> None:
        delayed = replace(WILL, properties=Properties({0x18: 9}))  # type: ignore[dict-item]
        stage.connect(will=delayed).leave()
        session = again(stage)
        assert session.will is not None
        assert session.will.delay_s == 9
        stage.advance(9000)
        assert again(stage).will is None

    def test_the_last_sign_of_a_session_that_did_not_last(self, stage: Stage) -> None:
        stage.connect(expiry_s=0, will=WILL)
        stage.crash()
        assert not is_known(stage)


class TestWhatIsNotOurs:
    def test_records_of_sessions_that_the_log_no_longer_begins(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t", options=2)
        stage.publish(b"000", qos=2)
        client.leave()
        del stage.log.blocks[0]
        assert not is_known(stage)

    def test_records_of_somebody_with_the_same_client_id(self) -> None:
        payload = msgpack.packb({"op": "ended", "why": "x"})
        log = write(Kind.SESSION_CHANGED, payload, ("c", "other"))
        assert recovered(CONFIG, log).sessions.get("c") is not None
        log = write(Kind.SESSION_CHANGED, payload)
        assert recovered(CONFIG, log).sessions.get("c") is None

    @pytest.mark.parametrize(
        ("kind", "payload"),
        [
            (Kind.SESSION_CHANGED, b"\xc1"),
            (Kind.SESSION_CHANGED, b""),
            (Kind.SESSION_CHANGED, msgpack.packb([1])),
            (Kind.SESSION_CHANGED, msgpack.packb({})),
            (Kind.SESSION_CHANGED, msgpack.packb({"op": "subscribed", "filters": [("t",)]})),
            (Kind.SESSION_CHANGED, msgpack.packb({"op": "progress", "through": 1})),
            (Kind.SESSION_CHANGED, msgpack.packb({"op": "group", "name": "g"})),
            (Kind.QOS2_STEP, msgpack.packb({"step": "sent"})),
            (Kind.QOS2_STEP, msgpack.packb({"step": "sent", "messages": [(1, 2)]})),
            (Kind.SESSION_OPENED, msgpack.packb({"expiry_s": "long"})),
            (Kind.SESSION_OPENED, msgpack.packb({"will": {"nonsense": 1}})),
        ],
    )
    def test_nonsense_is_damage_and_says_where(self, kind: Kind, payload: bytes) -> None:
        with pytest.raises(LogDamaged) as caught:
            recovered(CONFIG, write(kind, payload))
        assert (caught.value.first_seq, caught.value.next_seq) == (1, 3)
        assert "session record 2" in caught.value.message


def test_all_together_is_what_there_was(stage: Stage) -> None:
    """With a checkpoint from any place in between, and without."""
    checkpoints: list[Any] = [None]
    client = stage.connect(receive_maximum=3)
    client.subscribe("t", "u/#", options=2)
    checkpoints.append(stage.checkpoint())
    stage.publish(b"000", b"001", qos=2)
    stage.publish(b"002", topic="u/x", retain=True)
    one = client.messages()[0]
    client.send(builder.ack(builder.PUBREC, one.packet_id))
    stage.commit()
    checkpoints.append(stage.checkpoint())
    client.send(builder.publish("v", b"1", qos=2, packet_id=77, properties=b""))
    stage.publish(b"003")
    client.leave()
    stage.publish(b"004", qos=2)
    checkpoints.append(stage.checkpoint())
    expected = _comparable(client.session)
    assert len(expected["in_flight"]) == 3
    for checkpoint in checkpoints:
        state: BrokerState = recovered(stage.config, stage.log, checkpoint)
        session = state.sessions.get("c")
        assert session is not None
        assert _comparable(session) == expected
        assert state.next_seq == stage.log.next_seq


def _comparable(session: Session) -> dict[str, Any]:
    """What a restart must know; where a subscription begins may be a little later in the log than it was."""
    fields = session_snapshot(session)
    fields["filters"] = [(f, options, identifiers) for f, options, identifiers, _ in fields["filters"]]
    fields["in_flight"] = sorted(fields["in_flight"])
    return fields
