"""Sessions begin, are left, taken up again, and end; what the log and others hear of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

import broker.lifecycle
from appliance.core.believed_time import BelievedTime
from appliance.management.access import Principal, Role
from broker.mqtt.packets import Will
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from broker.session_records import CloseReason
from broker.state.session import Session
from storage.log.columns import Kind
from tests.protocol import builder
from tests.session_kit import EXPIRY_S, Stage

DEVICE = Principal(name="d1")


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.end()


def will(delay_s: int = 0, *, topic: str = "w") -> Will:
    properties = Properties({PropertyId.WILL_DELAY_INTERVAL: delay_s}) if delay_s else Properties.EMPTY
    return Will(topic=topic, payload=b"gone", qos=1, retain=False, properties=properties)


def records(stage: Stage, *kinds: Kind) -> list[tuple[Kind, str, Any]]:
    """(kind, client id, payload unpacked) of what is on disk."""
    found = []
    for block in stage.log.blocks:
        columns = block.columns()
        for index, kind in enumerate(columns.kinds):
            if kind in kinds:
                client_id, _ = columns.clients[columns.client_index[index]]
                payload = columns.payload(index)
                is_map = kind not in (Kind.PUBLISH, Kind.SERVER_PUBLISH)
                found.append((Kind(kind), client_id, msgpack.unpackb(payload) if is_map else payload))
    return found


def wills(stage: Stage) -> list[str]:
    return [client_id for _, client_id, _ in records(stage, Kind.SERVER_PUBLISH)]


def changes(stage: Stage, op: str) -> list[Any]:
    return [fields for _, _, fields in records(stage, Kind.SESSION_CHANGED) if fields["op"] == op]


def session_of(stage: Stage, client_id: str = "c") -> Session | None:
    return stage.sessions.get(client_id)


def is_present(stage: Stage, **options: Any) -> bool:
    client = stage.connect(**options)
    connack = client.packets()[0]
    assert connack.kind == builder.CONNACK
    return bool(connack.body[0])


class TestTakeUp:
    def test_a_new_one(self, stage: Stage) -> None:
        assert not is_present(stage)
        session = session_of(stage)
        assert session is not None
        assert (session.expiry_s, session.is_open, session.principal) == (EXPIRY_S, True, "site")
        ((_, _, opened),) = records(stage, Kind.SESSION_OPENED)
        assert (opened["present"], opened["expiry_s"]) == (False, EXPIRY_S)

    def test_the_one_that_is_there(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        client.leave()
        before = session_of(stage)
        assert is_present(stage, expiry_s=5)
        assert session_of(stage) is before
        assert before is not None
        assert before.expiry_s == 5, "as this connection wants it"
        assert records(stage, Kind.SESSION_OPENED)[-1][2]["present"]

    def test_a_clean_start_leaves_nothing_of_before(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        client.leave()
        stage.publish(b"000")
        assert not is_present(stage, clean=True)
        assert changes(stage, "ended") == [{"op": "ended", "why": "clean_start"}]
        assert stage.router.subscription_count == 0
        session = session_of(stage)
        assert session is not None
        assert not session.outbound.positions

    def test_one_of_somebody_else_ends(self, stage: Stage) -> None:
        """A device's own client id is always its own (the handshake sees to others)."""
        client = stage.connect("d1")
        client.subscribe("t")
        client.leave()
        assert not is_present(stage, client_id="d1", principal=DEVICE)
        session = session_of(stage, "d1")
        assert session is not None
        assert (session.principal, session.filters) == ("d1", {})
        assert changes(stage, "ended") == [{"op": "ended", "why": "owner"}]

    def test_one_that_does_not_last_is_gone_at_once(self, stage: Stage) -> None:
        client = stage.connect(expiry_s=0)
        client.subscribe("t")
        client.leave()
        assert session_of(stage) is None
        assert stage.router.subscription_count == 0
        assert not is_present(stage)
        assert changes(stage, "ended") == [], "the end of its connection says so"

    def test_a_takeover_takes_it_over(self, stage: Stage) -> None:
        older = stage.connect()
        older.subscribe("t")
        newer = stage.connect()
        assert not older.is_connected
        assert newer.packets()[0].body[0] == 1
        stage.publish(b"000")
        assert newer.payloads() == [b"000"]
        assert stage.closed == [("c", CloseReason.TAKEOVER, 0x8E)]


class TestNarrow:
    def test_subscriptions_that_are_no_longer_allowed_end(self, stage: Stage) -> None:
        reader = Principal(name="d1", role="reader")
        stage.roles["reader"] = Role.of(subscribe=["other/#"])
        stage._build(stage.state)
        client = stage.connect("d1", principal=reader)
        client.subscribe("dm/d1/#", "other/x")
        client.leave()
        client = stage.connect("d1", principal=DEVICE)
        assert list(client.session.filters) == ["dm/d1/#"]
        assert changes(stage, "unsubscribed") == [{"op": "unsubscribed", "filters": ["other/x"]}]
        assert stage.lifecycle.narrow(client.session, DEVICE) == 0

    def test_a_will_that_is_no_longer_allowed(self, stage: Stage) -> None:
        client = stage.connect("d1", principal=DEVICE, will=will(topic="dm/d1/x"))
        stage.lifecycle.narrow(client.session, DEVICE)
        assert client.session.will is not None
        stage.lifecycle.narrow(client.session, Principal(name="d2"))
        client.leave()
        assert wills(stage) == []

    def test_of_a_session_that_does_not_last_nothing_is_recorded(self, stage: Stage) -> None:
        client = stage.connect("d1", principal=Principal(name="d1", access="site"), expiry_s=0)
        client.subscribe("a", "b")
        assert stage.lifecycle.narrow(client.session, DEVICE) == 2
        stage.commit()
        assert changes(stage, "unsubscribed") == []


class TestWill:
    def test_at_once(self, stage: Stage) -> None:
        stage.connect(will=will()).leave()
        kinds = [kind for kind, _, _ in records(stage, Kind.SERVER_PUBLISH, Kind.SESSION_CLOSED)]
        assert kinds == [Kind.SERVER_PUBLISH, Kind.SESSION_CLOSED]

    def test_not_after_a_disconnect(self, stage: Stage) -> None:
        stage.connect(will=will()).leave(CloseReason.CLIENT_DISCONNECT, 0)
        stage.advance(EXPIRY_S * 1000)
        assert wills(stage) == []

    def test_after_a_disconnect_that_says_so(self, stage: Stage) -> None:
        stage.connect(will=will()).leave(CloseReason.CLIENT_DISCONNECT, 4)
        assert wills(stage) == ["c"]

    def test_after_its_delay(self, stage: Stage) -> None:
        stage.connect(will=will(10)).leave()
        stage.advance(9_999)
        assert wills(stage) == []
        stage.advance(1)
        assert wills(stage) == ["c"]
        stage.advance(EXPIRY_S * 1000)
        assert wills(stage) == ["c"], "once"

    def test_not_if_the_client_is_back_before(self, stage: Stage) -> None:
        stage.connect(will=will(10)).leave()
        stage.advance(5000)
        client = stage.connect()
        stage.advance(20_000)
        client.leave(CloseReason.CLIENT_DISCONNECT, 0)
        stage.advance(20_000)
        assert wills(stage) == []

    def test_no_later_than_the_end_of_the_session(self, stage: Stage) -> None:
        stage.connect("short", expiry_s=5, will=will(100)).leave()
        stage.connect("none", expiry_s=0, will=will(100)).leave()
        assert wills(stage) == ["none"]
        stage.advance(5000)
        assert wills(stage) == ["none", "short"]
        assert session_of(stage, "short") is None

    def test_a_clean_start_ends_the_session_and_its_delay(self, stage: Stage) -> None:
        stage.connect(will=will(100)).leave()
        stage.connect(clean=True)
        assert wills(stage) == ["c"]


class TestEnd:
    def test_when_its_time_has_come(self, stage: Stage) -> None:
        client = stage.connect(expiry_s=5)
        client.subscribe("t")
        client.leave()
        stage.advance(4999)
        assert session_of(stage) is not None
        stage.advance(1)
        assert session_of(stage) is None
        assert stage.router.subscription_count == 0
        assert changes(stage, "ended") == [{"op": "ended", "why": "expired"}]
        assert stage.sessions.statistics().expired_sessions == 1

    def test_not_of_a_client_that_came_back(self, stage: Stage) -> None:
        stage.connect(expiry_s=5).leave()
        stage.advance(3000)
        stage.connect(expiry_s=5)
        stage.advance(10_000)
        assert session_of(stage) is not None

    def test_a_disconnect_may_change_it(self, stage: Stage) -> None:
        client = stage.connect(expiry_s=5)
        client.send(builder.disconnect(0, builder.p32(0x11, 0)))
        stage.commit()
        assert session_of(stage) is None


class TestProgress:
    def test_once_a_second_where_there_is_some(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        stage.advance(1000)
        before = len(changes(stage, "progress"))
        stage.publish(b"000", b"001")
        client.acknowledge(client.messages()[0])
        stage.advance(999)
        assert len(changes(stage, "progress")) == before
        stage.advance(1)
        made = changes(stage, "progress")[before:]
        assert [(len(fields["unacknowledged"]), fields["completed"]) for fields in made] == [(1, [])]
        stage.advance(1000)
        assert len(changes(stage, "progress")) == before + 1, "nothing new"

    def test_when_the_client_leaves(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        stage.publish(b"000")
        client.acknowledge(*client.messages())
        client.leave()
        kinds = [
            fields.get("op", kind)
            for kind, _, fields in records(stage, Kind.SESSION_CHANGED, Kind.SESSION_CLOSED)
        ]
        assert kinds[-2:] == ["progress", Kind.SESSION_CLOSED]
        stage.advance(1000)
        assert len(changes(stage, "progress")) == 1

    def test_none_of_a_session_that_does_not_last(self, stage: Stage) -> None:
        client = stage.connect(expiry_s=0)
        client.subscribe("t")
        stage.publish(b"000")
        client.acknowledge(*client.messages())
        stage.advance(1000)
        client.leave()
        assert changes(stage, "progress") == []

    def test_so_many_at_a_time(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(broker.lifecycle, "PROGRESS_COUNT_MAX", 2)
        clients = [stage.connect(f"c{number}") for number in range(5)]
        for client in clients:
            client.subscribe("t")
        stage.publish(b"000")
        for client in clients:
            client.acknowledge(*client.messages())
        for expected in (2, 4, 5, 5):
            stage.advance(1000)
            assert len(changes(stage, "progress")) == expected

    def test_of_a_shared_subscription(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("$share/g/t")
        stage.publish(b"000", b"001")
        first_seq = stage.durable_next_seq - 2
        client.acknowledge(client.messages()[0])
        stage.advance(1000)
        assert changes(stage, "group")[-1] == {
            "op": "group",
            "name": "g",
            "filter": "t",
            "through": first_seq + 1,
        }


class TestQos2:
    def test_it_goes_out_when_a_record_says_so(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t", options=2)
        client.packets()
        stage.add(b"000", "t", qos=2)
        block = stage.write()
        assert block is not None
        first_seq = stage.log.next_seq - 1
        stage.fan_out.deliver(block.batch, first_seq, stage.plane)
        assert client.packets() == []
        assert len(client.session.outbound.in_flight) == 1
        stage.commit()
        assert client.payloads() == [b"000"]
        (step,) = [fields for _, _, fields in records(stage, Kind.QOS2_STEP)]
        assert step == {"step": "sent", "messages": [[1, first_seq << 3 | 2, ""]]}

    def test_not_on_a_connection_that_came_later(self, stage: Stage) -> None:
        """There it is in flight, and sent with all the others."""
        client = stage.connect()
        client.subscribe("t", options=2)
        stage.add(b"000", "t", qos=2)
        block = stage.write()
        assert block is not None
        stage.fan_out.deliver(block.batch, stage.log.next_seq - 1, stage.plane)
        stage.durable_next_seq = stage.log.next_seq
        newer = stage.connect()
        assert newer.messages() == []
        assert list(newer.session.outbound.resend) == [1]

    def test_without_a_lasting_session_it_goes_out_at_once(self, stage: Stage) -> None:
        client = stage.connect(expiry_s=0)
        client.subscribe("t", options=2)
        stage.publish(b"000", qos=2)
        assert client.payloads() == [b"000"]
        assert records(stage, Kind.QOS2_STEP) == []


class TestRestart:
    def test_sessions_that_were_open_are_left_behind(self, stage: Stage) -> None:
        client = stage.connect(expiry_s=100)
        client.subscribe("t")
        stage.clock.advance(50_000)
        stage.crash()
        session = session_of(stage)
        assert session is not None
        assert not session.is_open
        assert list(session.filters) == ["t"]
        stage.publish(b"000")
        stage.advance(99_999)
        assert session_of(stage) is session, "its time begins with the restart"
        stage.advance(1)
        assert session_of(stage) is None

    def test_those_that_do_not_last_end_with_their_will(self, stage: Stage) -> None:
        stage.connect(expiry_s=0, will=will())
        stage.crash()
        assert session_of(stage) is None
        assert wills(stage) == ["c"]
        stage.crash()
        assert wills(stage) == ["c"], "once"

    def test_a_will_waits_for_its_delay(self, stage: Stage) -> None:
        stage.connect(will=will(10))
        stage.crash()
        stage.advance(9_999)
        assert wills(stage) == []
        stage.crash()
        stage.advance(1)
        assert wills(stage) == ["c"], "the first restart began it"

    def test_time_that_passed_counts_for_who_was_away(self, stage: Stage) -> None:
        stage.connect(expiry_s=100).leave()
        stage.clock.advance(60_000)
        stage.crash()
        stage.advance(39_999)
        assert session_of(stage) is not None
        stage.advance(1)
        assert session_of(stage) is None

    def test_a_clock_that_leapt_to_2099_ends_nothing(self, stage: Stage) -> None:
        stage.connect(expiry_s=100).leave()
        stage.believed = BelievedTime(stage.clock, last_ms=stage.clock.now_ms() + 60_000)
        stage.clock.set_wall(4_070_908_800_000)
        stage.crash()
        stage.advance(39_999)
        assert session_of(stage) is not None
        stage.advance(1)
        assert session_of(stage) is None

    def test_what_was_left_in_1970_has_its_time_from_the_start_on(self, stage: Stage) -> None:
        right_ms = stage.clock.now_ms()
        stage.clock.set_wall(1_000)
        stage.connect(expiry_s=100).leave()
        stage.clock.set_wall(right_ms)
        stage.crash()
        stage.advance(99_999)
        assert session_of(stage) is not None
        stage.advance(1)
        assert session_of(stage) is None

    def test_a_clock_that_was_set_back_ends_nothing_early(self, stage: Stage) -> None:
        stage.connect(expiry_s=100).leave()
        stage.clock.set_wall(stage.clock.now_ms() - 10**9)
        stage.crash()
        stage.advance(99_999)
        assert session_of(stage) is not None

    async def test_a_cursor_comes_to_rest(self, stage: Stage) -> None:
        client = stage.connect()
        client.subscribe("t")
        client.session.outbound.fall_behind(stage.durable_next_seq)
        checkpoint = stage.checkpoint()
        stage.publish(b"000", b"001")
        stage.crash(checkpoint)
        await stage.feed()
        session = session_of(stage)
        assert session is not None
        assert session.outbound.lag_seq is None
        assert len(session.outbound.positions) == 2
