"""SUBSCRIBE, UNSUBSCRIBE and their answers (MQTT 5.0 §3.8 to §3.11; MQTT 3.1.1 §3.8 to §3.11), from raw bytes."""

from __future__ import annotations

import pytest

from broker.mqtt.packets import Suback, Subscribe, Subscription, Unsuback, Unsubscribe
from broker.mqtt.properties import Properties, PropertyId

from . import builder as b
from .codec_driver import from_client, from_server, refuse_client, refuse_server

MALFORMED, PROTOCOL_ERROR, FILTER, QUOTA = 0x81, 0x82, 0x8F, 0x97
VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])


def no_properties(version: int) -> bytes | None:
    return b"" if version == 5 else None


@VERSIONS
def test_04_subscribe_plain(version: int) -> None:
    """§3.8; the same filter may stand twice."""
    data = b.subscribe(7, ("a/+", 0), ("#", 1), ("a/+", 2), properties=no_properties(version))
    assert from_client(data, version) == Subscribe(
        packet_id=7,
        subscriptions=(
            Subscription(topic_filter="a/+"),
            Subscription(topic_filter="#", qos=1),
            Subscription(topic_filter="a/+", qos=2),
        ),
    )


def test_04_subscribe_options() -> None:
    """§3.8.3.1, Figure 3-21."""
    data = b.subscribe(7, ("a", 0x01 | 0x04), ("b", 0x08), ("c", 0x20), properties=b.pvar(0x0B, 200))
    assert from_client(data, 5) == Subscribe(
        packet_id=7,
        subscriptions=(
            Subscription(topic_filter="a", qos=1, no_local=True),
            Subscription(topic_filter="b", retain_as_published=True),
            Subscription(topic_filter="c", retain_handling=2),
        ),
        properties=Properties({PropertyId.SUBSCRIPTION_IDENTIFIER: (200,)}),
    )


@pytest.mark.parametrize(
    ("version", "options", "code"),
    [
        (4, 0x03, MALFORMED),  # of 3.1.1
        (4, 0x04, MALFORMED),
        (4, 0x80, MALFORMED),
        (5, 0x03, PROTOCOL_ERROR),  # §3.8.3.1 "Maximum QoS … value 3"
        (5, 0x30, PROTOCOL_ERROR),  # §3.8.3.1 "Retain Handling value of 3"
        (5, 0x40, MALFORMED),  # reserved
        (5, 0x80, MALFORMED),
    ],
)
def test_04_subscribe_options_refused(version: int, options: int, code: int) -> None:
    assert refuse_client(b.subscribe(1, ("a", options), properties=no_properties(version)), version) == code


@VERSIONS
def test_04_subscribe_empty(version: int) -> None:
    """[MQTT5-3.8.3-2] [MQTT3-3.8.3-3]"""
    assert refuse_client(b.subscribe(1, properties=no_properties(version)), version) == PROTOCOL_ERROR


@VERSIONS
def test_04_subscribe_packet_id_0(version: int) -> None:
    """[MQTT5-2.2.1-3] [MQTT3-2.3.1-1]"""
    assert (
        refuse_client(b.subscribe(0, ("a", 0), properties=no_properties(version)), version) == PROTOCOL_ERROR
    )


@VERSIONS
def test_04_subscribe_options_missing(version: int) -> None:
    head = b.u16(1) + (b"\0" if version == 5 else b"")
    assert refuse_client(b.packet(b.SUBSCRIBE, head, b.text("a")), version) == MALFORMED


def test_04_subscribe_identifier() -> None:
    """§3.8.2.1.2: 1..268,435,455, and only one."""
    assert refuse_client(b.subscribe(1, ("a", 0), properties=b.pvar(0x0B, 0)), 5) == PROTOCOL_ERROR
    twice = b.pvar(0x0B, 1) + b.pvar(0x0B, 2)
    assert refuse_client(b.subscribe(1, ("a", 0), properties=twice), 5) == PROTOCOL_ERROR
    from_client(b.subscribe(1, ("a", 0), properties=b.pvar(0x0B, 268_435_455)), 5)
    too_long = b"\x0b\xff\xff\xff\xff\x01"
    assert refuse_client(b.subscribe(1, ("a", 0), properties=too_long), 5) == MALFORMED


BAD_FILTERS = pytest.mark.parametrize(
    "bad", ["", "a#", "#/a", "a/#/b", "a/b#", "##", "a+", "+a", "a/+b/c", "++", "a/b+", "/".join("x" * 33)]
)


@BAD_FILTERS
@VERSIONS
def test_04_filter_refused(version: int, bad: str) -> None:
    """[MQTT5-4.7.1-1, -2, 4.7.3-1] [MQTT3-4.7.1-2, -3, 4.7.3-1]"""
    properties = no_properties(version)
    assert refuse_client(b.subscribe(1, ("ok", 0), (bad, 0), properties=properties), version) == FILTER
    assert refuse_client(b.unsubscribe(1, "ok", bad, properties=properties), version) == FILTER


@VERSIONS
@pytest.mark.parametrize(
    "good",
    ["#", "+", "/", "+/+", "/+", "+/#", "a//#", "$SYS/#", "$share", "sport/+/player1", "/".join("+" * 32)],
)
def test_04_filter_accepted(version: int, good: str) -> None:
    """§4.7.1.2, §4.7.1.3."""
    properties = no_properties(version)
    from_client(b.subscribe(1, (good, 0), properties=properties), version)
    from_client(b.unsubscribe(1, good, properties=properties), version)


@pytest.mark.parametrize(
    "bad", ["$share/", "$share//a", "$share/g", "$share/g/", "$share/+/a", "$share/g#/a", "$share/g/a#"]
)
def test_04_shared_refused(bad: str) -> None:
    """[MQTT5-4.8.2-1, -2]"""
    assert refuse_client(b.subscribe(1, (bad, 0), properties=b""), 5) == FILTER
    assert refuse_client(b.unsubscribe(1, bad, properties=b""), 5) == FILTER


@pytest.mark.parametrize("good", ["$share/g/a", "$share/g//", "$share/a b/+/#", "$share/g/#", "$SHARE/+/x"])
def test_04_shared_accepted(good: str) -> None:
    """§4.8.2."""
    from_client(b.subscribe(1, (good, 0), properties=b""), 5)


def test_04_shared_is_a_filter_before_5() -> None:
    """Only MQTT 5 gives $share a meaning; before, these are filters like others."""
    for plain in ("$share//a", "$share/+/a", "$share/g"):
        from_client(b.subscribe(1, (plain, 0)), 4)


def test_04_shared_no_local() -> None:
    """[MQTT5-3.8.3-4]"""
    assert refuse_client(b.subscribe(1, ("$share/g/a", 0x04), properties=b""), 5) == PROTOCOL_ERROR


@VERSIONS
def test_04_filter_count(version: int) -> None:
    """limits.py: as many as a session may have; the rest isn't even read."""
    properties = no_properties(version)
    from_client(b.subscribe(1, *[("a", 0)] * 1024, properties=properties), version)
    assert refuse_client(b.subscribe(1, *[("a", 0)] * 1100, properties=properties), version) == QUOTA
    from_client(b.unsubscribe(1, *["a"] * 1024, properties=properties), version)
    assert refuse_client(b.unsubscribe(1, *["a"] * 1100, properties=properties), version) == QUOTA


@VERSIONS
def test_04_unsubscribe_plain(version: int) -> None:
    """§3.10."""
    data = b.unsubscribe(0xFFFF, "a/+", "#", properties=no_properties(version))
    assert from_client(data, version) == Unsubscribe(packet_id=0xFFFF, topic_filters=("a/+", "#"))


@VERSIONS
def test_04_unsubscribe_empty(version: int) -> None:
    """[MQTT5-3.10.3-2] [MQTT3-3.10.3-2]"""
    properties = no_properties(version)
    assert refuse_client(b.unsubscribe(1, properties=properties), version) == PROTOCOL_ERROR
    assert refuse_client(b.unsubscribe(0, "a", properties=properties), version) == PROTOCOL_ERROR


@VERSIONS
def test_04_suback_reason_codes(version: int) -> None:
    """Table 3-8; 3.1.1 §3.9.3. [MQTT5-3.9.3-2] [MQTT3-3.9.3-2]"""
    allowed = (
        {0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2} if version == 5 else {0, 1, 2, 0x80}
    )
    for code in range(256):
        data = b.suback(3, 0, code, properties=no_properties(version))
        if code in allowed:
            assert from_server(data, version) == Suback(packet_id=3, reason_codes=(0, code))
        else:
            assert refuse_server(data, version) == PROTOCOL_ERROR


@VERSIONS
def test_04_suback_empty(version: int) -> None:
    """One for each filter, of which there was at least one. [MQTT5-3.8.4-6]"""
    assert refuse_server(b.suback(3, properties=no_properties(version)), version) == PROTOCOL_ERROR
    assert refuse_server(b.suback(0, 0, properties=no_properties(version)), version) == PROTOCOL_ERROR


def test_04_unsuback_reason_codes() -> None:
    """Table 3-9."""
    for code in range(256):
        data = b.unsuback(3, code, properties=b.ptext(0x1F, "r"))
        if code in (0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91):
            assert from_server(data, 5) == Unsuback(
                packet_id=3, reason_codes=(code,), properties=Properties({PropertyId.REASON_STRING: "r"})
            )
        else:
            assert refuse_server(data, 5) == PROTOCOL_ERROR
    assert refuse_server(b.unsuback(3, properties=b""), 5) == PROTOCOL_ERROR


@pytest.mark.parametrize("version", [3, 4])
def test_04_unsuback_has_no_payload(version: int) -> None:
    """3.1.1 §3.11.3."""
    assert from_server(b.unsuback(3), version) == Unsuback(packet_id=3)
    assert refuse_server(b.unsuback(3, 0), version) == MALFORMED
