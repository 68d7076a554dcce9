"""The fleet's MQTT session: sans-IO, any cut gives the same events, any bytes give events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.mqtt import packets as p
from broker.mqtt.codec import PacketReader, encode
from broker.mqtt.packets import Version
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from device_fw_sim.events import (
    Acknowledged,
    Close,
    Connect,
    Connected,
    ConnectionLost,
    Event,
    FallSilent,
    Publish,
    Received,
    Refused,
    Subscribe,
)
from device_fw_sim.session import MqttSession

CONNECT = Connect(client_id="pump", keep_alive_s=10, will_topic="dm/pump/status", will_payload=b"gone")


def session(version: Version = Version.MQTT_5) -> MqttSession:
    return MqttSession(version=version, username="pump", password="token")


def online(version: Version = Version.MQTT_5) -> MqttSession:
    found = session(version)
    found.send(CONNECT, 0)
    assert found.receive_bytes(encode(p.Connack(), version), 0)
    return found


def read(data: bytes, version: Version = Version.MQTT_5) -> list[p.Packet]:
    return PacketReader(version, packet_bytes_max=10_000, sender=p.Sender.CLIENT).receive_bytes(data)


@pytest.mark.parametrize("version", [Version.MQTT_3_1_1, Version.MQTT_5])
def test_connect_carries_credentials_and_a_will_that_is_not_retained(version: Version) -> None:
    (packet,) = read(session(version).send(CONNECT, 0), version)
    assert isinstance(packet, p.Connect)
    assert (packet.client_id, packet.username, packet.password) == ("pump", "pump", b"token")
    assert packet.will is not None
    assert (packet.will.qos, packet.will.retain, packet.will.payload) == (1, False, b"gone")
    assert packet.clean_start


def test_connack_tells_receive_maximum_and_keep_alive_of_the_server() -> None:
    found = session()
    found.send(CONNECT, 0)
    properties = Properties({PropertyId.RECEIVE_MAXIMUM: 5, PropertyId.SERVER_KEEP_ALIVE: 4})
    assert found.receive_bytes(encode(p.Connack(properties=properties), Version.MQTT_5), 0) == [
        Connected(receive_maximum=5)
    ]
    assert found.next_deadline_ms() == 3_000


def test_refusal() -> None:
    found = session()
    found.send(CONNECT, 0)
    assert found.receive_bytes(encode(p.Connack(reason_code=0x87), Version.MQTT_5), 0) == [
        Refused(reason_code=0x87)
    ]
    assert found.problem is not None


def test_publish_and_puback_are_matched_by_handle() -> None:
    found = online()
    sent = [read(found.send(Publish(handle=handle, topic="t", payload=b"x"), 1))[0] for handle in (70, 71)]
    assert [packet.packet_id for packet in sent if isinstance(packet, p.Publish)] == [1, 2]
    data = encode(p.Puback(packet_id=2), Version.MQTT_5) + encode(
        p.Puback(packet_id=1, reason_code=0x10), Version.MQTT_5
    )
    assert found.receive_bytes(data, 2) == [Acknowledged(handle=71), Acknowledged(handle=70)]


def test_packet_ids_in_flight_are_not_used_again() -> None:
    found = online()
    found.send(Publish(handle=1, topic="t", payload=b""), 0)
    for number in range(2, 65_536):
        found.send(Publish(handle=number, topic="t", payload=b""), 0)
        found.receive_bytes(encode(p.Puback(packet_id=number), Version.MQTT_5), 0)
    (packet,) = read(found.send(Publish(handle=9, topic="t", payload=b""), 0))
    assert isinstance(packet, p.Publish)
    assert packet.packet_id == 2


def test_ping_when_quiet_and_loss_without_an_answer() -> None:
    found = online()
    assert found.next_deadline_ms() == 7_500
    assert found.on_deadline(7_499) == (b"", [])
    data, events = found.on_deadline(7_500)
    assert (read(data), events) == ([p.Pingreq()], [])
    found.receive_bytes(encode(p.Pingresp(), Version.MQTT_5), 7_600)
    assert found.next_deadline_ms() == 15_000
    found.on_deadline(15_000)
    assert found.on_deadline(25_000) == (b"", [ConnectionLost()])


def test_what_comes_before_the_answer_to_a_ping_is_a_sign_of_life() -> None:
    found = online()
    found.on_deadline(7_500)
    assert found.next_deadline_ms() == 17_500
    found.receive_bytes(encode(p.Pingresp(), Version.MQTT_5)[:1], 12_000)
    assert found.next_deadline_ms() == 22_000


def test_no_ping_when_silent_or_without_keep_alive() -> None:
    found = online()
    assert found.send(FallSilent(silent=True), 0) == b""
    assert found.next_deadline_ms() is None
    quiet = session()
    quiet.send(Connect(client_id="c", keep_alive_s=0, will_topic="t", will_payload=b""), 0)
    quiet.receive_bytes(encode(p.Connack(), Version.MQTT_5), 0)
    assert quiet.next_deadline_ms() is None


def test_goodbye_and_abort() -> None:
    found = online()
    assert read(found.send(Close(abort=False), 0)) == [p.Disconnect()]
    assert found.send(Close(abort=True), 0) == b""


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        (p.Puback(packet_id=9), "not in flight"),
        (p.Disconnect(reason_code=0x8B), "0x8b"),
        (p.Publish(topic="t"), "Publish"),
        (p.Connack(), "Connack"),
    ],
)
def test_what_a_broker_should_not_send_ends_the_connection(packet: p.Packet, said: str) -> None:
    found = online()
    assert found.receive_bytes(encode(packet, Version.MQTT_5), 0) == [ConnectionLost()]
    assert found.problem is not None
    assert said in found.problem


def test_refused_publish_ends_the_connection() -> None:
    found = online()
    found.send(Publish(handle=1, topic="t", payload=b""), 0)
    assert found.receive_bytes(encode(p.Puback(packet_id=1, reason_code=0x97), Version.MQTT_5), 0) == [
        ConnectionLost()
    ]


def test_closed_and_broken() -> None:
    assert online().receive_bytes(b"", 0) == [ConnectionLost()]
    assert online().receive_bytes(b"\xff\xff\xff\xff\xff\xff", 0) == [ConnectionLost()]
    found = online()
    found.send(Publish(handle=1, topic="t", payload=b""), 0)
    good_then_bad = encode(p.Puback(packet_id=1), Version.MQTT_5) + b"\x00\x00"
    assert found.receive_bytes(good_then_bad, 0) == [Acknowledged(handle=1), ConnectionLost()]


@given(st.integers(1, 20), st.lists(st.integers(1, 7), max_size=40))
def test_any_cut_gives_the_same_events(count: int, cuts: list[int]) -> None:
    def events(sizes: list[int]) -> list[Event]:
        found = session()
        found.send(CONNECT, 0)
        for handle in range(1, count + 1):
            found.send(Publish(handle=handle, topic="t", payload=b""), 0)
        data = encode(p.Connack(), Version.MQTT_5) + encode(p.Pingresp(), Version.MQTT_5)
        data += b"".join(encode(p.Puback(packet_id=number), Version.MQTT_5) for number in range(1, count + 1))
        made: list[Event] = []
        for size in [*sizes, len(data)]:
            chunk, data = data[:size], data[size:]
            if chunk:
                made += found.receive_bytes(chunk, 0)
        return made

    assert events(cuts) == events([])


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=10))
def test_any_bytes_give_events(chunks: list[bytes]) -> None:
    found = online()
    for chunk in chunks:
        for event in found.receive_bytes(chunk, 0):
            assert isinstance(event, ConnectionLost)


def test_who_subscribed_receives() -> None:
    found = online()
    sent = read(found.send(Subscribe(filters=("dm/d/jobs/#", "dm/d/cmd/+")), 0))
    assert isinstance(sent[0], p.Subscribe)
    assert [(each.topic_filter, each.qos) for each in sent[0].subscriptions] == [
        ("dm/d/jobs/#", 0),
        ("dm/d/cmd/+", 0),
    ]
    answers: list[p.Packet] = [
        p.Suback(packet_id=sent[0].packet_id, reason_codes=(0, 0x87)),
        p.Publish(topic="dm/d/jobs/notify-next", payload=b"{}"),
    ]
    data = b"".join(encode(each, Version.MQTT_5) for each in answers)
    assert found.receive_bytes(data, 0) == [Received(topic="dm/d/jobs/notify-next", payload=b"{}")]


def test_a_publish_with_qos_0_waits_for_nothing() -> None:
    (packet,) = read(online().send(Publish(handle=-1, topic="t", payload=b"x", qos=0), 0))
    assert isinstance(packet, p.Publish)
    assert (packet.qos, packet.packet_id) == (0, None)


def test_a_request_that_is_refused_costs_nothing_else() -> None:
    found = online()
    found.send(Publish(handle=-7, topic="dm/d/jobs/get", payload=b""), 0)
    refusal = encode(p.Puback(packet_id=1, reason_code=0x87), Version.MQTT_5)
    assert found.receive_bytes(refusal, 0) == [Acknowledged(handle=-7)]
