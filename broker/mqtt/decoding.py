"""Bytes to packets: the shape of each packet, and then `rules` on what it holds.

Anything at all is answered with a packet or RemoteProtocolError. 3.1 says that the low bits of the first byte "are not
used" in packets other than PUBLISH, so there they are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.core.limits import SUBSCRIPTION_COUNT_MAX
from broker.mqtt import rules
from broker.mqtt.constants import BRIDGE_BIT, PacketType, Sender, Version
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
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from broker.mqtt.properties import Properties, decode_properties
from broker.mqtt.property_table import WILL, Carrier
from broker.mqtt.reason_codes import ReasonCode
from broker.mqtt.violations import remote
from broker.mqtt.wire import Cursor, decode_text

_MALFORMED: Final = ReasonCode.MALFORMED_PACKET
_V5: Final = Version.MQTT_5
_NAMES: Final = {b"MQTT": (Version.MQTT_3_1_1, Version.MQTT_5), b"MQIsdp": (Version.MQTT_3_1,)}
_FLAGS: Final = {PacketType.PUBREL: 2, PacketType.SUBSCRIBE: 2, PacketType.UNSUBSCRIBE: 2}
_TYPES: Final[tuple[PacketType | None, ...]] = (None, *PacketType)


def decode(
    first_byte: int,
    body: bytes | bytearray | memoryview,
    version: Version | None,
    sender: Sender | None = None,
) -> Packet:
    """One packet from its bytes.

    Args:
        first_byte: Packet type and flags.
        body: All that follows the remaining length.
        version: What the connection speaks; CONNECT brings its own. None before CONNECT.
        sender: Whose packet it is, where the caller wants what only the other side may send refused.
    Raises:
        RemoteProtocolError: for anything that is not exactly one packet which the specification allows.
    """
    if not isinstance(body, bytes):
        body = bytes(body)
    packet_type = _TYPES[first_byte >> 4 & 0x0F]
    if packet_type is None:
        raise remote("Packet type 0 is reserved.", _MALFORMED)
    flags = first_byte & 0x0F
    if packet_type is PacketType.CONNECT:
        if flags:
            raise remote("CONNECT has reserved flags set.", _MALFORMED)
        connect = _connect(body)
        packet: Packet = connect
        version = connect.version
    elif version is None:
        raise remote(f"{packet_type.name} came before CONNECT.", ReasonCode.PROTOCOL_ERROR)
    elif packet_type is PacketType.PUBLISH:
        packet = _publish(flags, body, version)
    else:
        if version is not Version.MQTT_3_1 and flags != _FLAGS.get(packet_type, 0):
            raise remote(f"{packet_type.name} has wrong flags in its first byte.", _MALFORMED)
        packet = _DECODERS[packet_type](body, version)
    if sender is not None:
        rules.check_sender(packet_type, packet, version, sender, remote)
    return packet


def connect_version(body: bytes) -> tuple[Version, bool]:
    """Version and bridge bit of a CONNECT.

    Args:
        body: Of the CONNECT; only its first bytes are looked at.
    Raises:
        RemoteProtocolError: unsupported protocol version for any other name or level.
    Source: MQTT 5.0 §3.1.2.1, §3.1.2.2 [MQTT-3.1.2-1], [MQTT-3.1.2-2].
    """
    cursor = Cursor(body)
    versions = _NAMES.get(cursor.binary("protocol name"), ())
    level = cursor.u8("protocol level")
    is_bridge = level & ~BRIDGE_BIT in (3, 4) and level >= BRIDGE_BIT
    for version in versions:
        if version == (level & ~BRIDGE_BIT if is_bridge else level):
            return version, is_bridge
    raise remote(
        f"Protocol level {level} under that name is not one that is spoken here.",
        ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
    )


def _properties(cursor: Cursor, version: Version, carrier: Carrier) -> Properties:
    if version is not _V5:
        return Properties.EMPTY
    length = cursor.varint("property length")
    return decode_properties(cursor.take(length, "properties"), carrier) if length else Properties.EMPTY


def _connect(body: bytes) -> Connect:
    version, is_bridge = connect_version(body)
    cursor = Cursor(body, 7 + 2 * (version is Version.MQTT_3_1))
    flags = cursor.u8("connect flags")
    has_username, has_password, has_will = flags & 0x80, flags & 0x40, flags & 0x04
    if flags & 0x01:
        raise remote("The reserved connect flag is set.", _MALFORMED)
    if not has_will and flags & 0x38:
        raise remote("Will QoS or will retain without a will.", _MALFORMED)
    keep_alive_s = cursor.u16("keep alive")
    properties = _properties(cursor, version, PacketType.CONNECT)
    client_id = cursor.text("client id")
    will = None
    if has_will:
        will_properties = _properties(cursor, version, WILL)
        will = Will(
            topic=cursor.text("will topic"),
            payload=cursor.binary("will payload"),
            qos=flags >> 3 & 3,
            retain=bool(flags & 0x20),
            properties=will_properties,
        )
    packet = Connect(
        client_id=client_id,
        clean_start=bool(flags & 0x02),
        keep_alive_s=keep_alive_s,
        username=cursor.text("user name") if has_username else None,
        password=cursor.binary("password") if has_password else None,
        will=will,
        version=version,
        is_bridge=is_bridge,
        properties=properties,
    )
    cursor.finish()
    rules.check_connect(packet, remote)
    return packet


def _connack(body: bytes, version: Version) -> Connack:
    cursor = Cursor(body)
    flags = cursor.u8("acknowledge flags")
    if version is Version.MQTT_3_1:
        flags = 0  # 3.1 has no session present: "reserved values, not used".
    elif flags & 0xFE:
        raise remote("CONNACK has reserved flags set.", _MALFORMED)
    packet = Connack(
        session_present=bool(flags),
        reason_code=cursor.u8("reason code"),
        properties=_properties(cursor, version, PacketType.CONNACK),
    )
    cursor.finish()
    rules.check_connack(packet, version, remote)
    return packet


def _publish(flags: int, body: bytes, version: Version) -> Publish:
    topic_end = 2 + int.from_bytes(body[:2], "big")
    if topic_end > len(body):
        raise remote("The packet ends inside its topic name.", _MALFORMED)
    topic = decode_text(body[2:topic_end], "topic name")
    qos = flags >> 1 & 3
    packet_id = None
    position = topic_end
    if qos:
        position += 2
        if position > len(body):
            raise remote("The packet ends before its packet identifier.", _MALFORMED)
        packet_id = int.from_bytes(body[topic_end:position], "big")
    properties = Properties.EMPTY
    if version is _V5:
        cursor = Cursor(body, position)
        properties = _properties(cursor, version, PacketType.PUBLISH)
        position = cursor.position
    packet = Publish(
        topic=topic,
        payload=body[position:],
        qos=qos,
        retain=bool(flags & 1),
        dup=bool(flags & 8),
        packet_id=packet_id,
        properties=properties,
    )
    rules.check_publish(packet, version, remote)
    return packet


_ACKNOWLEDGEMENTS: Final[dict[PacketType, type[Acknowledgement]]] = {
    PacketType.PUBACK: Puback,
    PacketType.PUBREC: Pubrec,
    PacketType.PUBREL: Pubrel,
    PacketType.PUBCOMP: Pubcomp,
}


def _acknowledgement(packet_type: PacketType) -> Callable[[bytes, Version], Packet]:
    make = _ACKNOWLEDGEMENTS[packet_type]

    def decode_acknowledgement(body: bytes, version: Version) -> Packet:
        if len(body) == 2:
            packet = make(packet_id=body[0] << 8 | body[1])
            rules.check_packet_id(packet.packet_id, remote)
            return packet
        cursor = Cursor(body)
        packet_id = cursor.u16("packet identifier")
        reason_code, properties = 0, Properties.EMPTY
        if version is _V5:
            reason_code = cursor.u8("reason code")
            if cursor.remaining:
                properties = _properties(cursor, version, packet_type)
        cursor.finish()
        packet = make(packet_id=packet_id, reason_code=reason_code, properties=properties)
        rules.check_acknowledgement(packet_type, packet, version, remote)
        return packet

    return decode_acknowledgement


def _subscribe(body: bytes, version: Version) -> Subscribe:
    cursor = Cursor(body)
    packet_id = cursor.u16("packet identifier")
    properties = _properties(cursor, version, PacketType.SUBSCRIBE)
    reserved = 0xC0 if version is _V5 else 0xFC
    subscriptions: list[Subscription] = []
    # One too many is read, so that the rule on their number sees it, and no more.
    while cursor.remaining and len(subscriptions) <= SUBSCRIPTION_COUNT_MAX:
        topic_filter = cursor.text("topic filter")
        options = cursor.u8("subscription options")
        if options & reserved:
            raise remote("Reserved subscription options are set.", _MALFORMED)
        subscriptions.append(
            Subscription(
                topic_filter=topic_filter,
                qos=options & 3,
                no_local=bool(options & 4),
                retain_as_published=bool(options & 8),
                retain_handling=options >> 4,
            )
        )
    packet = Subscribe(packet_id=packet_id, subscriptions=tuple(subscriptions), properties=properties)
    rules.check_subscribe(packet, version, remote)
    return packet


def _suback(body: bytes, version: Version) -> Suback:
    cursor = Cursor(body)
    packet_id = cursor.u16("packet identifier")
    properties = _properties(cursor, version, PacketType.SUBACK)
    codes = tuple(cursor.take(cursor.remaining, "reason codes"))
    packet = Suback(packet_id=packet_id, reason_codes=codes, properties=properties)
    rules.check_suback(packet, version, remote)
    return packet


def _unsubscribe(body: bytes, version: Version) -> Unsubscribe:
    cursor = Cursor(body)
    packet_id = cursor.u16("packet identifier")
    properties = _properties(cursor, version, PacketType.UNSUBSCRIBE)
    filters: list[str] = []
    while cursor.remaining and len(filters) <= SUBSCRIPTION_COUNT_MAX:
        filters.append(cursor.text("topic filter"))
    packet = Unsubscribe(packet_id=packet_id, topic_filters=tuple(filters), properties=properties)
    rules.check_unsubscribe(packet, version, remote)
    return packet


def _unsuback(body: bytes, version: Version) -> Unsuback:
    cursor = Cursor(body)
    packet_id = cursor.u16("packet identifier")
    properties = _properties(cursor, version, PacketType.UNSUBACK)
    codes: tuple[int, ...] = ()
    if version is _V5:
        codes = tuple(cursor.take(cursor.remaining, "reason codes"))
    cursor.finish()
    packet = Unsuback(packet_id=packet_id, reason_codes=codes, properties=properties)
    rules.check_unsuback(packet, version, remote)
    return packet


def _pingreq(body: bytes, version: Version) -> Pingreq:
    Cursor(body).finish()
    return Pingreq()


def _pingresp(body: bytes, version: Version) -> Pingresp:
    Cursor(body).finish()
    return Pingresp()


def _disconnect(body: bytes, version: Version) -> Disconnect:
    cursor = Cursor(body)
    reason_code, properties = 0, Properties.EMPTY
    if version is _V5 and body:
        reason_code = cursor.u8("reason code")
        if cursor.remaining:
            properties = _properties(cursor, version, PacketType.DISCONNECT)
    cursor.finish()
    packet = Disconnect(reason_code=reason_code, properties=properties)
    rules.check_disconnect(packet, version, remote)
    return packet


def _auth(body: bytes, version: Version) -> Auth:
    cursor = Cursor(body)
    reason_code, properties = 0, Properties.EMPTY
    if version is _V5 and body:
        reason_code = cursor.u8("reason code")
        properties = _properties(cursor, version, PacketType.AUTH)
        cursor.finish()
        if not reason_code and not properties:
            raise remote("AUTH without an authentication method.", ReasonCode.PROTOCOL_ERROR)
    packet = Auth(reason_code=reason_code, properties=properties)
    rules.check_auth(packet, version, remote)
    return packet


_DECODERS: Final[dict[PacketType, Callable[[bytes, Version], Packet]]] = {
    PacketType.CONNACK: _connack,
    **{packet_type: _acknowledgement(packet_type) for packet_type in _ACKNOWLEDGEMENTS},
    PacketType.SUBSCRIBE: _subscribe,
    PacketType.SUBACK: _suback,
    PacketType.UNSUBSCRIBE: _unsubscribe,
    PacketType.UNSUBACK: _unsuback,
    PacketType.PINGREQ: _pingreq,
    PacketType.PINGRESP: _pingresp,
    PacketType.DISCONNECT: _disconnect,
    PacketType.AUTH: _auth,
}
