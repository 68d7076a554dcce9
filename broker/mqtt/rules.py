"""What a packet may hold, whoever made it: the same rules for what arrives and for what is about to leave.

`check_*` take a packet and `fail`, which makes the error (`violations.remote` or `violations.local`). The shape of
the bytes (lengths, flags, reserved bits) is the decoder's business, not this module's.
"""

from __future__ import annotations

from typing import Final

from appliance.core.limits import (
    CLIENT_ID_BYTES_MAX,
    PASSWORD_BYTES_MAX,
    SUBSCRIPTION_COUNT_MAX,
    USER_NAME_BYTES_MAX,
)
from broker.mqtt.constants import PACKET_ID_MAX, PacketType, Sender, Version
from broker.mqtt.packets import (
    Acknowledgement,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from broker.mqtt.reason_codes import (
    ALLOWED,
    ONE_SIDED,
    SUBACK_FAILURE_3,
    ConnectReturnCode,
    ReasonCode,
    describe,
)
from broker.mqtt.topics import is_shared_filter, validate_topic_filter, validate_topic_name
from broker.mqtt.violations import Fail

_R = ReasonCode
_V5: Final = Version.MQTT_5
_BOTH: Final = frozenset(
    {
        PacketType.PUBLISH,
        PacketType.PUBACK,
        PacketType.PUBREC,
        PacketType.PUBREL,
        PacketType.PUBCOMP,
        PacketType.DISCONNECT,
        PacketType.AUTH,
    }
)
SENT_BY: Final[dict[Sender, frozenset[PacketType]]] = {
    Sender.CLIENT: _BOTH
    | {PacketType.CONNECT, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE, PacketType.PINGREQ},
    Sender.SERVER: _BOTH | {PacketType.CONNACK, PacketType.SUBACK, PacketType.UNSUBACK, PacketType.PINGRESP},
}
"""Which packets each side sends (MQTT 5.0 §2.1.2, Table 2-1)."""
CHECKED_MORE: Final[dict[Sender, frozenset[PacketType]]] = {
    Sender.CLIENT: frozenset(
        {PacketType.PUBLISH, PacketType.PUBACK, PacketType.PUBREC, PacketType.DISCONNECT, PacketType.AUTH}
    ),
    Sender.SERVER: frozenset({PacketType.DISCONNECT, PacketType.AUTH}),
}
"""Those of them in which not everything may be sent by that side."""


def check_packet_id(packet_id: int | None, fail: Fail) -> None:
    """1..65535 (MQTT 5.0 §2.2.1 [MQTT-2.2.1-2] … [MQTT-2.2.1-4])."""
    if packet_id is None or not 1 <= packet_id <= PACKET_ID_MAX:
        raise fail(f"{packet_id} is not a packet identifier.", _R.PROTOCOL_ERROR)


def check_reason_code(packet_type: PacketType, reason_code: int, fail: Fail) -> None:
    """One of those in this packet's table (MQTT 5.0 §2.4)."""
    if reason_code not in ALLOWED[packet_type]:
        raise fail(
            f"Reason code {describe(reason_code)} is not one of {packet_type.name}.", _R.PROTOCOL_ERROR
        )


def check_no_properties(properties: Properties, fail: Fail) -> None:
    """3.x has none."""
    if properties:
        raise fail("MQTT 3.1 and 3.1.1 have no properties.", _R.MALFORMED_PACKET)


def check_connect(packet: Connect, fail: Fail) -> None:
    """Source: MQTT 5.0 §3.1.2, §3.1.3; MQTT 3.1.1 §3.1.2.9 [MQTT-3.1.2-22], §3.1.3.1 [MQTT-3.1.3-8]; 3.1 §3.1."""
    version, client_id = packet.version, packet.client_id
    if version is not _V5:
        check_no_properties(packet.properties, fail)
        if not client_id and (version is Version.MQTT_3_1 or not packet.clean_start):
            raise fail("An empty client id needs a clean session.", _R.CLIENT_IDENTIFIER_NOT_VALID)
        if packet.password is not None and packet.username is None:
            raise fail("A password without a user name.", _R.MALFORMED_PACKET)
    elif packet.is_bridge:
        raise fail("MQTT 5 has no bridge bit.", _R.UNSUPPORTED_PROTOCOL_VERSION)
    if _byte_count(client_id) > CLIENT_ID_BYTES_MAX:
        raise fail(
            f"The client id is longer than {CLIENT_ID_BYTES_MAX} bytes.",
            _R.CLIENT_IDENTIFIER_NOT_VALID,
            limit="client_id_bytes_max",
        )
    if packet.username is not None and _byte_count(packet.username) > USER_NAME_BYTES_MAX:
        raise fail(
            f"The user name is longer than {USER_NAME_BYTES_MAX} bytes.",
            _R.BAD_USER_NAME_OR_PASSWORD,
            limit="user_name_bytes_max",
        )
    if packet.password is not None and len(packet.password) > PASSWORD_BYTES_MAX:
        raise fail(
            f"The password is longer than {PASSWORD_BYTES_MAX} bytes.",
            _R.BAD_USER_NAME_OR_PASSWORD,
            limit="password_bytes_max",
        )
    if packet.will is not None:
        check_will(packet.will, version, fail)


def check_will(will: Will, version: Version, fail: Fail) -> None:
    """Source: MQTT 5.0 §3.1.2.6 [MQTT-3.1.2-12], §3.1.3.3 [MQTT-3.1.3-11]."""
    if not 0 <= will.qos <= 2:
        raise fail(f"{will.qos} is not a QoS.", _R.MALFORMED_PACKET)
    validate_topic_name(will.topic, fail)
    if version is not _V5:
        check_no_properties(will.properties, fail)


def check_connack(packet: Connack, version: Version, fail: Fail) -> None:
    """Source: MQTT 5.0 §3.2.2 [MQTT-3.2.2-6], [MQTT-3.2.2-8]; MQTT 3.1.1 §3.2.2 [MQTT-3.2.2-4]."""
    if version is _V5:
        check_reason_code(PacketType.CONNACK, packet.reason_code, fail)
    else:
        check_no_properties(packet.properties, fail)
        if packet.reason_code not in ConnectReturnCode.__members__.values():
            raise fail(f"{packet.reason_code} is not a return code of CONNACK.", _R.PROTOCOL_ERROR)
    if packet.session_present and packet.reason_code:
        raise fail("Session present in a CONNACK that refuses.", _R.PROTOCOL_ERROR)


def check_publish(packet: Publish, version: Version, fail: Fail) -> None:
    """Source: MQTT 5.0 §3.3.1 [MQTT-3.3.1-2], [MQTT-3.3.1-4], §3.3.2.1, §3.3.2.3.4; MQTT 3.1.1 §4.7.3."""
    qos = packet.qos
    if qos:
        if not 0 <= qos <= 2:
            raise fail(f"{qos} is not a QoS.", _R.MALFORMED_PACKET)
        check_packet_id(packet.packet_id, fail)
    elif packet.dup:
        raise fail("DUP is set at QoS 0.", _R.MALFORMED_PACKET)
    elif packet.packet_id is not None:
        raise fail("A packet identifier at QoS 0.", _R.PROTOCOL_ERROR)
    if version is not _V5:
        check_no_properties(packet.properties, fail)
    elif not packet.topic:
        if PropertyId.TOPIC_ALIAS not in packet.properties:
            raise fail("An empty topic name without a topic alias.", _R.PROTOCOL_ERROR)
        return
    validate_topic_name(packet.topic, fail)


def check_acknowledgement(
    packet_type: PacketType, packet: Acknowledgement, version: Version, fail: Fail
) -> None:
    """PUBACK, PUBREC, PUBREL, PUBCOMP. Source: MQTT 5.0 §3.4.2.1, §3.5.2.1, §3.6.2.1, §3.7.2.1."""
    check_packet_id(packet.packet_id, fail)
    if version is _V5:
        check_reason_code(packet_type, packet.reason_code, fail)
        return
    check_no_properties(packet.properties, fail)
    if packet.reason_code:
        raise fail(f"{packet_type.name} has no reason code before MQTT 5.", _R.PROTOCOL_ERROR)


def check_subscribe(packet: Subscribe, version: Version, fail: Fail) -> None:
    """Source: MQTT 5.0 §3.8.3 [MQTT-3.8.3-2] … [MQTT-3.8.3-5]; MQTT 3.1.1 §3.8.3 [MQTT-3.8.3-3], [MQTT-3-8.3-4]."""
    check_packet_id(packet.packet_id, fail)
    _check_count(len(packet.subscriptions), "subscription", fail)
    if version is not _V5:
        check_no_properties(packet.properties, fail)
    for subscription in packet.subscriptions:
        check_subscription(subscription, version, fail)


def check_subscription(subscription: Subscription, version: Version, fail: Fail) -> None:
    """Source: MQTT 5.0 §3.8.3.1; a No Local shared subscription is [MQTT-3.8.3-4]."""
    is_5 = version is _V5
    validate_topic_filter(subscription.topic_filter, fail, shared=is_5)
    if not 0 <= subscription.qos <= 2:
        raise fail(f"{subscription.qos} is not a QoS.", _R.PROTOCOL_ERROR if is_5 else _R.MALFORMED_PACKET)
    if not is_5:
        if subscription.no_local or subscription.retain_as_published or subscription.retain_handling:
            raise fail("MQTT 3.1 and 3.1.1 have no subscription options but QoS.", _R.MALFORMED_PACKET)
        return
    if not 0 <= subscription.retain_handling <= 2:
        raise fail(f"{subscription.retain_handling} is not a retain handling.", _R.PROTOCOL_ERROR)
    if subscription.no_local and is_shared_filter(subscription.topic_filter):
        raise fail("No Local on a shared subscription.", _R.PROTOCOL_ERROR)


def check_suback(packet: Suback, version: Version, fail: Fail) -> None:
    """Source: MQTT 5.0 §3.9.3; MQTT 3.1.1 §3.9.3 [MQTT-3.9.3-2]."""
    check_packet_id(packet.packet_id, fail)
    _check_count(len(packet.reason_codes), "reason code", fail)
    is_5 = version is _V5
    if not is_5:
        check_no_properties(packet.properties, fail)
    for code in packet.reason_codes:
        if is_5:
            check_reason_code(PacketType.SUBACK, code, fail)
        elif code not in (0, 1, 2, SUBACK_FAILURE_3):
            raise fail(f"0x{code:02X} is not a return code of SUBACK.", _R.PROTOCOL_ERROR)


def check_unsubscribe(packet: Unsubscribe, version: Version, fail: Fail) -> None:
    """Source: MQTT 5.0 §3.10.3 [MQTT-3.10.3-1], [MQTT-3.10.3-2]."""
    check_packet_id(packet.packet_id, fail)
    _check_count(len(packet.topic_filters), "topic filter", fail)
    is_5 = version is _V5
    if not is_5:
        check_no_properties(packet.properties, fail)
    for topic_filter in packet.topic_filters:
        validate_topic_filter(topic_filter, fail, shared=is_5)


def check_unsuback(packet: Unsuback, version: Version, fail: Fail) -> None:
    """Source: MQTT 5.0 §3.11.3; in 3.x there is no payload (MQTT 3.1.1 §3.11.3)."""
    check_packet_id(packet.packet_id, fail)
    if version is not _V5:
        check_no_properties(packet.properties, fail)
        return
    _check_count(len(packet.reason_codes), "reason code", fail)
    for code in packet.reason_codes:
        check_reason_code(PacketType.UNSUBACK, code, fail)


def check_disconnect(packet: Disconnect, version: Version, fail: Fail) -> None:
    """Source: MQTT 5.0 §3.14.2; MQTT 3.1.1 §3.14."""
    if version is _V5:
        check_reason_code(PacketType.DISCONNECT, packet.reason_code, fail)
        return
    check_no_properties(packet.properties, fail)
    if packet.reason_code:
        raise fail("DISCONNECT has no reason code before MQTT 5.", _R.PROTOCOL_ERROR)


def check_auth(packet: Auth, version: Version, fail: Fail) -> None:
    """Source: MQTT 5.0 §3.15.2; the method may be left out only with everything else (§3.15.2.1)."""
    if version is not _V5:
        raise fail("AUTH is a packet of MQTT 5.", _R.PROTOCOL_ERROR)
    check_reason_code(PacketType.AUTH, packet.reason_code, fail)
    is_empty = not packet.reason_code and not packet.properties
    if not is_empty and PropertyId.AUTHENTICATION_METHOD not in packet.properties:
        raise fail("AUTH without an authentication method.", _R.PROTOCOL_ERROR)


def check_sender(
    packet_type: PacketType, packet: Packet, version: Version, sender: Sender, fail: Fail
) -> None:
    """What only one side may send: packets, reason codes, properties.

    Source: MQTT 5.0 §2.1.2, §3.3.4 [MQTT-3.3.4-6], §3.14.2 [MQTT-3.14.2-2]; MQTT 3.1.1 §3.14.
    """
    if packet_type not in CHECKED_MORE[sender]:
        if packet_type in SENT_BY[sender]:
            return
        raise fail(f"A {sender.text} does not send {packet_type.name}.", _R.PROTOCOL_ERROR)
    is_from_client = sender is Sender.CLIENT
    if packet_type is PacketType.DISCONNECT and not is_from_client and version is not _V5:
        raise fail("A server does not send DISCONNECT before MQTT 5.", _R.PROTOCOL_ERROR)
    forbidden = ONE_SIDED.get((packet_type, sender))
    if forbidden is not None:
        code: int = getattr(packet, "reason_code")  # noqa: B009 - each type in ONE_SIDED has one
        if code in forbidden:
            raise fail(
                f"A {sender.text} does not send {packet_type.name} with {describe(code)}.", _R.PROTOCOL_ERROR
            )
    if isinstance(packet, Publish):
        if is_from_client and PropertyId.SUBSCRIPTION_IDENTIFIER in packet.properties:
            raise fail("A client does not send subscription identifiers in PUBLISH.", _R.PROTOCOL_ERROR)
    elif isinstance(packet, Disconnect):
        only = PropertyId.SERVER_REFERENCE if is_from_client else PropertyId.SESSION_EXPIRY_INTERVAL
        if only in packet.properties:
            raise fail(f"A {sender.text} does not send {only.name} in DISCONNECT.", _R.PROTOCOL_ERROR)


def _check_count(count: int, what: str, fail: Fail) -> None:
    if not count:
        raise fail(f"Not one {what}.", _R.PROTOCOL_ERROR)
    if count > SUBSCRIPTION_COUNT_MAX:
        raise fail(
            f"More than {SUBSCRIPTION_COUNT_MAX} of {what} in one packet.",
            _R.QUOTA_EXCEEDED,
            limit="subscription_count_max",
        )


def _byte_count(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
