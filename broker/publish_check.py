"""What a PUBLISH from a client must be: a valid topic it may publish to, and properties that belong there.

Called by the publish parser, once per topic and for packets that carry properties.
"""

from __future__ import annotations

from typing import Final

from appliance.core.errors import RemoteProtocolError
from appliance.management.access import AccessPolicy, Principal
from appliance.management.request_topics import AWS, NATIVE

from .limit_counts import Limit
from .mqtt.constants import PacketType
from .mqtt.properties import decode_properties, encode_properties
from .mqtt.property_table import PropertyId
from .mqtt.reason_codes import ReasonCode
from .mqtt.topics import validate_topic_name

REQUESTS_PREFIXES: Final = (f"{NATIVE}/".encode(), f"{AWS}/".encode())
TOPIC_ALIAS_PROPERTY_BYTES: Final = 3
"""Identifier and two bytes."""


def admit_topic(
    topic: bytes, principal: Principal, policy: AccessPolicy, has_properties: bool, client_id: str = ""
) -> bool:
    """Whether a client may publish to a topic.

    Args:
        client_id: For a role's patterns with `%c`.
    Returns:
        False where it may not and MQTT 5 lets us say so in PUBACK.
    Raises:
        RemoteProtocolError: not a topic name; or not permitted and the client speaks 3.1.1, which has no negative
            PUBACK: the connection is closed rather than a reading acknowledged and dropped (MQTT 3.1.1 §3.3.5).
    """
    name = validate_topic_name(topic)
    if policy.may_publish(principal, name, client_id):
        return True
    if has_properties:
        return False
    raise RemoteProtocolError(
        f"{principal.name!r} may not publish to {name!r}.",
        reason_code=ReasonCode.NOT_AUTHORIZED,
        hint="Publish below dm/<device id>/, add a [[mapping]] for the topic, or give the client a [[broker_role]] that opens it.",
    )


def is_request(topic: bytes, principal: Principal, policy: AccessPolicy) -> bool:
    """Whether what a client publishes to a topic is a request that it may make.

    Raises:
        RemoteProtocolError: not a topic name.
    """
    return topic.startswith(REQUESTS_PREFIXES) and policy.may_ask(principal, validate_topic_name(topic))


def keep_publish_properties(raw: bytes, topic_alias_max: int) -> tuple[bytes, int]:
    """Check a PUBLISH's property bytes; they are stored and sent on as they came, less the topic alias.

    Args:
        raw: Without the length in front.
        topic_alias_max: The topic alias maximum that CONNACK told; 0 allows none.
    Returns:
        What is stored and sent on, and the topic alias or 0.
    Raises:
        RemoteProtocolError: malformed, a topic alias of 0 or above the maximum (0x94), or a subscription identifier,
            which only a server sends (0x82).
    """
    if not raw:
        return raw, 0
    properties = decode_properties(raw, PacketType.PUBLISH)
    if PropertyId.SUBSCRIPTION_IDENTIFIER in properties:
        raise RemoteProtocolError("A client's PUBLISH has a subscription identifier.", reason_code=0x82)
    alias = properties.integer(PropertyId.TOPIC_ALIAS, 0)
    if not alias:
        return raw, 0
    if alias > topic_alias_max:
        raise RemoteProtocolError(
            f"A topic alias of {alias} is above the maximum of {topic_alias_max} that CONNACK told.",
            reason_code=ReasonCode.TOPIC_ALIAS_INVALID,
            hint="Keep to the topic alias maximum of CONNACK, or raise broker.topic_alias_max.",
            code=Limit.TOPIC_ALIAS_MAX,
        )
    if raw[0] == PropertyId.TOPIC_ALIAS:
        return raw[TOPIC_ALIAS_PROPERTY_BYTES:], alias
    return encode_properties(properties.without(PropertyId.TOPIC_ALIAS), PacketType.PUBLISH), alias
