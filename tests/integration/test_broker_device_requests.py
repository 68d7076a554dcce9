"""A device's request over a socket, through the control socket to the node, and the answer back; and each of them going away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from appliance.core.errors import UsageError
from appliance.core.limits_requests import REQUEST_LIMITS
from appliance.management.request_topics import parse
from broker import control as control_module
from broker import link as link_module
from broker import requests as requests_module
from broker.control_messages import (
    DeviceReply,
    DeviceRequest,
    SessionEvent,
    decode_messages,
    decode_request,
    decode_session_events,
    encode_message,
)
from broker.link import BrokerLink
from tests.broker_kit import Peer, Running, running_broker
from tests.protocol import builder

TOPIC = "dm/provision/default/request"
Answer = Callable[[DeviceRequest], Awaitable[DeviceReply]]


@asynccontextmanager
async def node(
    path: Path,
    answer: Answer | None,
    sessions: Callable[[list[SessionEvent], bool], None] = lambda _events, _is_anew: None,
) -> AsyncIterator[BrokerLink]:
    link = BrokerLink(path, lambda: None, lambda _names: None, answer, sessions)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        yield link
        nursery.cancel_scope.cancel()


async def nothing(request: DeviceRequest) -> DeviceReply:
    return DeviceReply(is_accepted=True, messages=())


async def ask(peer: Peer, payload: bytes = b"{}") -> tuple[str, dict[str, str]]:
    await peer.publish(TOPIC, payload)
    message = await peer.message()
    return message.topic.rpartition("/")[2], json.loads(message.payload)


def answer_topic(request: DeviceRequest, *, is_accepted: bool = True) -> str:
    return request.topic.removesuffix("request") + ("accepted" if is_accepted else "rejected")


async def until_node_answers(running: Running) -> None:
    control = running.server._control
    assert control is not None
    await running.wait_until(lambda: control._nodes)


async def test_there_and_back(tmp_path: Path) -> None:
    asked: list[DeviceRequest] = []

    async def answer(request: DeviceRequest) -> DeviceReply:
        asked.append(request)
        is_accepted = request.payload != b"no"
        topic = answer_topic(request, is_accepted=is_accepted)
        return DeviceReply(is_accepted=is_accepted, messages=((topic, b'{"to": "you"}'),))

    path = tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running, node(path, answer):
        await until_node_answers(running)
        peer = await running.connect("c", username="pump")
        assert await ask(peer, b"yes") == ("accepted", {"to": "you"})
        assert await ask(peer, b"no") == ("rejected", {"to": "you"})
        assert not any(running.statistics()["requests_waiting"].values())
    assert (asked[0].name, asked[0].kind, asked[0].client_id, asked[0].topic) == (
        "pump",
        "device",
        "c",
        TOPIC,
    )
    assert asked[0].address in ("127.0.0.1", "::1")
    assert "yes" not in repr(asked[0]), "what is logged of it holds no secret"


async def test_a_node_that_answers_no_requests_is_not_asked(tmp_path: Path) -> None:
    path = tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running, node(path, None) as link:
        await running.wait_until(lambda: link.connected)
        peer = await running.connect("c", username="pump")
        word, answer = await ask(peer)
        assert (word, answer["code"]) == ("rejected", "unavailable")


async def test_the_node_goes_away_while_it_answers_and_comes_back(tmp_path: Path) -> None:
    began = trio.Event()

    async def hang(request: DeviceRequest) -> DeviceReply:
        began.set()
        await trio.sleep_forever()
        raise AssertionError

    async def answer(request: DeviceRequest) -> DeviceReply:
        return DeviceReply(is_accepted=True, messages=((answer_topic(request), b"{}"),))

    path = tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running:
        peer = await running.connect("c", username="pump")
        async with node(path, hang):
            await until_node_answers(running)
            await peer.publish(TOPIC, b"{}")
            with trio.fail_after(60):
                await began.wait()
        assert json.loads((await peer.message()).payload)["code"] == "unavailable"
        async with node(path, answer):
            await until_node_answers(running)
            assert (await ask(peer))[0] == "accepted"


async def test_an_answer_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {**REQUEST_LIMITS, "provision": replace(REQUEST_LIMITS["provision"], timeout_ms=10)}
    monkeypatch.setattr(link_module, "REQUEST_LIMITS", limits)
    given_up = trio.Event()

    async def hang(request: DeviceRequest) -> DeviceReply:
        try:
            await trio.sleep_forever()
        finally:
            given_up.set()
        raise AssertionError

    path = tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running, node(path, hang) as link:
        await until_node_answers(running)
        peer = await running.connect("c", username="pump")
        await peer.publish(TOPIC, b"{}")
        with trio.fail_after(60):
            await given_up.wait()
        assert link.connected


async def test_what_waits_for_a_node_that_does_not_read_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "REQUEST_UNTOLD_COUNT_MAX", 3)
    limits = {**REQUEST_LIMITS, "provision": replace(REQUEST_LIMITS["provision"], timeout_ms=1)}
    monkeypatch.setattr(requests_module, "REQUEST_LIMITS", limits)
    monkeypatch.setattr(requests_module, "LOOK_INTERVAL_S", 0.01)
    path = tmp_path / "broker.sock"
    async with (
        running_broker(tmp_path, control_path=path) as running,
        await trio.open_unix_socket(str(path)) as deaf,
    ):
        await deaf.send_all(encode_message("hello", version=4, answers_requests=True))
        await until_node_answers(running)
        control = running.server._control
        assert control is not None
        (line,) = control._nodes
        peer = await running.connect("c", username="pump")
        async with line._sending:  # As if its socket were full.
            for _ in range(8):
                answered, problem = await ask(peer)
                assert (answered, problem["code"]) == ("rejected", "unavailable")
            assert len(line._requests) == 3


def test_what_can_not_be_understood() -> None:
    assert decode_request({"id": 1, "topic": 7}) is None
    assert decode_messages("x") is None
    assert decode_messages([["a", b"b"], ["a", "b"]]) is None
    event = {"principal": "pump", "client_id": "c", "what": "listening", "aws": True}
    assert decode_session_events({"events": [{}, event, {**event, "what": "sleeping"}]}) == [
        SessionEvent(principal="pump", client_id="c", what="listening", is_aws=True)
    ]


async def test_slow_answers_of_one_service_keep_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node works on one request for blocks at a time here, and that one takes for ever."""
    limits = {**REQUEST_LIMITS, "streams": replace(REQUEST_LIMITS["streams"], answering_count_max=1)}
    monkeypatch.setattr(link_module, "REQUEST_LIMITS", limits)

    async def answer(request: DeviceRequest) -> DeviceReply:
        if "/streams/" in request.topic:
            await trio.sleep_forever()
        return DeviceReply(is_accepted=True, messages=((request.topic + "/accepted", b"{}"),))

    path = tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running, node(path, answer) as link:
        await until_node_answers(running)
        peer = await running.connect("c", username="pump")
        for packet_id in range(1, 4):
            await peer.publish("dm/pump/streams/s/get/json", b"{}", packet_id=packet_id)
        await running.wait_until(lambda: link.answering_counts()["streams"] == 3)
        for packet_id, topic in enumerate(("shadow/get", "jobs/$next/get"), start=4):
            await peer.publish(f"dm/pump/{topic}", b"{}", packet_id=packet_id)
            assert (await peer.message()).topic == f"dm/pump/{topic}/accepted"


async def test_nobody_works_for_who_has_gone(tmp_path: Path) -> None:
    """Blocks of a file that nobody takes would cost those that wait for them; what changes something is brought to its end."""
    ended: list[str] = []

    async def answer(request: DeviceRequest) -> DeviceReply:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(request.topic)
        raise AssertionError

    path = tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running, node(path, answer) as link:
        await until_node_answers(running)
        stays = await running.connect("s", username="fan")
        await stays.publish("dm/fan/streams/s/get/json", b"{}")
        goes = await running.connect("c", username="pump")
        for packet_id, topic in enumerate(
            ("streams/s/get/json", "streams/s/get/cbor", "shadow/get"), start=1
        ):
            await goes.publish(f"dm/pump/{topic}", b"{}", packet_id=packet_id)
        await running.wait_until(lambda: sum(link.answering_counts().values()) == 4)
        await goes.send(b"\xe0\0")
        await running.wait_until(lambda: len(ended) == 2)
        assert sorted(ended) == ["dm/pump/streams/s/get/cbor", "dm/pump/streams/s/get/json"]
        assert link.answering_counts() == {"provision": 0, "shadow": 1, "jobs": 0, "cmd": 0, "streams": 1}
        numbers = running.statistics()
        assert numbers["requests"]["streams"]["called_off"] == 2
        assert numbers["requests_waiting"]["streams"] == 1
        control = running.server._control
        assert control is not None
        # One that is answered already, and what no broker says.
        control.call_off([99, 98])
        link._call_off(None)
        link._call_off([[]])
        assert link.answering_counts()["streams"] == 1


class Heard:
    """What a node hears of who listens."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, bool]] = []
        self.anew_count = 0

    def take(self, events: list[SessionEvent], is_anew: bool) -> None:
        self.anew_count += is_anew
        self.events += [(each.principal, each.what, each.is_aws) for each in events]


async def test_the_node_hears_who_listens_and_says_something_to_them(tmp_path: Path) -> None:
    heard, path = Heard(), tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running:
        before = await running.connect("before", username="fan")
        await before.subscribe("dm/fan/#")
        async with node(path, nothing, heard.take) as link:
            await running.wait_until(lambda: heard.events == [("fan", "listening", False)])
            device = await running.connect("c", username="pump", version=5)
            await device.subscribe("dm/pump/telemetry/#", "dm/pump/shadow/get/accepted")
            await device.subscribe("$share/g/dm/pump/jobs/#")
            await device.subscribe("dm/pump/cmd/+", "$aws/things/pump/jobs/notify-next")
            await running.wait_until(lambda: len(heard.events) == 3)
            assert heard.events[1:] == [("pump", "listening", False), ("pump", "listening", True)]
            assert await link.push("pump", [("dm/pump/cmd/1", b"on"), ("dm/pump/jobs/notify", b"x")]) == 1
            message = await device.message()
            assert (message.topic, message.payload, message.qos) == ("dm/pump/cmd/1", b"on", 0)
            many = [("$aws/things/pump/jobs/notify-next", b"%d" % number) for number in range(64)]
            assert await link.push("pump", many) == 64
            assert [(await device.message()).payload for _ in many] == [payload for _, payload in many]
            await device.send(
                builder.packet(
                    builder.SUBSCRIBE | 2, b"\0\1\x02\x0b\x07" + builder.text("dm/pump/cmd/#") + b"\0"
                )
            )
            await device.expect(builder.SUBACK)
            assert await link.push("pump", [("dm/pump/cmd/2", b"off")]) == 1, "two filters, one copy"
            assert (await device.message()).properties == b"\x0b\x07", "MQTT 5.0 §3.3.4, [MQTT-3.3.4-3]"
            assert await link.push("nobody", [("dm/nobody/cmd/1", b"on")]) == 0
            await before.send(b"\xe0\0")
            await running.wait_until(lambda: ("fan", "gone", False) in heard.events)
            statistics = running.statistics()
            assert statistics["pushes"] == {"asked": 68, "delivered": 66, "unheard": 2}
            assert statistics["listening"] == 1
        assert heard.anew_count >= 2, "when the link was made, and when it was lost"


async def test_a_session_that_is_taken_up_again_listens_and_a_device_is_gone_with_its_last_connection(
    tmp_path: Path,
) -> None:
    heard, path = Heard(), tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running, node(path, nothing, heard.take):
        await until_node_answers(running)
        kept = b"\x11\0\0\x0e\x10"
        first = await running.connect("a", username="pump", version=5, properties=kept)
        await first.subscribe("dm/pump/jobs/notify-next")
        second = await running.connect("b", username="pump")
        await second.subscribe("dm/pump/#")
        await running.connect("site", username="site")
        await running.wait_until(lambda: len(heard.events) == 2)
        await first.send(b"\xe0\0")
        await running.wait_until(lambda: running.statistics()["listening"] == 1)
        await second.send(b"\xe0\0")
        await running.wait_until(lambda: len(heard.events) == 3)
        assert heard.events[2] == ("pump", "gone", False)
        await running.connect("a", username="pump", version=5, properties=kept, clean=False)
        await running.wait_until(lambda: len(heard.events) == 4)
        assert heard.events[3] == ("pump", "listening", False)


async def test_a_node_that_does_not_read_is_told_of_everybody_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "SESSION_EVENTS_WAITING_COUNT_MAX", 2)
    heard, path = Heard(), tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running, node(path, nothing, heard.take):
        await until_node_answers(running)
        await running.wait_until(lambda: heard.anew_count == 1)
        control = running.server._control
        assert control is not None
        (line,) = control._nodes
        async with line._sending:  # As if its socket were full.
            for number in range(5):
                device = await running.connect(f"c{number}", username=f"pump{number}")
                await device.subscribe(f"dm/pump{number}/#")
        await running.wait_until(lambda: heard.anew_count == 2)
        await running.wait_until(lambda: {each[0] for each in heard.events} == {f"pump{n}" for n in range(5)})


async def test_a_push_that_can_not_be_understood(tmp_path: Path) -> None:
    path = tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running, node(path, nothing) as link:
        await running.wait_until(lambda: link.connected)
        for pushes in ("x", [5], [["pump", "x"]], [["pump", [["topic", "text"]]]], [["pump", []]] * 257):
            with pytest.raises(UsageError) as refused:
                await link.ask("push", pushes=pushes)
            assert refused.value.code == "push_invalid"


async def test_a_thousand_devices_ask_at_once(tmp_path: Path) -> None:
    """All are answered: each gets its own answers, and nobody is told to come back."""

    async def answer(request: DeviceRequest) -> DeviceReply:
        topic = parse(request.topic)
        assert topic is not None
        own = json.dumps({"own": request.name}).encode()
        return DeviceReply(is_accepted=True, messages=((topic.answer(*topic.rest, "accepted"), own),))

    path = tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running, node(path, answer):
        await until_node_answers(running)
        peers = [await running.connect(f"c{n}", username=f"d{n}", version=4 + n % 2) for n in range(1000)]
        asked = ("dm/d{}/shadow/get", "$aws/things/d{}/jobs/$next/get")
        for number, peer in enumerate(peers):
            await peer.send(b"".join(peer.publish_packet(t.format(number), b"{}", qos=0) for t in asked))
        for number, peer in enumerate(peers):
            got = {(message := await peer.message()).topic: json.loads(message.payload) for _ in asked}
            assert got == {t.format(number) + "/accepted": {"own": f"d{number}"} for t in asked}
        for service in ("shadow", "jobs"):
            counts = running.statistics()["requests"][service]
            assert (counts["taken"], counts["accepted"], counts["unavailable"]) == (1000, 1000, 0)


async def test_answers_wait_for_one_another_where_the_broker_does_not_take_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "REPLIES_BYTES_MAX", 1)

    async def answer(request: DeviceRequest) -> DeviceReply:
        return DeviceReply(is_accepted=True, messages=((request.topic + "/accepted", request.payload),))

    path = tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running, node(path, answer) as link:
        await until_node_answers(running)
        peer = await running.connect("c", username="pump")
        topics = ("shadow/get", "jobs/get", "shadow/update", "jobs/start-next")
        async with link._sending:  # As if the broker's socket were full.
            for packet_id, topic in enumerate(topics, start=1):
                await peer.publish(f"dm/pump/{topic}", topic.encode(), packet_id=packet_id)
            await running.wait_until(lambda: sum(link.answering_counts().values()) == 3)
        got = {(message := await peer.message()).payload.decode(): message.topic for _ in topics}
        assert got == {topic: f"dm/pump/{topic}/accepted" for topic in topics}
        await running.wait_until(lambda: not any(link.answering_counts().values()))
