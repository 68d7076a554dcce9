"""paho-mqtt's codec as an oracle for MQTT 5: properties of every packet both ways, and whole packets each way.

paho refuses U+FEFF in text and a Maximum Packet Size above 268,435,455, which the specification allows, can't send a
password without a user name, and lacks one reason code: those stay out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from paho.mqtt import _packet as paho_packet
from paho.mqtt import properties as paho_properties_module
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode as PahoReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from broker.mqtt.codec import PacketReader, decode_properties, encode, encode_properties
from broker.mqtt.constants import PacketType
from broker.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Publish,
    Sender,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Version,
)
from broker.mqtt.properties import Properties, PropertyId
from broker.mqtt.property_table import WILL, Carrier
from broker.mqtt.reason_codes import ALLOWED

from .mqtt_strategies import answers, connects, disconnects, properties, publishes, subscribes, unsubscribes

V5 = Version.MQTT_5
PahoProperties: Any = paho_properties_module.Properties
PAHO_5 = MQTTProtocolVersion.MQTTv5
CARRIERS: list[Carrier] = [WILL, *(set(PacketType) - {PacketType.PINGREQ, PacketType.PINGRESP})]


PAHO_LACKS = {PacketType.CONNACK: {0x99}}
"""Payload format invalid stands in Table 3-1 (for the will's payload) and in Table 2-6, but not in paho's table."""


@pytest.mark.parametrize("packet_type", list(ALLOWED))
def test_reason_codes_of_each_packet(packet_type: PacketType) -> None:
    names = PahoReasonCode(PacketTypes.CONNACK).names
    theirs = {
        code for code, uses in names.items() if any(int(packet_type) in types for types in uses.values())
    }
    assert theirs | PAHO_LACKS.get(packet_type, set()) == ALLOWED[packet_type]


def paho_type(carrier: Carrier) -> int:
    return PacketTypes.WILLMESSAGE if carrier is WILL else int(carrier.value)


def paho_name(key: PropertyId) -> str:
    return "".join(word.capitalize() for word in key.name.split("_")).replace("Qos", "QoS")


def paho_properties(bag: Properties, carrier: Carrier) -> Any:
    theirs = PahoProperties(paho_type(carrier))
    for key, value in bag.items():
        setattr(theirs, paho_name(key), list(value) if isinstance(value, tuple) else value)
    if bag.user_properties:
        theirs.UserProperty = list(bag.user_properties)
    return theirs


def ours(theirs: Any) -> Properties:
    values: dict[PropertyId, Any] = {}
    user: tuple[tuple[str, str], ...] = ()
    for key in PropertyId:
        value = getattr(theirs, paho_name(key), None)
        if key is PropertyId.USER_PROPERTY:
            user = tuple(value or ())
        elif value is not None:
            values[key] = tuple(value) if isinstance(value, list) else value
    return Properties(values, user)


def for_paho(bag: Properties) -> Properties:
    """The same without what paho can't."""
    if bag.integer(PropertyId.MAXIMUM_PACKET_SIZE, 1) > 268_435_455:
        bag = bag.with_values({PropertyId.MAXIMUM_PACKET_SIZE: 268_435_455})
    values = {
        key: value.replace("\ufeff", "x") if isinstance(value, str) else value for key, value in bag.items()
    }
    user = tuple(
        (name.replace("\ufeff", "x"), text.replace("\ufeff", "x")) for name, text in bag.user_properties
    )
    return Properties(values, user)


@given(st.sampled_from(CARRIERS).flatmap(lambda c: st.tuples(st.just(c), properties(c, V5))))
def test_properties_both_ways(carried: tuple[Carrier, Properties]) -> None:
    carrier, bag = carried
    bag = for_paho(bag)
    theirs = paho_properties(bag, carrier)
    packed = theirs.pack()
    assert (
        decode_properties(bytes(packed[packed.index(next(b for b in packed if b < 0x80)) + 1 :]), carrier)
        == bag
    )
    data = encode_properties(bag, carrier)
    assert sorted(data) == sorted(packed[len(packed) - len(data) :])
    unpacked = PahoProperties(paho_type(carrier))
    _, length = unpacked.unpack(packed[: len(packed) - len(data)] + data)
    assert length == len(packed)
    assert ours(unpacked) == bag


class Recorder(Client):
    """paho's client with its packets kept instead of sent."""

    def __init__(self, client_id: str = "c") -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=PAHO_5)
        self.packets: list[bytes] = []

    def _packet_queue(self, command: int, packet: bytes | bytearray, *rest: Any) -> MQTTErrorCode:
        self.packets.append(bytes(packet))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def decoded(self) -> Packet:
        (data,) = self.packets
        version = None if data[0] == 0x10 else V5
        reader = PacketReader(version, packet_bytes_max=1_000_000, sender=Sender.CLIENT)
        (packet,) = reader.receive_bytes(data)
        assert reader.error is None
        return packet


@given(connects(V5))
def test_paho_connect_to_ours(packet: Connect) -> None:
    will = packet.will and replace(packet.will, properties=for_paho(packet.will.properties))
    password = None if packet.username is None else packet.password
    packet = replace(packet, properties=for_paho(packet.properties), will=will, password=password)
    client = Recorder(packet.client_id)
    client._client_id = packet.client_id.encode()
    client._clean_start = packet.clean_start
    client._connect_properties = paho_properties(packet.properties, PacketType.CONNECT)
    if packet.username is not None:
        client._username = packet.username.encode()
        client._password = packet.password
    if will is not None:
        client.will_set(
            will.topic, will.payload, will.qos, will.retain, paho_properties(will.properties, WILL)
        )
    client._send_connect(packet.keep_alive_s)
    assert client.decoded() == packet


class Sink:
    """Stands for a socket that is there: paho asks before it builds a PUBLISH."""

    def close(self) -> None:
        """Nothing to close."""


@given(publishes(V5))
def test_paho_publish_to_ours(packet: Publish) -> None:
    bag = for_paho(packet.properties).without(PropertyId.SUBSCRIPTION_IDENTIFIER)
    packet = replace(packet, properties=bag)
    client = Recorder()
    client._sock = Sink()  # type: ignore[assignment]
    client._send_publish(
        packet.packet_id or 0,
        packet.topic.encode(),
        packet.payload,
        packet.qos,
        packet.retain,
        packet.dup,
        properties=paho_properties(packet.properties, PacketType.PUBLISH),
    )
    client._sock = None
    assert client.decoded() == packet


@given(publishes(V5))
def test_our_publish_to_paho(packet: Publish) -> None:
    packet = replace(packet, properties=for_paho(packet.properties))
    first, body = split(encode(packet, V5))
    theirs = paho_packet.decode_publish(first, body, PAHO_5)
    assert theirs.topic.decode() == packet.topic
    assert (theirs.dup, theirs.qos, theirs.retain) == (packet.dup, packet.qos, packet.retain)
    assert theirs.payload == packet.payload
    assert not packet.qos or theirs.mid == packet.packet_id
    assert ours(theirs.properties) == packet.properties


@given(subscribes(V5))
def test_paho_subscribe_to_ours(packet: Subscribe) -> None:
    packet = replace(packet, properties=for_paho(packet.properties))
    client = Recorder()
    client._last_mid = packet.packet_id - 1
    options = [
        SubscribeOptions(s.qos, s.no_local, s.retain_as_published, s.retain_handling)
        for s in packet.subscriptions
    ]
    filters = [s.topic_filter.encode() for s in packet.subscriptions]
    bag = paho_properties(packet.properties, PacketType.SUBSCRIBE)
    client._send_subscribe(0, list(zip(filters, options, strict=True)), bag)
    assert client.decoded() == packet


@given(unsubscribes(V5))
def test_paho_unsubscribe_to_ours(packet: Unsubscribe) -> None:
    packet = replace(packet, properties=for_paho(packet.properties))
    client = Recorder()
    client._last_mid = packet.packet_id - 1
    bag = paho_properties(packet.properties, PacketType.UNSUBSCRIBE)
    client._send_unsubscribe(0, [each.encode() for each in packet.topic_filters], bag)
    assert client.decoded() == packet


@given(disconnects(V5))
def test_our_disconnect_to_paho(packet: Disconnect) -> None:
    packet = replace(packet, properties=for_paho(packet.properties))
    first, body = split(encode(packet, V5))
    theirs = paho_packet.decode_disconnect(first, body, PAHO_5)
    assert (theirs.reason.value if theirs.reason else 0) == packet.reason_code
    assert ours(theirs.properties) == packet.properties


@given(disconnects(V5), st.sampled_from([0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x93]))
def test_paho_disconnect_to_ours(packet: Disconnect, reason_code: int) -> None:
    bag = for_paho(packet.properties).without(PropertyId.SERVER_REFERENCE)
    client = Recorder()
    reason = PahoReasonCode(PacketTypes.DISCONNECT, identifier=reason_code)
    client._send_disconnect(reason, paho_properties(bag, PacketType.DISCONNECT))
    assert client.decoded() == Disconnect(reason_code=reason_code, properties=bag)


@given(answers(V5))
def test_our_answers_to_paho(packet: Packet) -> None:
    if not isinstance(packet, Connack | Suback | Unsuback):
        return
    packet = replace(packet, properties=for_paho(packet.properties))
    first, body = split(encode(packet, V5))
    theirs: Any
    if isinstance(packet, Connack):
        assume(packet.reason_code not in PAHO_LACKS[PacketType.CONNACK])
        theirs = paho_packet.decode_connack(first, body, PAHO_5)
        assert (theirs.reason.value, theirs.flags) == (packet.reason_code, packet.session_present)
    else:
        make = paho_packet.decode_suback if isinstance(packet, Suback) else paho_packet.decode_unsuback
        theirs = make(first, body, PAHO_5)
        assert theirs.mid == packet.packet_id
        assert [code.value for code in theirs.reason_codes] == list(packet.reason_codes)
    assert ours(theirs.properties) == packet.properties


def split(data: bytes) -> tuple[int, bytes]:
    """First byte and what follows the remaining length."""
    at = next(at for at in range(1, 5) if data[at] < 0x80)
    return data[0], data[at + 1 :]
