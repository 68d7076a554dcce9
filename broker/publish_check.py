"""What a PUBLISH from a client must be: a valid topic it may publish to, and properties that belong there.

Called by the publish parser, once per topic and for packets that carry properties.
"""

from __future__ import annotations

from appliance.core.errors import RemoteProtocolError
from appliance.management.access import AccessPolicy, Principal

from .mqtt.constants import PacketType
from .mqtt.properties import decode_properties
from .mqtt.property_table import PropertyId
from .mqtt.reason_codes import ReasonCode
from .mqtt.topics import validate_topic_name


def admit_topic(topic: bytes, principal: Principal, policy: AccessPolicy, has_properties: bool) -> bool:
    """Whether a client may publish to a topic.

    Returns:
        False where it may not and MQTT 5 lets us say so in PUBACK.
    Raises:
        RemoteProtocolError: not a topic name; or not permitted and the client speaks 3.1.1, which has no negative
            PUBACK: the connection is closed rather than a reading acknowledged and dropped (MQTT 3.1.1 §3.3.5).
    """
    if not topic and has_properties:
        raise RemoteProtocolError(
            "An empty topic needs a topic alias, and CONNACK allowed none.",
            reason_code=ReasonCode.TOPIC_ALIAS_INVALID,
        )
    name = validate_topic_name(topic)
    if policy.may_publish(principal, name):
        return True
    if has_properties:
        return False
    raise RemoteProtocolError(
        f"{principal.name!r} may not publish to {name!r}.",
        reason_code=ReasonCode.NOT_AUTHORIZED,
        hint="Publish below dm/<device id>/, add a [[mapping]] for the topic, or use an application's credentials.",
    )


def keep_publish_properties(raw: bytes) -> bytes:
    """Check a PUBLISH's property bytes; they are stored and sent on as they came.

    Args:
        raw: Without the length in front.
    Raises:
        RemoteProtocolError: malformed, a topic alias although CONNACK allowed none (0x94), or a subscription
            identifier, which only a server sends (0x82).
    """
    if not raw:
        return raw
    properties = decode_properties(raw, PacketType.PUBLISH)
    if PropertyId.TOPIC_ALIAS in properties:
        raise RemoteProtocolError(
            "CONNACK allowed no topic alias.", reason_code=ReasonCode.TOPIC_ALIAS_INVALID
        )
    if PropertyId.SUBSCRIPTION_IDENTIFIER in properties:
        raise RemoteProtocolError("A client's PUBLISH has a subscription identifier.", reason_code=0x82)
    return raw
