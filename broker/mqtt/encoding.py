"""Packets to bytes. What `decoding` would refuse is refused here first, as a mistake of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from broker.mqtt import rules
from broker.mqtt.constants import BRIDGE_BIT, REMAINING_LENGTH_MAX, PacketType, Version
from broker.mqtt.packets import (
    Acknowledgement,
    Auth,
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
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from broker.mqtt.properties import Properties, encode_properties
from broker.mqtt.property_table import WILL, Carrier
from broker.mqtt.reason_codes import SUBACK_FAILURE_3, ReasonCode, connect_return_code
from broker.mqtt.violations import local
from broker.mqtt.wire import put_binary, put_text, put_uint, put_varint

_V5: Final = Version.MQTT_5
_PROTOCOL_NAMES: Final = {
    Version.MQTT_3_1: b"\x00\x06MQIsdp",
    Version.MQTT_3_1_1: b"\x00\x04MQTT",
    Version.MQTT_5: b"\x00\x04MQTT",
}


def encode(packet: Packet, version: Version) -> bytes:
    """The bytes of one packet, fixed header included.

    Args:
        version: What the connection speaks. In 3.x a CONNACK's or SUBACK's reason code of MQTT 5 is put into the
            older words, and UNSUBACK's are left out; whatever else 3.x can't say is refused.
    Raises:
        LocalProtocolError: the specification does not allow this packet.
    """
    return _ENCODERS[type(packet)](packet, version)


def frame(first_byte: int, body: bytes) -> bytes:
    """Fixed header and body (MQTT 5.0 §2.1)."""
    length = len(body)
    if length < 0x80:
        return bytes((first_byte, length)) + body
    if length > REMAINING_LENGTH_MAX:
        raise local(f"{length} bytes are more than a packet can have.", ReasonCode.PACKET_TOO_LARGE)
    return bytes((first_byte,)) + put_varint(length, "remaining length") + body


def _properties(properties: Properties, version: Version, carrier: Carrier) -> bytes:
    if version is not _V5:
        return b""
    if not properties:
        return b"\0"
    data = encode_properties(properties, carrier)
    return put_varint(len(data), "property length") + data


def _connect(packet: Connect, version: Version) -> bytes:
    if packet.version is not version:
        raise local(
            f"A CONNECT of {packet.version.name} can't go as {version.name}.", ReasonCode.PROTOCOL_ERROR
        )
    rules.check_connect(packet, local)
    will = packet.will
    flags = packet.clean_start << 1 | (packet.username is not None) << 7 | (packet.password is not None) << 6
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
    parts = [
        _PROTOCOL_NAMES[version],
        bytes((version | packet.is_bridge * BRIDGE_BIT, flags)),
        put_uint(packet.keep_alive_s, 2, "keep alive"),
        _properties(packet.properties, version, PacketType.CONNECT),
        put_text(packet.client_id, "client id"),
    ]
    if will is not None:
        parts += (
            _properties(will.properties, version, WILL),
            put_text(will.topic, "will topic"),
            put_binary(will.payload, "will payload"),
        )
    if packet.username is not None:
        parts.append(put_text(packet.username, "user name"))
    if packet.password is not None:
        parts.append(put_binary(packet.password, "password"))
    return frame(0x10, b"".join(parts))


def _connack(packet: Connack, version: Version) -> bytes:
    if version is not _V5 and packet.reason_code >= 0x80:
        return_code = connect_return_code(packet.reason_code)
        if return_code is None:
            raise local(
                "3.x has no word for it and closes without a CONNACK.", ReasonCode(packet.reason_code)
            )
        packet = Connack(
            session_present=packet.session_present, reason_code=return_code, properties=packet.properties
        )
    rules.check_connack(packet, version, local)
    session_present = packet.session_present and version is not Version.MQTT_3_1
    head = bytes((session_present, packet.reason_code))
    return frame(0x20, head + _properties(packet.properties, version, PacketType.CONNACK))


def _publish(packet: Publish, version: Version) -> bytes:
    rules.check_publish(packet, version, local)
    qos = packet.qos
    head = put_text(packet.topic, "topic name")
    if qos and packet.packet_id is not None:
        head += packet.packet_id.to_bytes(2, "big")
    head += _properties(packet.properties, version, PacketType.PUBLISH)
    return frame(0x30 | packet.dup << 3 | qos << 1 | packet.retain, head + packet.payload)


def _acknowledgement(packet_type: PacketType, flags: int = 0) -> Callable[[Acknowledgement, Version], bytes]:
    first_byte = packet_type << 4 | flags

    def encode_acknowledgement(packet: Acknowledgement, version: Version) -> bytes:
        rules.check_acknowledgement(packet_type, packet, version, local)
        body = packet.packet_id.to_bytes(2, "big")
        if packet.properties:
            properties = _properties(packet.properties, version, packet_type)
            return frame(first_byte, body + bytes((packet.reason_code,)) + properties)
        if packet.reason_code:
            body += bytes((packet.reason_code,))
        return frame(first_byte, body)

    return encode_acknowledgement


def _subscribe(packet: Subscribe, version: Version) -> bytes:
    rules.check_subscribe(packet, version, local)
    parts = [
        packet.packet_id.to_bytes(2, "big"),
        _properties(packet.properties, version, PacketType.SUBSCRIBE),
    ]
    for one in packet.subscriptions:
        options = one.qos | one.no_local << 2 | one.retain_as_published << 3 | one.retain_handling << 4
        parts += (put_text(one.topic_filter, "topic filter"), bytes((options,)))
    return frame(0x82, b"".join(parts))


def _suback(packet: Suback, version: Version) -> bytes:
    codes = packet.reason_codes
    if version is not _V5:
        codes = tuple(min(code, SUBACK_FAILURE_3) for code in codes)
        packet = Suback(packet_id=packet.packet_id, reason_codes=codes, properties=packet.properties)
    rules.check_suback(packet, version, local)
    properties = _properties(packet.properties, version, PacketType.SUBACK)
    return frame(0x90, packet.packet_id.to_bytes(2, "big") + properties + bytes(codes))


def _unsubscribe(packet: Unsubscribe, version: Version) -> bytes:
    rules.check_unsubscribe(packet, version, local)
    parts = [
        packet.packet_id.to_bytes(2, "big"),
        _properties(packet.properties, version, PacketType.UNSUBSCRIBE),
    ]
    parts += [put_text(topic_filter, "topic filter") for topic_filter in packet.topic_filters]
    return frame(0xA2, b"".join(parts))


def _unsuback(packet: Unsuback, version: Version) -> bytes:
    rules.check_unsuback(packet, version, local)
    properties = _properties(packet.properties, version, PacketType.UNSUBACK)
    codes = bytes(packet.reason_codes) if version is _V5 else b""
    return frame(0xB0, packet.packet_id.to_bytes(2, "big") + properties + codes)


def _pingreq(packet: Pingreq, version: Version) -> bytes:
    return b"\xc0\x00"


def _pingresp(packet: Pingresp, version: Version) -> bytes:
    return b"\xd0\x00"


def _disconnect(packet: Disconnect, version: Version) -> bytes:
    rules.check_disconnect(packet, version, local)
    return frame(0xE0, _reason(packet, version, PacketType.DISCONNECT))


def _auth(packet: Auth, version: Version) -> bytes:
    rules.check_auth(packet, version, local)
    return frame(0xF0, _reason(packet, version, PacketType.AUTH))


def _reason(packet: Disconnect | Auth, version: Version, packet_type: PacketType) -> bytes:
    """Reason code and properties, left out where both say nothing (§3.14.2.1, §3.15.2.1)."""
    if not packet.reason_code and not packet.properties:
        return b""
    return bytes((packet.reason_code,)) + _properties(packet.properties, version, packet_type)


_ENCODERS: Final[dict[type[Packet], Callable[[Any, Version], bytes]]] = {
    Connect: _connect,
    Connack: _connack,
    Publish: _publish,
    Puback: _acknowledgement(PacketType.PUBACK),
    Pubrec: _acknowledgement(PacketType.PUBREC),
    Pubrel: _acknowledgement(PacketType.PUBREL, flags=2),
    Pubcomp: _acknowledgement(PacketType.PUBCOMP),
    Subscribe: _subscribe,
    Suback: _suback,
    Unsubscribe: _unsubscribe,
    Unsuback: _unsuback,
    Pingreq: _pingreq,
    Pingresp: _pingresp,
    Disconnect: _disconnect,
    Auth: _auth,
}
