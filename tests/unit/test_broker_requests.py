"""Requests of devices: who is asked, who gets the answer, that nothing of it comes into the log, and every bound."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import SystemClock
from appliance.core.errors import NotAuthorized
from appliance.core.limits import PROVISIONING_CONNECTION_MS
from appliance.core.limits_requests import (
    REQUEST_ANSWER_MESSAGE_COUNT_MAX,
    REQUEST_LIMITS,
    REQUEST_TURNED_AWAY_COUNT_MAX,
)
from appliance.management.access import Principal, provisioning_name
from broker import direct_messages, places, requests
from storage.log.columns import Kind
from tests.broker_kit import CONFIG, KitAuthenticator, Peer, Running, running_broker
from tests.protocol import builder

TOPIC = "dm/provision/default/request"
ACCEPTED = "dm/provision/default/accepted"
REJECTED = "dm/provision/default/rejected"
LIMITS = REQUEST_LIMITS["provision"]
STREAMS = REQUEST_LIMITS["streams"]
SECRET = b'{"csr": "a-secret"}'


class Claims(KitAuthenticator):
    """User names that begin with `claim` enrol."""

    def authenticate(
        self, username: str | None, password: bytes | None, client_id: str, address: str
    ) -> Principal:
        if username is not None and username.startswith("claim"):
            if password == b"wrong":
                raise NotAuthorized("No claim has this token.", code="claim_unknown")
            return Principal(name=provisioning_name(username), kind="provisioning", proof=b"hash")
        return super().authenticate(username, password, client_id, address)


class Node:
    """Takes requests, and is away when told so."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.called_off: list[int] = []
        self.is_there = True

    def request(self, fields: dict[str, Any]) -> bool:
        if self.is_there:
            self.asked.append(fields)
        return self.is_there

    def call_off(self, numbers: Sequence[int]) -> None:
        self.called_off += numbers


class Rig:
    def __init__(self, running: Running) -> None:
        self.running = running
        self.node = Node()
        self.requests = running.server._talk.requests
        self.requests.node = self.node

    def reply(self, number: int, *messages: tuple[str, bytes], is_accepted: bool = True) -> None:
        self.requests.reply(number, messages or ((ACCEPTED, b"{}"),), is_accepted=is_accepted)

    async def asked(self, count: int = 1) -> list[dict[str, Any]]:
        await self.running.wait_until(lambda: len(self.node.asked) >= count)
        return self.node.asked

    @property
    def counts(self) -> dict[str, int]:
        return self.counts_of("provision")

    def counts_of(self, service: str) -> dict[str, int]:
        found: dict[str, int] = self.running.statistics()["requests"][service]
        return {name: count for name, count in found.items() if count}


class Hands(SystemClock):
    """A clock that can be put forward."""

    ahead_ms = 0

    def mono_ms(self) -> int:
        return super().mono_ms() + self.ahead_ms


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_broker(tmp_path, authenticator=Claims()) as running:
        yield Rig(running)


async def answer(peer: Peer) -> tuple[str, dict[str, Any]]:
    message = await peer.message()
    assert message.qos == 0
    return message.topic, json.loads(message.payload)


def rejected(found: tuple[str, dict[str, Any]]) -> str:
    topic, words = found
    assert topic == "dm/provision/default/rejected"
    assert words["message"]
    return str(words["code"])


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_the_node_is_asked_and_whoever_asked_is_answered(rig: Rig, version: int, qos: int) -> None:
    running = rig.running
    bystander = await running.connect("all", username="site")
    await bystander.subscribe("#")
    device = await running.connect("new", username="claim-pump", version=version)
    await device.send(device.publish_packet(TOPIC, SECRET, qos=qos, packet_id=7))
    if qos == 1:
        assert (await device.expect(builder.PUBACK)).packet_id == 7
    if qos == 2:
        assert (await device.expect(builder.PUBREC)).packet_id == 7
        await device.send(device.publish_packet(TOPIC, SECRET, qos=2, packet_id=7))
        assert (await device.expect(builder.PUBREC)).packet_id == 7
        await device.send(builder.packet(builder.PUBREL | 2, b"\x00\x07"))
        assert (await device.expect(builder.PUBCOMP)).body == b"\x00\x07"
    (asked,) = await rig.asked()
    assert asked["topic"] == TOPIC
    assert asked["payload"] == SECRET
    assert asked["client_id"] == "new"
    assert asked["principal"] == {
        "name": "$provision/claim-pump", "kind": "provisioning", "proof": b"hash"
    }  # fmt: skip
    rig.reply(asked["id"], (ACCEPTED, b'{"cert": "PEM"}'))
    assert await answer(device) == ("dm/provision/default/accepted", {"cert": "PEM"})
    rig.reply(asked["id"])
    await bystander.publish("dm/x/y", b"after")
    assert (await bystander.message()).payload == b"after", "nobody else gets a request or its answer"
    assert [record[3] for record in running.records(Kind.PUBLISH)] == [b"after"]
    assert rig.counts == {"taken": 1, "accepted": 1}


async def test_nothing_of_a_request_comes_into_the_log(tmp_path: Path) -> None:
    async with running_broker(tmp_path, authenticator=Claims()) as running:
        device = await running.connect("new", username="pump", version=5)
        for packet_id in range(1, 9):
            await device.publish("dm/pump/telemetry", b"{}", packet_id=packet_id)
            await device.publish(TOPIC, SECRET, packet_id=packet_id)
            assert rejected(await answer(device)) == "unavailable"
    written = b"".join(path.read_bytes() for path in (tmp_path / "log").rglob("*") if path.is_file())
    assert b"telemetry" in written
    assert b"provision/default" not in written
    assert b"a-secret" not in written


async def test_an_mqtt_5_client_gets_its_correlation_data_back_and_may_use_an_alias(rig: Rig) -> None:
    device = await rig.running.connect("new", username="pump", version=5)
    alias, correlation = b"\x23\x00\x01", b"\x09\x00\x03abc"
    await device.send(builder.publish(TOPIC, b"1", qos=1, packet_id=1, properties=alias + correlation))
    await device.expect(builder.PUBACK)
    await device.send(builder.publish("", b"2", qos=1, packet_id=2, properties=alias))
    await device.expect(builder.PUBACK)
    first, second = await rig.asked(2)
    assert (first["payload"], second["payload"], second["topic"]) == (b"1", b"2", TOPIC)
    for asked, properties in ((first, correlation), (second, b"")):
        rig.reply(asked["id"], (REJECTED, b"{}"), is_accepted=False)
        message = await device.message()
        assert (message.topic, message.properties) == ("dm/provision/default/rejected", properties)


async def test_whoever_enrols_may_do_nothing_else(rig: Rig) -> None:
    running = rig.running
    device = await running.connect("new", username="claim", version=5)
    await device.send(device.publish_packet("dm/claim/telemetry", b"{}", packet_id=3))
    puback = await device.expect(builder.PUBACK)
    assert puback.body[2] == 0x87
    suback = await device.subscribe("#", "dm/claim/#", "dm/provision/+/accepted")
    assert suback.body[3:] == b"\x87\x87\x01"
    other = await running.open(version=5)
    will = builder.will_fields(TOPIC, SECRET, properties=b"")
    assert await other.refused("other", username="claim", will=will, will_flags=4) == 0x87
    kept = await running.open(version=5)
    connack = await kept.connect("kept", username="claim", properties=b"\x11\x00\x00\x0e\x10")
    assert b"\x11\x00\x00\x00\x00" in connack.body, "its session ends with its connection"
    older = await running.connect("older", username="claim", version=4)
    await older.send(older.publish_packet("dm/claim/telemetry", b"{}"))
    assert await older.packet() is None


async def test_a_program_with_site_access_can_not_answer_in_our_name(rig: Rig) -> None:
    site = await rig.running.connect("s", username="site", version=5)
    await site.send(site.publish_packet("dm/provision/default/accepted", b"{}", packet_id=3))
    assert (await site.expect(builder.PUBACK)).body[2] == 0x87


async def test_the_node_is_away(rig: Rig) -> None:
    rig.node.is_there = False
    device = await rig.running.connect("new", username="claim", version=5)
    retries = set()
    for packet_id in range(1, 6):
        await device.publish(TOPIC, SECRET, packet_id=packet_id)
        topic, words = await answer(device)
        assert rejected((topic, words)) == "unavailable"
        retries.add(words["retry_s"])
    assert len(retries) == 5, "they do not all come back at the same moment"
    assert rig.counts == {"taken": 5, "unavailable": 5}


async def test_the_node_goes_away_before_it_answers(rig: Rig) -> None:
    device = await rig.running.connect("new", username="claim")
    await device.publish(TOPIC, SECRET)
    (asked,) = await rig.asked()
    rig.requests.node_left()
    assert rejected(await answer(device)) == "unavailable"
    rig.reply(asked["id"])
    await device.ping()
    assert rig.counts == {"taken": 1, "unavailable": 1}


async def test_a_request_too_large(rig: Rig) -> None:
    device = await rig.running.connect("new", username="claim")
    await device.publish(TOPIC, bytes(LIMITS.bytes_max + 1))
    assert rejected(await answer(device)) == "request_too_large"
    await device.publish(TOPIC, bytes(LIMITS.bytes_max), packet_id=2)
    await rig.asked()
    assert rig.running.statistics()["limits"]["request_bytes_max"] == 1


async def test_a_connection_has_so_many_requests_waiting(rig: Rig) -> None:
    device = await rig.running.connect("new", username="claim")
    for packet_id in range(1, LIMITS.per_connection_count_max + 1):
        await device.publish(TOPIC, SECRET, packet_id=packet_id)
    await device.publish(TOPIC, SECRET, packet_id=9)
    assert rejected(await answer(device)) == "requests_waiting"
    rig.reply(rig.node.asked[0]["id"])
    await answer(device)
    await device.publish(TOPIC, SECRET, packet_id=10)
    await rig.asked(LIMITS.per_connection_count_max + 1)
    assert rig.running.statistics()["limits"]["request_per_connection_count_max"] == 1


async def test_who_does_not_wait_for_answers_is_closed(rig: Rig) -> None:
    device = await rig.running.connect("new", username="claim", version=5)
    packets = [device.publish_packet(TOPIC, SECRET, packet_id=n) for n in range(1, 200)]
    await device.send(b"".join(packets))
    assert await device.disconnected() == 0x97
    assert len(rig.node.asked) == LIMITS.per_connection_count_max
    assert rig.counts["turned_away"] > REQUEST_TURNED_AWAY_COUNT_MAX
    assert rig.running.statistics()["limits"]["request_turned_away_count_max"] == 1
    rig.reply(rig.node.asked[0]["id"])
    assert rig.counts["unheard"] == 1


async def test_a_connection_that_asks_too_often(tmp_path: Path) -> None:
    clock = Hands()
    async with running_broker(tmp_path, authenticator=Claims(), clock=clock) as running:
        rig = Rig(running)
        device = await running.connect("new", username="pump")

        async def ask(packet_id: int) -> str:
            await device.publish(TOPIC, SECRET, packet_id=packet_id)
            if len(rig.node.asked) < packet_id:
                return rejected(await answer(device))
            rig.reply(rig.node.asked[-1]["id"])
            return (await answer(device))[0].rpartition("/")[2]

        for packet_id in range(1, LIMITS.burst_count_max + 1):
            assert await ask(packet_id) == "accepted"
        assert await ask(LIMITS.burst_count_max + 1) == "requests_too_fast"
        assert running.statistics()["limits"]["request_burst_count_max"] == 1
        other = await running.connect("other", username="pump")
        await other.publish(TOPIC, SECRET)
        assert len(rig.node.asked) == LIMITS.burst_count_max + 1, "another connection has a bucket of its own"
        clock.ahead_ms = 2 * LIMITS.burst_count_max * LIMITS.refill_ms
        rig.requests.look()
        assert not rig.requests._desks["provision"].bucket_count, "nothing of it stays"


async def test_as_many_as_wait_in_all(rig: Rig) -> None:
    rig.requests._desks["provision"].limits = replace(LIMITS, waiting_count_max=1)
    first = await rig.running.connect("a", username="claim")
    second = await rig.running.connect("b", username="claim")
    await first.publish(TOPIC, SECRET)
    await rig.asked()
    await second.publish(TOPIC, SECRET)
    assert rejected(await answer(second)) == "unavailable"
    assert rig.running.statistics()["limits"]["request_waiting_count_max"] == 1


async def test_an_answer_larger_than_the_client_takes(rig: Rig) -> None:
    for client_id, bytes_max, is_told in (("small", 200, True), ("tiny", 60, False)):
        device = await rig.running.open(version=5)
        properties = b"\x27" + bytes_max.to_bytes(4, "big")
        await device.connect(client_id, username="claim", properties=properties)
        await device.publish(TOPIC, SECRET)
        await rig.running.wait_until(lambda: rig.node.asked)
        rig.reply(rig.node.asked.pop()["id"], (ACCEPTED, bytes(500)))
        if is_told:
            assert rejected(await answer(device)) == "answer_too_large"
        await device.ping()
    assert rig.counts == {"taken": 2, "accepted": 2, "unheard": 1}
    older = await rig.running.connect("older", username="claim")
    await older.publish(TOPIC, SECRET)
    await rig.running.wait_until(lambda: rig.node.asked)
    rig.reply(rig.node.asked.pop()["id"], (ACCEPTED, bytes(LIMITS.answer_bytes_max + 1)))
    assert rejected(await answer(older)) == "answer_too_large"


async def test_the_node_takes_too_long_and_enrolling_takes_too_long(tmp_path: Path) -> None:
    clock = Hands()
    async with running_broker(tmp_path, authenticator=Claims(), clock=clock) as running:
        rig = Rig(running)
        device = await running.connect("new", username="claim", version=5, keep_alive=3600)
        await device.publish(TOPIC, SECRET)
        await rig.asked()
        rig.requests.look()
        clock.ahead_ms = LIMITS.timeout_ms - 1000
        await device.ping()
        clock.ahead_ms = LIMITS.timeout_ms + 1
        assert rejected(await answer(device)) == "unavailable"
        clock.ahead_ms = PROVISIONING_CONNECTION_MS + LIMITS.timeout_ms
        assert await device.disconnected() == 0xA0


async def test_as_many_as_may_enrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PROVISIONING_CONNECTION_COUNT_MAX", 2)
    config = replace(CONFIG, connections_per_device_max=1)
    async with running_broker(tmp_path, config=config, authenticator=Claims()) as running:
        for client_id in ("a", "b", "b"):
            await running.connect(client_id, username="claim")
        third = await running.open(version=5)
        assert await third.refused("c", username="claim") == 0x97
        assert running.statistics()["limits"]["provisioning_connection_count_max"] == 1
        await running.connect("c", username="pump")


async def test_a_wrong_claim_is_a_bad_password(rig: Rig) -> None:
    for version, code in ((4, 4), (5, 0x86)):
        peer = await rig.running.open(version=version)
        assert await peer.refused("x", username="claim", password=b"wrong") == code


@pytest.mark.parametrize("prefix", ["dm/pump", "$aws/things/pump"])
@pytest.mark.parametrize("version", [4, 5])
async def test_a_device_asks_for_itself_natively_and_by_the_alias(
    rig: Rig, prefix: str, version: int
) -> None:
    device = await rig.running.connect("c", username="pump", version=version)
    topic = f"{prefix}/shadow/name/config/update"
    await device.publish(topic, SECRET)
    (asked,) = await rig.asked()
    assert (asked["topic"], asked["principal"]["name"]) == (topic, "pump")
    messages = [(f"{topic}/accepted", b"1"), (f"{topic}/documents", b"2"), (f"{topic}/delta", b"3")]
    rig.reply(asked["id"], *messages)
    for expected in messages:
        message = await device.message()
        assert (message.topic, message.payload) == expected
    assert rig.counts_of("shadow") == {"taken": 1, "accepted": 1}


@pytest.mark.parametrize(
    ("username", "topic"),
    [
        ("pump", "dm/fan/shadow/get"),
        ("pump", "$aws/things/fan/jobs/$next/get"),
        ("pump", "dm/pump/jobs/notify-next"),
        ("pump", "dm/pump/shadow/get/accepted"),
        ("pump", "$aws/things/pump/shadow/update/delta"),
        ("site", "dm/fan/shadow/update"),
        ("site", "dm/site/shadow/update"),
        ("site", "dm/fan/cmd/1"),
        ("site", "$aws/things/fan/jobs/j/update"),
        ("claim", "dm/claim/shadow/get"),
    ],
)
async def test_nobody_asks_for_another_or_speaks_in_our_name(rig: Rig, username: str, topic: str) -> None:
    running = rig.running
    victim = await running.connect("victim", username="fan")
    await victim.subscribe("dm/fan/#", "$aws/things/fan/#")
    newer = await running.connect("newer", username=username, version=5)
    await newer.send(newer.publish_packet(topic, SECRET, packet_id=3))
    assert (await newer.expect(builder.PUBACK)).body[2] == 0x87
    older = await running.connect("older", username=username, version=4)
    await older.send(older.publish_packet(topic, SECRET, packet_id=3))
    assert await older.packet() is None, "3.1.1 has no word for it, so the connection ends"
    await victim.ping()
    assert not rig.node.asked
    assert [record[3] for record in running.records(Kind.PUBLISH)] == []


async def test_who_subscribes_to_anothers_answers_gets_none(rig: Rig) -> None:
    running = rig.running
    site = await running.connect("site", username="site")
    await site.subscribe("#", "$aws/#")
    device = await running.connect("c", username="pump")
    await device.publish("$aws/things/pump/shadow/get", SECRET)
    (asked,) = await rig.asked()
    rig.reply(asked["id"], ("$aws/things/pump/shadow/get/accepted", b"own"))
    assert (await device.message()).payload == b"own"
    await device.publish("dm/pump/telemetry", b"{}", packet_id=2)
    assert (await site.message()).topic == "dm/pump/telemetry"


async def test_an_answer_has_the_identifier_of_a_subscription_that_it_matches(rig: Rig) -> None:
    """MQTT 5.0 §3.3.4, [MQTT-3.3.4-3]."""
    device = await rig.running.connect("c", username="pump", version=5)
    await device.send(
        builder.packet(builder.SUBSCRIBE | 2, b"\0\1" + b"\x02\x0b\x07" + builder.text("dm/pump/#") + b"\1")
    )
    await device.expect(builder.SUBACK)
    await device.send(builder.publish("dm/pump/shadow/get", b"", properties=b"\x09\x00\x01x"))
    (asked,) = await rig.asked()
    rig.reply(asked["id"], ("dm/pump/shadow/get/accepted", b"1"))
    assert (await device.message()).properties == b"\x09\x00\x01x\x0b\x07"


async def test_blocks_are_asked_for_often_and_the_twin_beside_them(tmp_path: Path) -> None:
    clock = Hands()
    async with running_broker(tmp_path, authenticator=Claims(), clock=clock) as running:
        rig = Rig(running)
        device = await running.connect("c", username="pump")
        for packet_id in range(1, STREAMS.per_connection_count_max + 2):
            await device.publish("dm/pump/streams/s/get/json", b'{"c": "t"}', packet_id=packet_id)
        message = await device.message()
        assert message.topic == "dm/pump/streams/s/rejected/json"
        assert json.loads(message.payload)["reason"] == "requests_waiting"
        assert json.loads(message.payload)["c"] == "t"
        await device.publish("dm/pump/shadow/get", b"{}", packet_id=90)
        await rig.asked(STREAMS.per_connection_count_max + 1)
        assert running.statistics()["requests_waiting"]["shadow"] == 1
        block = ("dm/pump/streams/s/data/json", bytes(STREAMS.message_bytes_max))
        rig.reply(rig.node.asked[0]["id"], block, block, block, block)
        for _ in range(4):
            assert len((await device.message()).payload) == STREAMS.message_bytes_max
        clock.ahead_ms = LIMITS.timeout_ms + 1
        rig.requests.look()
        assert (await device.message()).topic == "dm/pump/shadow/get/rejected"
        assert running.statistics()["requests_waiting"]["streams"] == 3, "blocks wait for the budget"
        clock.ahead_ms = STREAMS.timeout_ms + 1
        rig.requests.look()
        assert running.statistics()["requests_waiting"]["streams"] == 0


async def test_of_an_answer_what_is_too_large_is_left_out_and_said_once(rig: Rig) -> None:
    device = await rig.running.open(version=5)
    await device.connect("small", username="pump", properties=b"\x27" + (400).to_bytes(4, "big"))
    await device.publish("dm/pump/streams/s/get/json", b"{}")
    (asked,) = await rig.asked()
    data = "dm/pump/streams/s/data/json"
    rig.reply(asked["id"], (data, b"1"), (data, bytes(500)), (data, bytes(600)), (data, b"2"))
    got = [await device.message() for _ in range(3)]
    assert [each.payload for each in got[:2]] == [b"1", b"2"]
    assert got[2].topic == "dm/pump/streams/s/rejected/json"
    assert json.loads(got[2].payload)["reason"] == "answer_too_large"
    await device.publish("dm/pump/streams/s/get/json", b"{}", packet_id=2)
    asked = (await rig.asked(2))[1]
    rig.reply(asked["id"], *[(data, b"")] * (REQUEST_ANSWER_MESSAGE_COUNT_MAX + 1))
    assert (await device.message()).topic == "dm/pump/streams/s/rejected/json"
    await device.ping()


async def test_what_waits_in_all_is_bounded_by_bytes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "REQUEST_WAITING_BYTES_MAX", 30)
    device = await rig.running.connect("c", username="pump")
    for packet_id in range(1, 4):
        await device.publish("dm/pump/shadow/get", bytes(15), packet_id=packet_id)
    assert (await device.message()).topic == "dm/pump/shadow/get/rejected"
    rig.reply(rig.node.asked[0]["id"], ("dm/pump/shadow/get/accepted", b""))
    await device.message()
    await device.publish("dm/pump/shadow/get", bytes(15), packet_id=4)
    await rig.asked(3)
    assert rig.running.statistics()["limits"]["request_waiting_bytes_max"] == 1


async def test_answers_that_nobody_takes_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_messages, "REQUEST_ANSWERS_UNSENT_BYTES_MAX", 1_000)
    device = await rig.running.connect("c", username="pump")
    topic = "dm/pump/shadow/get"
    for packet_id in range(1, 5):
        await device.publish(topic, b"", packet_id=packet_id)
    first, second, third, fourth = await rig.asked(4)
    answer = (f"{topic}/accepted", bytes(600))
    rig.reply(first["id"], answer)
    rig.reply(second["id"], answer)
    assert rig.counts_of("shadow") == {"taken": 4, "accepted": 2, "unheard": 1}
    assert rig.running.statistics()["limits"]["request_answers_unsent_bytes_max"] == 1
    assert len((await device.message()).payload) == 600
    rig.reply(third["id"], answer)
    assert len((await device.message()).payload) == 600, "what was taken makes room"
    await device.send(b"\xe0\0")
    await rig.running.wait_until(lambda: rig.running.statistics()["plane"]["connections"] == 0)
    rig.reply(fourth["id"], answer)
    assert rig.counts_of("shadow")["unheard"] == 2
    rig.requests.look()
    assert not rig.running.server._talk._direct.receiver_count, "nothing of it stays"


async def test_the_outcome_of_a_command_is_not_answered(rig: Rig) -> None:
    device = await rig.running.connect("c", username="pump")
    await device.publish("dm/pump/cmd/r1/resp", b'{"ok": true}')
    (asked,) = await rig.asked()
    rig.requests.reply(asked["id"], (), is_accepted=True)
    await device.ping()
    assert rig.counts_of("cmd") == {"taken": 1, "accepted": 1}
