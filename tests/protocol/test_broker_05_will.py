"""05-will: the will message, on a live broker (MQTT 5.0 §3.1.2.5, §3.14; MQTT 3.1.1 §3.1.2.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from . import builder as b
from .raw_client import Address, RawClient

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])


@pytest.fixture
def watcher(broker: Address) -> Iterator[RawClient]:
    """Somebody who sees the wills."""
    with RawClient(broker, 5) as client:
        client.connect("05-watcher")
        client.subscribe(("05/#", 1))
        yield client


def connect_with_will(
    client: RawClient, topic: str, qos: int = 1, properties: bytes = b"", **options: Any
) -> None:
    will = b.will_fields(topic, b"gone", properties=properties if client.version == 5 else None)
    client.connect("05-client", will=will, will_flags=0x04 | qos << 3, **options)


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1])
def test_05_will_connection_lost(broker: Address, watcher: RawClient, version: int, qos: int) -> None:
    """The client goes without DISCONNECT. [MQTT5-3.1.2-7, -8, -12] [MQTT3-3.1.2-8, -14]"""
    client = RawClient(broker, version)
    connect_with_will(client, "05/lost", qos)
    client.socket.close()
    message = watcher.message()
    assert (message.topic, message.payload, message.qos, message.retain) == ("05/lost", b"gone", qos, False)


@VERSIONS
def test_05_will_retained(broker: Address, version: int) -> None:
    """A will with Will Retain is published as a retained message. [MQTT5-3.1.2-15] [MQTT3-3.1.2-17]"""
    topic = f"05-retained/{version}"
    client = RawClient(broker, version)
    will = b.will_fields(topic, b"gone", properties=b"" if version == 5 else None)
    client.connect("05-client", will=will, will_flags=0x24)
    with RawClient(broker, version) as early, RawClient(broker, version) as late:
        early.connect("05-early")
        early.subscribe((topic, 0))
        client.socket.close()
        message = early.message()
        assert (message.payload, message.retain) == (b"gone", False)
        late.connect("05-late")
        late.subscribe((topic, 0))
        message = late.message()
        assert (message.payload, message.retain) == (b"gone", True)


@VERSIONS
def test_05_will_disconnect(broker: Address, watcher: RawClient, version: int) -> None:
    """A normal disconnect deletes the will. [MQTT5-3.1.2-10, 3.14.4-3] [MQTT3-3.1.2-10, 3.14.4-3]"""
    with RawClient(broker, version) as client:
        connect_with_will(client, "05/normal")
        client.send(b.disconnect())
        client.expect_closed()
    watcher.send(b.publish("05/mark", properties=b""))
    assert watcher.message().topic == "05/mark"


def test_05_will_disconnect_with_will(broker: Address, watcher: RawClient) -> None:
    """§3.14.2.1: reason code 0x04."""
    with RawClient(broker, 5) as client:
        connect_with_will(client, "05/wanted")
        client.send(b.disconnect(0x04))
        client.expect_closed()
    assert watcher.message().topic == "05/wanted"


@VERSIONS
def test_05_will_protocol_error(broker: Address, watcher: RawClient, version: int) -> None:
    """The server closes because of a protocol error (§3.1.2.5). [MQTT5-3.1.2-8] [MQTT3-3.1.2-8]"""
    with RawClient(broker, version) as client:
        connect_with_will(client, "05/error")
        client.send(b.publish("#", properties=client.no_properties))
        client.expect_disconnect(0x90, 0x81, 0x82)
    assert watcher.message().topic == "05/error"


@VERSIONS
def test_05_will_takeover(broker: Address, watcher: RawClient, version: int) -> None:
    """The older connection's session ends, so its will is published.

    [MQTT5-3.1.2-8, 3.1.4-3] [MQTT3-3.1.2-8, 3.1.4-2]
    """
    with RawClient(broker, version) as older, RawClient(broker, version) as newer:
        connect_with_will(older, "05/older")
        newer.connect("05-client")
        assert watcher.message().topic == "05/older"


@pytest.mark.parametrize("version", [4, 5])
def test_05_will_keep_alive(broker: Address, watcher: RawClient, version: int) -> None:
    """Keep alive ran out (§3.1.2.5). [MQTT5-3.1.2-8, -22] [MQTT3-3.1.2-8, -24]"""
    with RawClient(broker, version) as client:
        connect_with_will(client, "05/silent", keep_alive=1)
        assert watcher.message().topic == "05/silent"


def test_05_will_properties(broker: Address, watcher: RawClient) -> None:
    """The will's properties are the message's, in their order (§3.1.3.2). [MQTT5-3.1.3-10]"""
    properties = b.ptext(0x03, "text/plain") + b.puser("k", "v")
    client = RawClient(broker, 5)
    connect_with_will(client, "05/properties", properties=properties)
    client.socket.close()
    assert watcher.message().properties == properties


def test_05_will_delay_ends_with_the_session(broker: Address, watcher: RawClient) -> None:
    """§3.1.3.2.2: the delay or the end of the session, whichever is first; sessions end with the connection here."""
    client = RawClient(broker, 5)
    connect_with_will(client, "05/delayed", properties=b.p32(0x18, 3600))
    client.socket.close()
    message = watcher.message()
    assert (message.topic, message.properties) == ("05/delayed", b"")


@pytest.mark.parametrize("version", [4, 5])
def test_05_will_not_authorized(broker: Address, version: int) -> None:
    """A will is a publish, and needs the same right (§3.1.2.5). [MQTT5-3.1.4-2, 3.2.2-6, -7]"""
    with RawClient(broker, version) as client:
        will = b.will_fields("dm/press-5/x", b"", properties=client.no_properties)
        packet = b.connect(
            "05-device", version=version, will=will, will_flags=4, username="press-4", password=b"t"
        )
        client.send(packet)
        assert client.expect_kind(b.CONNACK).body[:2] == (b"\0\x87" if version == 5 else b"\0\x05")
        client.expect_closed()
