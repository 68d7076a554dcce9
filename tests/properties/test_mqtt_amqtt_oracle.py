"""amqtt 0.12's codec as an oracle for 3.1.1: written by other people, from the same specification.

What we encode amqtt reads as the same fields, and what amqtt encodes we read as the same fields. Where it is laxer
than the specification the difference is listed at the end and asserted, so that a change of amqtt shows here.
amqtt has no fields for a password that is not UTF-8 and makes up a client id for an empty one: those stay out.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from amqtt.adapters import BufferReader
from amqtt.mqtt import packet_class
from amqtt.mqtt.connack import ConnackPacket
from amqtt.mqtt.connect import ConnectPacket, ConnectPayload, ConnectVariableHeader
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.packet import MQTTFixedHeader
from amqtt.mqtt.pingreq import PingReqPacket
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.pubcomp import PubcompPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.pubrec import PubrecPacket
from amqtt.mqtt.pubrel import PubrelPacket
from amqtt.mqtt.suback import SubackPacket
from amqtt.mqtt.subscribe import SubscribePacket
from amqtt.mqtt.unsuback import UnsubackPacket
from amqtt.mqtt.unsubscribe import UnsubscribePacket
from hypothesis import given

from appliance.core.errors import RemoteProtocolError
from broker.mqtt.codec import PacketReader, encode
from broker.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Sender,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Version,
    Will,
)
from tests.protocol import builder as b

from .mqtt_strategies import connects, packets

V4 = Version.MQTT_3_1_1


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """amqtt's readers over a buffer never wait, so no event loop is needed."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("amqtt waited for a buffer")


def amqtt_decode(data: bytes) -> Any:
    reader = BufferReader(data)
    header = run(MQTTFixedHeader.from_stream(reader))
    return run(packet_class(header).from_stream(reader, fixed_header=header))


def ours_from_amqtt(theirs: Any) -> Packet:
    """amqtt's packet in our words."""
    match theirs:
        case ConnectPacket():
            will = None
            if theirs.will_flag:
                will = Will(
                    topic=theirs.will_topic,
                    payload=bytes(theirs.will_message),
                    qos=theirs.will_qos,
                    retain=theirs.will_retain_flag,
                )
            return Connect(
                client_id=theirs.client_id,
                clean_start=theirs.clean_session_flag,
                keep_alive_s=theirs.variable_header.keep_alive,
                username=theirs.username if theirs.username_flag else None,
                password=theirs.password.encode() if theirs.password_flag else None,
                will=will,
                version=V4,
                is_bridge=bool(theirs.proto_level & 0x80),
            )
        case ConnackPacket():
            return Connack(session_present=bool(theirs.session_parent), reason_code=theirs.return_code)
        case PublishPacket():
            return Publish(
                topic=theirs.topic_name,
                payload=theirs.data,
                qos=theirs.qos,
                retain=theirs.retain_flag,
                dup=theirs.dup_flag,
                packet_id=theirs.packet_id,
            )
        case SubscribePacket():
            wanted = tuple(Subscription(topic_filter=f, qos=qos) for f, qos in theirs.payload.topics)
            return Subscribe(packet_id=theirs.variable_header.packet_id, subscriptions=wanted)
        case SubackPacket():
            codes = tuple(theirs.payload.return_codes)
            return Suback(packet_id=theirs.variable_header.packet_id, reason_codes=codes)
        case UnsubscribePacket():
            filters = tuple(theirs.payload.topics)
            return Unsubscribe(packet_id=theirs.variable_header.packet_id, topic_filters=filters)
        case PubackPacket():
            return Puback(packet_id=theirs.packet_id)
        case PubrecPacket():
            return Pubrec(packet_id=theirs.packet_id)
        case PubrelPacket():
            return Pubrel(packet_id=theirs.packet_id)
        case PubcompPacket():
            return Pubcomp(packet_id=theirs.packet_id)
        case UnsubackPacket():
            return Unsuback(packet_id=theirs.variable_header.packet_id)
        case PingReqPacket():
            return Pingreq()
        case PingRespPacket():
            return Pingresp()
        case _:
            assert isinstance(theirs, DisconnectPacket)
            return Disconnect()


def amqtt_from_ours(packet: Packet) -> Any:
    """Our packet built with amqtt's classes."""
    match packet:
        case Connect():
            header = ConnectVariableHeader(keep_alive=packet.keep_alive_s)
            header.proto_level = 0x84 if packet.is_bridge else 4
            header.clean_session_flag = packet.clean_start
            header.username_flag = packet.username is not None
            header.password_flag = packet.password is not None
            payload = ConnectPayload(client_id=packet.client_id, username=packet.username)
            payload.password = None if packet.password is None else packet.password.decode()
            if packet.will is not None:
                header.will_flag = True
                header.will_qos = packet.will.qos
                header.will_retain_flag = packet.will.retain
                payload.will_topic = packet.will.topic
                payload.will_message = packet.will.payload
            return ConnectPacket(variable_header=header, payload=payload)
        case Connack():
            return ConnackPacket.build(int(packet.session_present), packet.reason_code)
        case Publish():
            return PublishPacket.build(
                packet.topic, packet.payload, packet.packet_id, packet.dup, packet.qos, packet.retain
            )
        case Subscribe():
            return SubscribePacket.build(
                [(s.topic_filter, s.qos) for s in packet.subscriptions], packet.packet_id
            )
        case Suback():
            return SubackPacket.build(packet.packet_id, list(packet.reason_codes))
        case Unsubscribe():
            return UnsubscribePacket.build(list(packet.topic_filters), packet.packet_id)
        case Puback():
            return PubackPacket.build(packet.packet_id)
        case Pubrec():
            return PubrecPacket.build(packet.packet_id)
        case Pubrel():
            return PubrelPacket.build(packet.packet_id)
        case Pubcomp():
            return PubcompPacket.build(packet.packet_id)
        case Unsuback():
            return UnsubackPacket.build(packet.packet_id)
        case Pingreq():
            return PingReqPacket()
        case Pingresp():
            return PingRespPacket()
        case _:
            assert isinstance(packet, Disconnect)
            return DisconnectPacket()


def ours_decode(data: bytes) -> Packet:
    is_server = data[0] >> 4 in (2, 9, 11, 13)
    version = None if data[0] >> 4 == 1 else V4
    reader = PacketReader(
        version, packet_bytes_max=1_000_000, sender=Sender.SERVER if is_server else Sender.CLIENT
    )
    (packet,) = reader.receive_bytes(data)
    assert reader.error is None
    return packet


@given(packets(V4))
def test_both_ways(packet: Packet) -> None:
    data = encode(packet, V4)
    assert ours_from_amqtt(amqtt_decode(data)) == packet
    assert amqtt_from_ours(packet).to_bytes() == data
    assert ours_decode(bytes(amqtt_from_ours(packet).to_bytes())) == packet


@given(connects(V4))
def test_both_ways_connect(packet: Connect) -> None:
    packet = replace(packet, client_id=packet.client_id or "x", password=packet.password and b"secret")
    data = encode(packet, V4)
    assert ours_from_amqtt(amqtt_decode(data)) == packet
    assert bytes(amqtt_from_ours(packet).to_bytes()) == data


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("[MQTT-1.5.3-1] topic that is not UTF-8 (becomes its repr)", b.publish(b"\xff")),
        ("[MQTT-1.5.3-2] U+0000 in a topic", b.publish("a\0b")),
        ("[MQTT-2.2.2-2] wrong flags in PUBACK", b.packet(0x4F, b.u16(1))),
        ("[MQTT-2.2.2-2] wrong flags in SUBSCRIBE", b.packet(0x80, b.u16(1), b.text("a"), b"\0")),
        ("[MQTT-2.3.1-1] packet identifier 0", b.publish(qos=1, packet_id=0)),
        ("[MQTT-3.1.2-3] reserved connect flag", b.connect(flags=0x03)),
        ("[MQTT-3.1.2-11] will QoS without a will", b.connect(flags=0x0A)),
        ("[MQTT-3.1.2-14] will QoS 3", b.connect(will=b.will_fields("w", b""), will_flags=0x1C)),
        ("[MQTT-3.1.2-2] protocol level 9", b.connect(version=9)),
        ("[MQTT-3.1.2-22] password without user name", b.connect(password=b"p")),
        ("[MQTT-3.1.3-8] empty client id, session kept", b.connect("", clean=False)),
        ("[MQTT-3.2.2-1] reserved bits in CONNACK", b.connack(0xFE, 0)),
        ("[MQTT-3.3.1-2] DUP at QoS 0", b.publish(dup=True)),
        ("[MQTT-3.3.1-4] QoS 3", b.publish(qos=3, packet_id=1)),
        ("[MQTT-3.8.3-3] SUBSCRIBE without a filter", b.subscribe(1)),
        ("[MQTT-3-8.3-4] reserved bits in SUBSCRIBE", b.subscribe(1, ("a", 0xFC))),
        ("[MQTT-3.9.3-2] SUBACK with an unknown code", b.suback(1, 0x42)),
        ("[MQTT-3.10.3-2] UNSUBSCRIBE without a filter", b.unsubscribe(1)),
        ("[MQTT-4.7.1-2] wildcard # in the middle", b.subscribe(1, ("a/#/b", 0))),
        ("[MQTT-4.7.1-3] wildcard + within a level", b.subscribe(1, ("a+", 0))),
        ("[MQTT-4.7.3-1] empty topic", b.publish("")),
        ("§3.12 PINGREQ with a body", b.packet(b.PINGREQ, b"x")),
        ("§3.1 CONNECT with bytes left over", b.packet(b.CONNECT, b.connect()[2:], b"x")),
    ],
)
def test_where_amqtt_is_laxer(what: str, data: bytes) -> None:
    """amqtt takes it, we refuse it; the clause is in `what`."""
    assert amqtt_decode(data) is not None, what
    with pytest.raises(RemoteProtocolError):
        ours_decode(data)
