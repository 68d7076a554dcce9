"""What the node asks over the control socket, and a running broker's answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

import broker.link
import broker.questions
from appliance.core.errors import Conflict, HomeportError, NotFound, Unavailable, UsageError
from appliance.core.limits import BROKER_PAGE_ITEM_COUNT_MAX, BROKER_QUESTION_COUNT_MAX
from broker.control_messages import MessageReader, encode_message
from broker.link import BrokerLink
from storage.log.columns import Kind
from tests.broker_kit import DEADLINE_S, GatedDisk, Peer, Running, running_broker, wait_until
from tests.protocol import builder

NO_LOCAL = 4


@dataclass
class Asked:
    running: Running
    link: BrokerLink

    async def ids(self, **fields: Any) -> list[str]:
        page = await self.link.ask("clients", **fields)
        return [row["client_id"] for row in page["clients"]]

    async def topics(self, **fields: Any) -> list[str]:
        page = await self.link.ask("retained", **fields)
        return [row["topic"] for row in page["retained"]]


@asynccontextmanager
async def asked(tmp_path: Path, **options: Any) -> AsyncIterator[Asked]:
    path = tmp_path / "broker.sock"
    link = BrokerLink(path, lambda: None, lambda _names: None)
    async with (
        running_broker(tmp_path, control_path=path, **options) as running,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(link.run)
        await running.wait_until(lambda: link.connected)
        yield Asked(running, link)
        nursery.cancel_scope.cancel()


async def retain(peer: Peer, topic: str, payload: bytes, *, packet_id: int = 1) -> None:
    await peer.send(
        builder.publish(
            topic,
            payload,
            qos=1,
            retain=True,
            packet_id=packet_id,
            properties=b"" if peer.version == 5 else None,
        )
    )
    await peer.expect(builder.PUBACK)


async def test_a_row_says_who_it_is_and_how_it_does(tmp_path: Path) -> None:
    async with asked(tmp_path) as broker:
        peer = await broker.running.connect("pump-1/α", username="dev1", version=5, keep_alive=30)
        await peer.subscribe("dm/dev1/down/#", qos=1, options=NO_LOCAL)
        await peer.publish("dm/dev1/telemetry", b"{}")
        page = await broker.link.ask("clients")
        (row,) = page["clients"]
        now_ms = row["last_packet_at_ms"]
        assert 0 <= now_ms - row.pop("connected_at_ms") < 60_000
        assert row.pop("received_bytes") > 40, "all since CONNECT"
        assert row.pop("sent_bytes") >= 10
        del row["last_packet_at_ms"]
        assert row == {
            "client_id": "pump-1/α", "principal": "dev1", "is_connected": True, "kind": "device", "address": "127.0.0.1",
            "transport": "tcp", "version": "5.0", "keep_alive_s": 30, "session_expiry_s": 0, "subscriptions": 1,
            "in_flight": 0, "queued_messages": 0, "queued_bytes": 0, "unsent_bytes": 0, "is_lagging": False,
            "lag_records": 0, "oversize_messages": 0, "dropped_messages": 0, "expired_messages": 0, "lost_messages": 0,
            "delivered_messages": 0,
        }  # fmt: skip
        assert (page["next_cursor"], page["total"]) == (None, 1)
        detail = await broker.link.ask("client", client_id="pump-1/α")
        assert detail["subscription_list"] == [
            {
                "topic_filter": "dm/dev1/down/#",
                "qos": 1,
                "no_local": True,
                "retain_as_published": False,
                "identifiers": [],
            }
        ]
        assert (detail["subscriptions_cut"], detail["will_topic"]) == (False, None)


async def test_pages_filters_and_named_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.questions, "SLICE_COUNT", 3)
    async with asked(tmp_path) as it:
        names = [f"c{number:02}" for number in range(10)]
        for name in reversed(names):
            await it.running.connect(name, username="site-A" if name < "c05" else "dev1")
        assert await it.ids() == names
        first = await it.link.ask("clients", limit=4)
        assert [row["client_id"] for row in first["clients"]] == names[:4]
        assert (first["next_cursor"], first["total"]) == ("c03", 10)
        assert await it.ids(limit=4, cursor="c03") == names[4:8]
        last = await it.link.ask("clients", limit=2, cursor="c07")
        assert ([row["client_id"] for row in last["clients"]], last["next_cursor"]) == (names[8:], None)
        assert await it.ids(q="SITE-a") == names[:5]
        assert await it.ids(q="c07") == ["c07"]
        assert await it.ids(q="127.0.0", limit=1) == ["c00"]
        assert await it.ids(client_ids=["c09", "gone", "c01"]) == ["c09", "c01"]


async def test_a_slow_subscriber_shows(tmp_path: Path) -> None:
    async with asked(tmp_path) as broker:
        slow = await broker.running.connect("slow", version=5, properties=b"\x21\0\2")
        await slow.subscribe("t/#")
        other = await broker.running.connect("other")
        for number in range(1, 6):
            await other.publish("t/x", b"12345", packet_id=number)
        (row,) = (await broker.link.ask("clients", q="slow"))["clients"]
        assert (row["in_flight"], row["queued_messages"], row["queued_bytes"]) == (2, 3, 24)
        assert row["delivered_messages"] == 2
        detail = await broker.link.ask("client", client_id="slow")
        assert detail["receive_maximum"] == 2


async def test_a_kick_closes_one_client_and_says_whether_there_was_one(tmp_path: Path) -> None:
    async with asked(tmp_path) as broker:
        victim = await broker.running.connect("victim", version=5)
        bystander = await broker.running.connect("bystander")
        assert await broker.link.ask("kick", client_id="victim") == {"client_id": "victim"}
        assert await victim.disconnected() == 0x98
        await bystander.ping()
        for question in ("kick", "client"):
            with pytest.raises(NotFound) as caught:
                await broker.link.ask(question, client_id="victim")
            assert (caught.value.code, bool(caught.value.hint)) == ("client_unknown", True)


EXPIRY = b"\x11"
"""MQTT 5's property session expiry interval."""


async def test_a_session_whose_client_is_away(tmp_path: Path) -> None:
    async with asked(tmp_path) as broker:
        expiry = EXPIRY + (600).to_bytes(4, "big")
        peer = await broker.running.connect("away", username="site-a", version=5, properties=expiry)
        await peer.subscribe("t/#")
        await broker.running.connect("here", version=5)
        await peer.send(b"\xe0\0")
        assert await peer.packet() is None
        await broker.running.wait_until(lambda: broker.running.statistics()["plane"]["connections"] == 1)
        writer = await broker.running.connect("writer")
        for number in (1, 2, 3):
            await writer.publish("t/x", b"12345", packet_id=number)
        (row,) = (await broker.link.ask("clients", state="away"))["clients"]
        assert (row["client_id"], row["principal"], row["is_connected"]) == ("away", "site-a", False)
        assert (row["queued_messages"], row["subscriptions"], row["session_expiry_s"]) == (3, 1, 600)
        assert row["queued_bytes"] > 0
        assert row["expires_at_ms"] == row["disconnected_at_ms"] + 600_000
        assert "address" not in row
        assert await broker.ids(state="connected") == ["here", "writer"]
        assert await broker.ids() == ["away", "here", "writer"]
        assert await broker.ids(q="site-a") == ["away"]
        detail = await broker.link.ask("client", client_id="away")
        assert [one["topic_filter"] for one in detail["subscription_list"]] == ["t/#"]
        assert detail["receive_maximum"] is None
        with pytest.raises(Conflict) as caught:
            await broker.link.ask("kick", client_id="away")
        assert caught.value.code == "client_away"
        assert await broker.link.ask("end_session", client_id="away") == {
            "client_id": "away", "was_connected": False,
        }  # fmt: skip
        assert await broker.ids(state="away") == []
        back = await broker.running.connect(
            "away", username="site-a", version=5, properties=expiry, clean=False
        )
        await back.ping()


async def test_ending_the_session_of_a_client_that_is_connected(tmp_path: Path) -> None:
    async with asked(tmp_path) as broker:
        peer = await broker.running.connect("c", version=5, properties=EXPIRY + bytes((0, 0, 2, 0)))
        answer = await broker.link.ask("end_session", client_id="c")
        assert answer == {"client_id": "c", "was_connected": True}
        assert await peer.disconnected() == 0x98
        assert await broker.ids() == []
        with pytest.raises(NotFound):
            await broker.link.ask("end_session", client_id="c")


async def test_retained_messages_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.questions, "SLICE_COUNT", 2)
    async with asked(tmp_path) as it:
        peer = await it.running.connect("writer")
        for number in range(1, 6):
            await retain(peer, f"plant/Line{number}", b"x" * 300, packet_id=number)
        page = await it.link.ask("retained", limit=2)
        assert [row["topic"] for row in page["retained"]] == ["plant/Line5", "plant/Line4"]
        assert page["total"] == 5
        assert await it.topics(limit=9, cursor=page["next_cursor"]) == [f"plant/Line{n}" for n in (3, 2, 1)]
        assert await it.topics(q="LINE2") == ["plant/Line2"]
        assert await it.topics(q="$SYS") == []
        (row,) = (await it.link.ask("retained", q="line2"))["retained"]
        assert row["payload"] == b"x" * 256
        assert (row["payload_bytes"], row["client_id"], row["qos"]) == (300, "writer", 1)
        assert row["expires_at_ms"] is None


async def test_a_page_of_long_topics_is_bounded_by_bytes(tmp_path: Path) -> None:
    async with asked(tmp_path) as broker:
        peer = await broker.running.connect("writer")
        for number in range(12):
            await retain(peer, f"{number}-" + "x" * 65_000, b"y", packet_id=number + 1)
        page = await broker.link.ask("retained")
        assert 5 < len(page["retained"]) < 9
        rest = await broker.link.ask("retained", cursor=page["next_cursor"])
        assert len(page["retained"]) + len(rest["retained"]) == 12
        assert rest["next_cursor"] is None


async def test_clearing_is_a_record_that_subscribers_get_too(tmp_path: Path) -> None:
    async with asked(tmp_path) as broker:
        peer = await broker.running.connect("writer")
        await retain(peer, "a", b"1")
        await retain(peer, "b", b"2", packet_id=2)
        (row,) = (await broker.link.ask("retained", q="a"))["retained"]
        await peer.subscribe("#")
        assert {(await peer.message()).topic for _ in range(2)} == {"a", "b"}
        answer = await broker.link.ask("clear_retained", topic="a", seq=row["seq"])
        assert answer == {"topic": "a", "seq": row["seq"]}
        assert await broker.topics() == ["b"]
        message = await peer.message()
        assert (message.topic, message.payload) == ("a", b"")
        assert broker.running.records(Kind.SERVER_PUBLISH) == [(Kind.SERVER_PUBLISH, "", b"a", b"")]
        with pytest.raises(NotFound) as caught:
            await broker.link.ask("clear_retained", topic="a")
        assert caught.value.code == "retained_unknown"
    async with asked(tmp_path) as broker:
        assert await broker.topics() == ["b"], "and so it is after a restart"


async def test_the_node_publishes_as_a_record_of_the_log(tmp_path: Path) -> None:
    async with asked(tmp_path) as broker:
        peer = await broker.running.connect("writer", version=5)
        await peer.subscribe("alarms/#")
        fields = {"topic": "alarms/site", "payload": b'{"a": 1}', "key": "k" * 64, "is_retained": True}
        answer = await broker.link.ask("publish", **fields)
        message = await peer.message()
        assert (message.topic, message.payload) == ("alarms/site", b'{"a": 1}')
        assert answer["seq"] > 0
        assert b"Idempotency-Key" in message.properties
        assert b"k" * 64 in message.properties
        assert await broker.topics() == ["alarms/site"]
        await broker.link.ask("publish", **{**fields, "topic": "alarms/now", "is_retained": False})
        assert (await peer.message()).topic == "alarms/now"
        assert await broker.topics() == ["alarms/site"]


async def test_publishing_on_a_disk_that_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.server_publishing, "CLEAR_TIMEOUT_MS", 30)
    disk = GatedDisk()
    async with asked(tmp_path, disk=disk) as it:
        disk.shut()
        with pytest.raises(Unavailable) as caught:
            await it.link.ask("publish", topic="a", payload=b"1", key="k", is_retained=False)
        assert caught.value.code == "disk_slow"
        disk.open_gate()


async def test_a_newer_message_is_not_cleared_in_the_place_of_the_one_that_was_seen(tmp_path: Path) -> None:
    async with asked(tmp_path) as broker:
        peer = await broker.running.connect("writer")
        await retain(peer, "a", b"1")
        (row,) = (await broker.link.ask("retained"))["retained"]
        await retain(peer, "a", b"2", packet_id=2)
        with pytest.raises(NotFound, match="newer"):
            await broker.link.ask("clear_retained", topic="a", seq=row["seq"])
        assert await broker.topics() == ["a"]


async def test_clearing_on_a_disk_that_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.questions, "CLEAR_TIMEOUT_MS", 30)
    disk = GatedDisk()
    async with asked(tmp_path, disk=disk) as it:
        peer = await it.running.connect("writer")
        await retain(peer, "a", b"1")
        disk.shut()
        with pytest.raises(Unavailable) as caught:
            await it.link.ask("clear_retained", topic="a")
        assert caught.value.code == "disk_slow"
        assert await it.topics() == ["a"], "other questions are answered meanwhile"
        disk.open_gate()
        await it.running.wait_until(lambda: not it.running.statistics()["retained"]["messages"])


@pytest.mark.parametrize(
    ("question", "fields"),
    [
        ("clients", {"limit": 0}),
        ("clients", {"limit": BROKER_PAGE_ITEM_COUNT_MAX + 1}),
        ("clients", {"limit": None}),
        ("clients", {"limit": "5"}),
        ("clients", {"q": 7}),
        ("clients", {"state": "asleep"}),
        ("clients", {"q": "x" * 257}),
        ("clients", {"client_ids": "abc"}),
        ("clients", {"client_ids": [1]}),
        ("clients", {"client_ids": ["a"] * (BROKER_PAGE_ITEM_COUNT_MAX + 1)}),
        ("retained", {"cursor": -1}),
        ("retained", {"cursor": True}),
        ("clear_retained", {"topic": "x" * 65_536}),
        ("publish", {"topic": "a/#", "payload": b"1", "key": "k", "is_retained": False}),
        ("publish", {"topic": "", "payload": b"1", "key": "k", "is_retained": False}),
        ("publish", {"topic": "a", "payload": b"x" * 131_073, "key": "k", "is_retained": False}),
        ("publish", {"topic": "a", "payload": "text", "key": "k", "is_retained": False}),
        ("publish", {}),
        ("weather", {}),
    ],
)
async def test_a_question_that_makes_no_sense(tmp_path: Path, question: str, fields: dict[str, Any]) -> None:
    async with asked(tmp_path) as broker:
        with pytest.raises(UsageError) as caught:
            await broker.link.ask(question, **fields)
        assert caught.value.code in ("question_invalid", "question_unknown")
        assert caught.value.hint
        assert await broker.ids() == []


async def test_many_questions_at_once(tmp_path: Path) -> None:
    async with asked(tmp_path) as broker:
        await broker.running.connect("c")
        answers: list[list[str]] = []

        async def one() -> None:
            answers.append(await broker.ids())

        async with trio.open_nursery() as nursery:
            for _ in range(4 * BROKER_QUESTION_COUNT_MAX):
                nursery.start_soon(one)
        assert answers == [["c"]] * (4 * BROKER_QUESTION_COUNT_MAX)


async def test_one_that_asks_and_takes_no_answer_holds_nobody_up(tmp_path: Path) -> None:
    async with asked(tmp_path) as broker:
        peers = [await broker.running.connect(f"{number:02}" + "x" * 250) for number in range(60)]
        async with await trio.open_unix_socket(str(tmp_path / "broker.sock")) as deaf:
            question = encode_message("ask", id=1, question="clients", fields={})
            with trio.move_on_after(1) as sending:
                while True:
                    await deaf.send_all(question)
            assert sending.cancelled_caught, "what it asks is read no further"
            assert len(await broker.ids()) == 60
            await peers[0].ping()


async def test_an_older_broker_that_knows_no_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.link, "BROKER_QUESTION_TIMEOUT_MS", 50)
    async with listening(tmp_path) as (link, stream):
        with pytest.raises(Unavailable) as caught:
            await link.ask("clients")
        assert caught.value.code == "broker_silent"
        assert link.connected
        await stream.send_all(encode_message("answer", id=1, body={"clients": []}))  # too late: nobody waits


@pytest.mark.parametrize(
    "error", [None, 5, {"kind": "NotFound"}, {"kind": 1, "message": "", "hint": "", "code": ""}]
)
async def test_an_answer_that_can_not_be_understood(tmp_path: Path, error: object) -> None:
    async with listening(tmp_path) as (link, stream), trio.open_nursery() as nursery:
        nursery.start_soon(answer_with, stream, {"error": error})
        with pytest.raises(Unavailable) as caught:
            await link.ask("clients")
        assert caught.value.code == "broker_version"


async def test_an_error_of_a_class_that_is_not_known(tmp_path: Path) -> None:
    error = {"kind": "Strange", "message": "m", "hint": "h", "code": "c"}
    async with listening(tmp_path) as (link, stream), trio.open_nursery() as nursery:
        nursery.start_soon(answer_with, stream, {"error": error})
        with pytest.raises(HomeportError) as caught:
            await link.ask("clients")
        assert type(caught.value) is HomeportError
        assert (caught.value.message, caught.value.hint, caught.value.code) == ("m", "h", "c")


async def test_questions_end_when_the_broker_goes_away(tmp_path: Path) -> None:
    async with listening(tmp_path) as (link, stream), trio.open_nursery() as nursery:

        async def go() -> None:
            await stream.receive_some()
            await stream.aclose()

        nursery.start_soon(go)
        with pytest.raises(Unavailable, match="went away"):
            await link.ask("clients")


@asynccontextmanager
async def listening(tmp_path: Path) -> AsyncIterator[tuple[BrokerLink, trio.SocketStream]]:
    """A link, and the other end of its connection in the test's hands."""
    path = tmp_path / "broker.sock"
    link = BrokerLink(path, lambda: None, lambda _names: None)
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen(5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            with trio.fail_after(DEADLINE_S):
                sock, _ = await listener.accept()
                async with trio.SocketStream(sock) as stream:
                    await wait_until(lambda: link.connected)
                    await stream.receive_some()  # hello
                    yield link, stream
            nursery.cancel_scope.cancel()


async def answer_with(stream: trio.SocketStream, fields: dict[str, Any]) -> None:
    reader = MessageReader()
    while True:
        for message in reader.receive_bytes(bytes(await stream.receive_some())):
            if message["t"] == "ask":
                await stream.send_all(encode_message("answer", id=message["id"], **fields))
                return
