"""09-connect-more: what a CONNECT may hold and what it begins, on a live broker (MQTT 5.0 §3.1; MQTT 3.1.1 §3.1)."""

from __future__ import annotations

import pytest

from . import builder as b
from .raw_client import Address, RawClient, connect_packet
from .test_broker_01_connect import properties_of

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])
BOTH = pytest.mark.parametrize("version", [4, 5])
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
HEAD = b.text("MQTT") + b"\x04"
"""Protocol name and level of 3.1.1; flags, keep alive and the payload follow."""


@VERSIONS
def test_09_connect_everything(broker: Address, version: int) -> None:
    """All fields at once, in their order; each is what it was meant to be.

    [MQTT5-3.1.2-9, -17, -19, 3.1.3-1, -3] [MQTT3-3.1.2-9, -19, -21, 3.1.3-1, -3]
    """
    topic = f"09/everything/{version}"
    with RawClient(broker, version) as watcher, RawClient(broker, version) as client:
        watcher.connect("09-watcher")
        watcher.subscribe((topic, 0))
        will = b.will_fields(topic, b"gone", properties=b"" if version == 5 else None)
        client.connect("09-everything", will=will, will_flags=0x04, username="site", password=b"token")
        client.socket.close()
        assert watcher.message().payload == b"gone"


@BOTH
@pytest.mark.parametrize("client_id", ["0", LETTERS[:23], LETTERS[23:46], LETTERS[39:]])
def test_09_connect_client_ids(broker: Address, version: int, client_id: str) -> None:
    """[MQTT5-3.1.3-5] [MQTT3-3.1.3-5]"""
    with RawClient(broker, version) as client:
        connack = client.connect(client_id)
        assert version == 4 or 0x12 not in properties_of(connack.body)
        client.ping()


def test_09_connect_empty_client_id(broker: Address) -> None:
    """Two without a client id are two: neither takes the other's place. [MQTT3-3.1.3-6]"""
    with RawClient(broker, 4) as one, RawClient(broker, 4) as two:
        one.connect("")
        two.connect("")
        one.ping()
        two.ping()


def test_09_connect_empty_client_id_to_be_kept(broker: Address) -> None:
    """[MQTT3-3.1.3-7, -8, 3.2.2-4, -5]"""
    with RawClient(broker, 4) as client:
        client.send(connect_packet("", 4, clean=False))
        client.expect(b.connack(0, 2))
        client.expect_closed()


@BOTH
def test_09_connect_client_id_too_long(broker: Address, version: int) -> None:
    """[MQTT5-3.1.3-8, 3.2.2-7] [MQTT3-3.1.3-9, 3.2.2-5]"""
    with RawClient(broker, version) as client:
        client.send(connect_packet("x" * 300, version))
        assert client.expect_kind(b.CONNACK).body[:2] == (b"\0\x85" if version == 5 else b"\0\2")
        client.expect_closed()


@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("reserved-flag", b.connect(flags=0x03)),
        ("reserved-bits-of-the-first-byte", b.packet(0x11, HEAD, b"\x02\0\0", b.text("c"))),
        ("will-qos-without-will", b.connect(flags=0x0A)),
        ("will-retain-without-will", b.connect(flags=0x22)),
        ("will-qos-3", b.connect(will=b.will_fields("w", b""), will_flags=0x1C)),
        ("will-without-its-flag", b.connect(will=b.will_fields("w", b""))),
        ("will-flag-without-will", b.connect(flags=0x06)),
        ("will-topic-not-utf8", b.connect(will=b.will_fields(b"\xff", b""), will_flags=4)),
        ("will-topic-wildcard", b.connect(will=b.will_fields("#", b""), will_flags=4)),
        ("user-name-without-its-flag", b.connect(flags=2, username="site")),
        ("user-name-flag-without-user-name", b.connect(flags=0x82)),
        ("user-name-not-utf8", b.connect(username=b"\xff")),
        ("password-without-its-flag", b.connect(flags=0x82, username="site", password=b"token")),
        ("password-flag-without-password", b.connect(flags=0xC2, username="site")),
        ("password-without-user-name", b.connect(flags=0x42, password=b"token")),
        ("client-id-missing", b.packet(b.CONNECT, HEAD, b"\x02\0\0")),
        ("client-id-not-first", b.packet(b.CONNECT, HEAD, b"\x82\0\0", b.text(b"\xff"), b.text("c"))),
        ("client-id-not-utf8", b.connect(b"\xc0\x80")),
        ("client-id-with-nul", b.connect(b"a\0b")),
        ("keep-alive-missing", b.packet(b.CONNECT, HEAD, b"\x02\0")),
    ],
)
def test_09_connect_malformed_3_1_1(broker: Address, bystander: RawClient, case: str, data: bytes) -> None:
    """Closed without a CONNACK.

    [MQTT3-1.5.3-1, -2, 2.2.2-1, -2, 3.1.2-3, -11, -13, -14, -15, -18, -19, -20, -21, -22, 3.1.3-3, -4, -10, -11,
    3.1.4-1, 3.2.2-6, 4.8.0-1]
    """
    with RawClient(broker, 4) as client:
        client.send(data)
        client.expect_closed()


@BOTH
def test_09_connect_refused_is_the_end(broker: Address, version: int) -> None:
    """What came behind a CONNECT that was refused is not looked at. [MQTT5-3.1.4-6] [MQTT3-3.1.4-5]"""
    with RawClient(broker, 5) as watcher, RawClient(broker, version) as client:
        watcher.connect("09-watcher")
        watcher.subscribe(("09/behind", 0))
        client.send(
            connect_packet("09-refused", version, password=b"wrong"),
            b.publish("09/behind", b"never", properties=client.no_properties),
            b.subscribe(1, ("09/behind", 0), properties=client.no_properties),
        )
        assert client.expect_kind(b.CONNACK).body[1] != 0
        client.expect_closed()
        watcher.send(b.publish("09/behind", b"mark", properties=b""))
        assert watcher.message().payload == b"mark"


@VERSIONS
@pytest.mark.parametrize("how", ["disconnect", "lost", "takeover"])
def test_09_connect_clean_begins_anew(broker: Address, version: int, how: str) -> None:
    """Nothing is left of the session before: no subscription, no session present.

    [MQTT5-3.1.2-4, 3.1.4-4, 3.2.2-2, 4.1.0-2] [MQTT3-3.1.2-6, 3.1.4-3, 3.2.2-1]
    """
    client_id, topic = f"09-anew-{version}-{how}", f"09/anew/{version}/{how}"
    with RawClient(broker, version) as before, RawClient(broker, version) as after:
        before.connect(client_id)
        before.subscribe((topic, 1))
        if how == "disconnect":
            before.send(b.disconnect())
            before.expect_closed()
        elif how == "lost":
            before.socket.close()
        after.connect(client_id)
        after.publish(topic, b"nobody is there")
        after.ping()


def test_09_connect_without_a_session_to_resume(broker: Address) -> None:
    """[MQTT5-3.1.2-6, 3.2.2-3]"""
    with RawClient(broker, 5) as client:
        assert client.connect("09-first-time", clean=False).body[0] == 0
        client.publish("09/first", b"x")


@VERSIONS
def test_09_connect_session_lasts_as_long_as_the_connection(broker: Address, version: int) -> None:
    """Another's attempt to connect under the same client id changes nothing of it.

    [MQTT5-3.1.3-2, 4.1.0-1] [MQTT3-3.1.3-2, 4.1.0-1, -2]
    """
    topic = f"09/lasts/{version}"
    with RawClient(broker, version) as client, RawClient(broker, version) as other:
        client.connect(f"09-lasts-{version}")
        client.subscribe((topic, 1))
        other.send(connect_packet(f"09-lasts-{version}", version, password=b"wrong"))
        assert other.expect_kind(b.CONNACK).body[1] != 0
        with RawClient(broker, version) as publisher:
            publisher.connect("09-publisher")
            publisher.publish(topic, b"still")
        assert client.message().payload == b"still"


@VERSIONS
def test_09_connect_without_a_will(broker: Address, version: int) -> None:
    """[MQTT5-3.1.2-8] [MQTT3-3.1.2-12]"""
    with RawClient(broker, 5) as watcher:
        watcher.connect("09-watcher")
        watcher.subscribe(("#", 0x20))
        with RawClient(broker, version) as client:
            client.connect("09-no-will")
            client.ping()
        with RawClient(broker, version) as client:
            client.connect("09-no-will")
        watcher.send(b.publish("09/mark", b"mark", properties=b""))
        assert watcher.message().topic == "09/mark"


@VERSIONS
def test_09_connect_will_that_is_not_kept(broker: Address, version: int) -> None:
    """[MQTT5-3.1.2-14] [MQTT3-3.1.2-16]"""
    topic = f"09/not-kept/{version}"
    with RawClient(broker, version) as early, RawClient(broker, version) as late:
        early.connect("09-early")
        early.subscribe((topic, 0))
        client = RawClient(broker, version)
        will = b.will_fields(topic, b"gone", properties=client.no_properties)
        client.connect("09-will", will=will, will_flags=0x04)
        client.socket.close()
        assert early.message().payload == b"gone"
        late.connect("09-late")
        late.subscribe((topic, 0))
        late.ping()


def test_09_connect_retained_outlives_the_session(broker: Address) -> None:
    """[MQTT3-3.1.2-7]"""
    with RawClient(broker, 4) as client:
        client.connect("09-gone")
        client.publish("09/outlives", b"kept", retain=True)
        client.send(b.disconnect())
        client.expect_closed()
    with RawClient(broker, 4) as late:
        late.connect("09-late")
        late.subscribe(("09/outlives", 0))
        assert late.message().payload == b"kept"
        late.send(b.publish("09/outlives", b"", retain=True))
        assert late.message().payload == b""


@pytest.mark.parametrize("properties", [b"", b.p8(0x19, 0), b.p8(0x19, 1)], ids=["unasked", "no", "yes"])
def test_09_connect_response_information(broker: Address, properties: bytes) -> None:
    """A client that asks may be told (a MAY); here topics follow from the device, and nobody is. [MQTT5-3.1.2-28]"""
    with RawClient(broker, 5) as client:
        assert 0x1A not in properties_of(client.connect("09-response", properties=properties).body)


def test_09_connect_without_authentication_method(broker: Address) -> None:
    """[MQTT5-4.12.0-6]"""
    with RawClient(broker, 5) as client:
        found = properties_of(client.connect("09-method").body)
        assert not {0x15, 0x16} & set(found)
        client.ping()


def test_09_connect_with_little_room(broker: Address) -> None:
    """A CONNACK is never larger than the client takes, accepted or refused; without room there is none.

    [MQTT5-3.1.2-24, 3.2.2-7, -19, -20]
    """
    with RawClient(broker, 5) as client:
        whole = len(client.connect("09-room").body) + 2
    for bytes_max in (whole, whole - 1, whole - 3, 5, 4, 1):
        with RawClient(broker, 5) as client:
            client.send(connect_packet("09-room", 5, properties=b.p32(0x27, bytes_max)))
            connack = client.receive()
            assert connack is None or len(connack.body) + 2 <= bytes_max
            if bytes_max == whole:
                assert connack is not None
                assert connack.body[:2] == b"\0\0"
                client.ping()
            else:
                assert (connack is None) is (bytes_max < 5)
                assert connack is None or connack.body[:2] == b"\0\x95"
                client.expect_closed()
