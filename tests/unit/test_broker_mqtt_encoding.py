"""encode(): exact bytes, and everything it refuses to send."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.core.errors import LocalProtocolError
from broker.mqtt import encoding
from broker.mqtt.codec import encode
from broker.mqtt.packets import (
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
    Version,
    Will,
)
from broker.mqtt.properties import Properties, PropertyId

V3, V4, V5 = Version
REASON = Properties({PropertyId.REASON_STRING: "r"})
METHOD = Properties({PropertyId.AUTHENTICATION_METHOD: "m"})


@pytest.mark.parametrize(
    ("packet", "version", "data"),
    [
        (
            Connect(client_id="c", version=V3, is_bridge=True),
            V3,
            b"\x10\x0f\x00\x06MQIsdp\x83\x02\x00\x00\x00\x01c",
        ),
        (
            Connect(
                client_id="c",
                version=V4,
                clean_start=False,
                keep_alive_s=60,
                username="u",
                password=b"p",
                will=Will(topic="w", payload=b"m", qos=2, retain=True),
            ),
            V4,
            b"\x10\x19\x00\x04MQTT\x04\xf4\x00\x3c\x00\x01c\x00\x01w\x00\x01m\x00\x01u\x00\x01p",
        ),
        (
            Connect(
                client_id="",
                will=Will(topic="w", properties=Properties({PropertyId.WILL_DELAY_INTERVAL: 1})),
                properties=Properties({PropertyId.RECEIVE_MAXIMUM: 2}),
            ),
            V5,
            b"\x10\x1b\x00\x04MQTT\x05\x06\x00\x00\x03\x21\x00\x02\x00\x00\x05\x18\x00\x00\x00\x01\x00\x01w\x00\x00",
        ),
        (Connack(session_present=True), V4, b"\x20\x02\x01\x00"),
        (Connack(session_present=True), V3, b"\x20\x02\x00\x00"),
        (Connack(reason_code=0x87), V5, b"\x20\x03\x00\x87\x00"),
        (Connack(reason_code=0x87), V4, b"\x20\x02\x00\x05"),
        (Connack(reason_code=5), V4, b"\x20\x02\x00\x05"),
        (Publish(topic="a", payload=b"x"), V4, b"\x30\x04\x00\x01ax"),
        (
            Publish(topic="a", payload=b"x", qos=1, packet_id=5, dup=True),
            V5,
            b"\x3a\x07\x00\x01a\x00\x05\x00x",
        ),
        (Publish(topic="a", retain=True), V5, b"\x31\x04\x00\x01a\x00"),
        (
            Publish(topic="", properties=Properties({PropertyId.TOPIC_ALIAS: 1})),
            V5,
            b"\x30\x06\x00\x00\x03\x23\x00\x01",
        ),
        (Puback(packet_id=1), V4, b"\x40\x02\x00\x01"),
        (Puback(packet_id=1, reason_code=0x87), V5, b"\x40\x03\x00\x01\x87"),
        (Pubrec(packet_id=1, properties=REASON), V5, b"\x50\x08\x00\x01\x00\x04\x1f\x00\x01r"),
        (Pubrel(packet_id=1), V5, b"\x62\x02\x00\x01"),
        (Pubcomp(packet_id=1), V4, b"\x70\x02\x00\x01"),
        (
            Subscribe(
                packet_id=1,
                subscriptions=(
                    Subscription(
                        topic_filter="a", qos=1, no_local=True, retain_as_published=True, retain_handling=2
                    ),
                ),
            ),
            V5,
            b"\x82\x07\x00\x01\x00\x00\x01a\x2d",
        ),
        (
            Subscribe(packet_id=1, subscriptions=(Subscription(topic_filter="a"),)),
            V4,
            b"\x82\x06\x00\x01\x00\x01a\x00",
        ),
        (Suback(packet_id=1, reason_codes=(1, 0x9E)), V5, b"\x90\x05\x00\x01\x00\x01\x9e"),
        (Suback(packet_id=1, reason_codes=(1, 0x9E)), V4, b"\x90\x04\x00\x01\x01\x80"),
        (Unsubscribe(packet_id=1, topic_filters=("a",)), V4, b"\xa2\x05\x00\x01\x00\x01a"),
        (Unsuback(packet_id=1, reason_codes=(0x11,)), V5, b"\xb0\x04\x00\x01\x00\x11"),
        (Unsuback(packet_id=1, reason_codes=(0x11,)), V4, b"\xb0\x02\x00\x01"),
        (Pingreq(), V4, b"\xc0\x00"),
        (Pingresp(), V5, b"\xd0\x00"),
        (Disconnect(), V4, b"\xe0\x00"),
        (Disconnect(), V5, b"\xe0\x00"),
        (Disconnect(reason_code=0x8E), V5, b"\xe0\x02\x8e\x00"),
        (Disconnect(properties=REASON), V5, b"\xe0\x06\x00\x04\x1f\x00\x01r"),
        (Auth(), V5, b"\xf0\x00"),
        (Auth(reason_code=0x18, properties=METHOD), V5, b"\xf0\x06\x18\x04\x15\x00\x01m"),
    ],
)
def test_bytes(packet: Packet, version: Version, data: bytes) -> None:
    assert encode(packet, version) == data


SUBSCRIPTION = Subscription(topic_filter="a")
CONNECT_4 = Connect(client_id="c", version=V4)


@pytest.mark.parametrize(
    ("packet", "version", "words"),
    [
        (CONNECT_4, V5, "can't go as MQTT_5"),
        (replace(CONNECT_4, properties=REASON), V4, "no properties"),
        (replace(CONNECT_4, client_id="", clean_start=False), V4, "clean session"),
        (Connect(client_id="", version=V3), V3, "clean session"),
        (replace(CONNECT_4, password=b"p"), V4, "without a user name"),
        (Connect(client_id="c", is_bridge=True), V5, "bridge bit"),
        (Connect(client_id="x" * 257), V5, "client id is longer"),
        (Connect(client_id="\ud800"), V5, "surrogate"),
        (Connect(client_id="c", username="x" * 257), V5, "user name is longer"),
        (Connect(client_id="c", password=bytes(4097)), V5, "password is longer"),
        (Connect(client_id="c", keep_alive_s=65_536), V5, "keep alive"),
        (Connect(client_id="c", will=Will(topic="w", qos=3)), V5, "not a QoS"),
        (Connect(client_id="c", will=Will(topic="#")), V5, "no wildcards"),
        (Connect(client_id="c", will=Will(topic="w", payload=bytes(65_536))), V5, "will payload is longer"),
        (replace(CONNECT_4, will=Will(topic="w", properties=REASON)), V4, "no properties"),
        (Connack(reason_code=6), V4, "not a return code"),
        (Connack(reason_code=0x81), V4, "closes without a CONNACK"),
        (Connack(reason_code=0x8E), V5, "not one of CONNACK"),
        (Connack(reason_code=0x87, session_present=True), V5, "Session present"),
        (Connack(properties=REASON), V4, "no properties"),
        (Publish(topic="a", qos=3, packet_id=1), V5, "not a QoS"),
        (Publish(topic="a", qos=1), V5, "not a packet identifier"),
        (Publish(topic="a", qos=1, packet_id=65_536), V5, "not a packet identifier"),
        (Publish(topic="a", packet_id=1), V5, "at QoS 0"),
        (Publish(topic="a", dup=True), V5, "DUP"),
        (Publish(topic=""), V5, "without a topic alias"),
        (Publish(topic=""), V4, "at least one character"),
        (Publish(topic="a/+"), V4, "no wildcards"),
        (Publish(topic="a\0"), V4, "U\\+0000"),
        (Publish(topic="a", properties=REASON), V4, "no properties"),
        (Publish(topic="a", properties=REASON), V5, "does not belong"),
        (Puback(packet_id=0), V4, "not a packet identifier"),
        (Puback(packet_id=1, reason_code=0x87), V4, "before MQTT 5"),
        (Puback(packet_id=1, properties=REASON), V4, "no properties"),
        (Puback(packet_id=1, reason_code=0x92), V5, "not one of PUBACK"),
        (Subscribe(packet_id=0, subscriptions=(SUBSCRIPTION,)), V5, "not a packet identifier"),
        (Subscribe(packet_id=1, subscriptions=()), V5, "Not one"),
        (Subscribe(packet_id=1, subscriptions=(SUBSCRIPTION,) * 1025), V5, "More than 1024"),
        (Subscribe(packet_id=1, subscriptions=(SUBSCRIPTION,), properties=REASON), V4, "no properties"),
        (Subscribe(packet_id=1, subscriptions=(replace(SUBSCRIPTION, qos=3),)), V5, "not a QoS"),
        (
            Subscribe(packet_id=1, subscriptions=(replace(SUBSCRIPTION, no_local=True),)),
            V4,
            "no subscription options",
        ),
        (
            Subscribe(packet_id=1, subscriptions=(replace(SUBSCRIPTION, retain_handling=3),)),
            V5,
            "retain handling",
        ),
        (
            Subscribe(packet_id=1, subscriptions=(Subscription(topic_filter="$share/g/a", no_local=True),)),
            V5,
            "No Local",
        ),
        (Subscribe(packet_id=1, subscriptions=(Subscription(topic_filter="a#"),)), V5, "stands alone"),
        (Suback(packet_id=1, reason_codes=()), V5, "Not one"),
        (Suback(packet_id=1, reason_codes=(3,)), V5, "not one of SUBACK"),
        (Suback(packet_id=1, reason_codes=(3,)), V4, "return code of SUBACK"),
        (Suback(packet_id=1, reason_codes=(0,), properties=REASON), V4, "no properties"),
        (Unsubscribe(packet_id=1, topic_filters=()), V5, "Not one"),
        (Unsubscribe(packet_id=1, topic_filters=("a",), properties=REASON), V4, "no properties"),
        (Unsuback(packet_id=1), V5, "Not one"),
        (Unsuback(packet_id=1, reason_codes=(1,)), V5, "not one of UNSUBACK"),
        (Unsuback(packet_id=1, properties=REASON), V4, "no properties"),
        (Disconnect(reason_code=0x8E), V4, "before MQTT 5"),
        (Disconnect(properties=REASON), V4, "no properties"),
        (Disconnect(reason_code=1), V5, "not one of DISCONNECT"),
        (Auth(), V4, "packet of MQTT 5"),
        (Auth(reason_code=0x18), V5, "authentication method"),
        (Auth(reason_code=1, properties=METHOD), V5, "not one of AUTH"),
    ],
)
def test_refused(packet: Packet, version: Version, words: str) -> None:
    with pytest.raises(LocalProtocolError, match=words):
        encode(packet, version)


def test_remaining_length_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """268,435,455 bytes; shown with a smaller number, to spare the memory."""
    monkeypatch.setattr(encoding, "REMAINING_LENGTH_MAX", 200)
    assert encode(Publish(topic="a", payload=bytes(197)), V4)[:3] == b"\x30\xc8\x01"
    with pytest.raises(LocalProtocolError, match="more than a packet can have"):
        encode(Publish(topic="a", payload=bytes(198)), V4)
