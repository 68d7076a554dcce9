"""10-packets-more: subscriptions, texts, flags and acknowledgements beyond the plain cases, on a live broker."""

from __future__ import annotations

import pytest

from . import builder as b
from .raw_client import Address, RawClient
from .test_broker_01_connect import properties_of

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])
BOTH = pytest.mark.parametrize("version", [4, 5])


def publish_exactly_once(client: RawClient, topic: str, payload: bytes, packet_id: int) -> None:
    """PUBLISH of QoS 2 up to its PUBCOMP: a server may pass it on only then."""
    client.send(b.publish(topic, payload, qos=2, packet_id=packet_id, properties=client.no_properties))
    client.expect(b.ack(b.PUBREC, packet_id))
    client.send(b.ack(b.PUBREL, packet_id))
    client.expect(b.ack(b.PUBCOMP, packet_id))


@BOTH
@pytest.mark.parametrize("topic", ["10/\ufeff", "\ufeff10/bom", "10/\ufeffa", "10/e\u0301", "10/\u00e9"])
def test_10_text_is_kept_as_it_is(broker: Address, version: int, topic: str) -> None:
    """Neither stripped nor made alike: the composed and the decomposed letter are two topics.

    [MQTT5-1.5.4-3, 4.7.3-4] [MQTT3-1.5.3-3, 4.7.3-4]
    """
    with RawClient(broker, version) as client:
        client.connect("10-text")
        client.subscribe((topic, 0))
        for other in ("10/e\u0301", "10/\u00e9", "10/", "10/a", "10/bom", topic):
            client.send(b.publish(other, other.encode(), properties=client.no_properties))
        message = client.message()
        assert (message.topic, message.payload) == (topic, topic.encode())
        if topic in ("10/e\u0301", "10/\u00e9"):
            assert client.message().topic == topic
        client.ping()


@BOTH
def test_10_longest_topic(broker: Address, version: int) -> None:
    """65,535 bytes, which is all that its length can say. [MQTT5-4.7.3-3] [MQTT3-4.7.3-3]"""
    topic = "10/longest/" + "x" * (65_535 - 11)
    with RawClient(broker, version) as client:
        client.connect("10-longest")
        client.subscribe(("10/longest/+", 0), (topic, 0))
        client.send(b.publish(topic, b"x", properties=client.no_properties))
        assert client.message().topic == topic


def test_10_lengths_in_their_shortest_form(broker: Address, bystander: RawClient) -> None:
    """A longer form is malformed in MQTT 5, and we send none. [MQTT5-1.5.5-1]"""
    with RawClient(broker, 5) as client:
        connack = client.connect("10-shortest")
        # The properties' length follows two bytes, and reaches exactly to the end.
        assert connack.body[2] == len(connack.body) - 3
        for size in (1, 120, 16_000):
            client.subscribe(("10/size", 0))
            client.send(b.publish("10/size", bytes(size), properties=b""))
            assert len(client.message().payload) == size
        client.send(b.packet(b.PUBLISH, b.text("a"), b"\0", b"x", length_bytes=3))
        client.expect_disconnect(0x81)
    with RawClient(broker, 5) as client:
        client.connect("10-shortest")
        client.send(b.packet(b.PUBLISH, b.text("a"), b"\x80\0", b"x"))
        client.expect_disconnect(0x81)


@BOTH
@pytest.mark.parametrize("first", [0x60, 0x61, 0x63, 0x66, 0x6A])
def test_10_pubrel_flags(broker: Address, bystander: RawClient, version: int, first: int) -> None:
    """[MQTT5-2.1.3-1, 3.6.1-1] [MQTT3-2.2.2-1, -2, 3.6.1-1]"""
    with RawClient(broker, version) as client:
        client.connect("10-pubrel")
        client.send(b.packet(first, b.u16(1)))
        client.expect_disconnect(0x81)


@BOTH
@pytest.mark.parametrize("first", [0xE1, 0xE2, 0xE8])
def test_10_disconnect_flags(broker: Address, bystander: RawClient, version: int, first: int) -> None:
    """[MQTT5-2.1.3-1, 3.14.1-1] [MQTT3-2.2.2-1, 3.14.1-1]"""
    with RawClient(broker, 5) as watcher, RawClient(broker, version) as client:
        watcher.connect("10-watcher")
        watcher.subscribe(("10/disconnect", 0))
        will = b.will_fields("10/disconnect", b"gone", properties=client.no_properties)
        client.connect("10-disconnect", will=will, will_flags=4)
        client.send(b.packet(first))
        client.expect_disconnect(0x81)
        assert watcher.message().payload == b"gone", "it was no DISCONNECT that would have deleted the will"


@pytest.mark.parametrize(
    ("case", "data", "codes"),
    [
        ("flags", b.packet(0xF1, b.u8(0x18), b.props(b.ptext(0x15, "m"))), [0x81]),
        ("reason-code", b.packet(b.AUTH, b.u8(0x55), b.props(b.ptext(0x15, "m"))), [0x82, 0x81]),
        ("reason-code-of-servers", b.packet(b.AUTH, b.u8(0x00), b.props(b.ptext(0x15, "m"))), [0x82]),
        ("again", b.packet(b.AUTH, b.u8(0x19), b.props(b.ptext(0x15, "m"))), [0x82]),
        ("empty", b.packet(b.AUTH), [0x82]),
    ],
)
def test_10_auth_refused(
    broker: Address, bystander: RawClient, case: str, data: bytes, codes: list[int]
) -> None:
    """[MQTT5-3.15.1-1, 3.15.2-1, 4.12.0-7, 4.12.1-1]"""
    with RawClient(broker, 5) as client:
        client.connect("10-auth")
        client.send(data)
        client.expect_disconnect(*codes)


@VERSIONS
@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\x80", b"a\0b"])
def test_10_unsubscribe_filter(broker: Address, bystander: RawClient, version: int, bad: bytes) -> None:
    """[MQTT5-3.10.3-1] [MQTT3-3.10.3-1]"""
    with RawClient(broker, version) as client:
        client.connect("10-filter")
        client.send(b.unsubscribe(1, "good", bad, properties=client.no_properties))
        client.expect_disconnect(0x81)


@pytest.mark.parametrize(
    "bad", ["$share/g", "$share/g/", "$share//t", "$share/g+/t", "$share/#/t", "$share/"]
)
def test_10_shared_filter_malformed(broker: Address, bystander: RawClient, bad: str) -> None:
    """[MQTT5-4.8.2-1, -2]"""
    with RawClient(broker, 5) as client:
        client.connect("10-shared")
        client.send(b.subscribe(1, (bad, 0), properties=b""))
        client.expect_disconnect(0x8F, 0x81, 0x82)


def test_10_shared_with_no_local(broker: Address, bystander: RawClient) -> None:
    """[MQTT5-3.8.3-4]"""
    with RawClient(broker, 5) as client:
        client.connect("10-shared")
        client.send(b.subscribe(1, ("$share/g/10/s", 0x04), properties=b""))
        client.expect_disconnect(0x82, 0x9E)


@pytest.mark.parametrize("options", [0x30, 0x03, 0x40, 0x80])
def test_10_subscription_options(broker: Address, bystander: RawClient, options: int) -> None:
    """Retain handling 3, QoS 3, reserved bits. [MQTT5-3.8.3-5]"""
    with RawClient(broker, 5) as client:
        client.connect("10-options")
        client.send(b.subscribe(1, ("10/o", options), properties=b""))
        client.expect_disconnect(0x81, 0x82)


def test_10_retain_handling(broker: Address) -> None:
    """0 sends retained messages each time, 1 with a new subscription, 2 never. [MQTT5-3.3.1-9, -10, -11, 3.8.4-4]"""
    with RawClient(broker, 5) as publisher, RawClient(broker, 5) as client:
        publisher.connect("10-publisher")
        publisher.publish("10/handling", b"kept", retain=True)
        client.connect("10-handling")

        def sent(handling: int) -> bool:
            client.subscribe(("10/handling", handling << 4))
            client.send(b.PINGREQ_PACKET)
            # Retained messages may follow SUBACK after other packets: a live message comes behind them.
            client.expect(b.PINGRESP_PACKET) if handling == 2 else None
            publisher.publish("10/handling", b"live")
            packets: list[bytes] = []
            while not packets or packets[-1] != b"live":
                packet = client.receive()
                assert packet is not None
                if packet.kind == b.PUBLISH:
                    packets.append(packet.body[-4:])
            return packets == [b"kept", b"live"]

        def unsubscribe() -> None:
            client.send(b.unsubscribe(3, "10/handling", properties=b""))
            while (packet := client.receive()) is not None and packet.kind != b.UNSUBACK:
                assert packet.kind == b.PINGRESP

        assert not sent(2)
        assert not sent(1), "the subscription existed"
        assert sent(0)
        assert sent(0)
        unsubscribe()
        assert sent(1), "the subscription is new"
        assert not sent(2)
        publisher.publish("10/handling", b"", retain=True)


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("as_published", [False, True])
def test_10_retain_as_published(broker: Address, retain: bool, as_published: bool) -> None:
    """[MQTT5-3.3.1-12, -13]"""
    with RawClient(broker, 5) as publisher, RawClient(broker, 5) as client:
        publisher.connect("10-publisher")
        client.connect("10-as-published")
        client.subscribe(("10/as-published", 0x20 | (0x08 if as_published else 0)))
        publisher.publish("10/as-published", b"x", retain=retain)
        assert client.message().retain is (retain and as_published)
        publisher.publish("10/as-published", b"", retain=True)


@VERSIONS
def test_10_retained_without_payload_is_delivered(broker: Address, version: int) -> None:
    """It removes what was kept, and is a message for those who are subscribed.

    [MQTT5-3.3.1-6, -7] [MQTT3-3.3.1-10, -11]
    """
    topic = f"10/empty/{version}"
    with RawClient(broker, version) as publisher, RawClient(broker, version) as client:
        publisher.connect("10-publisher")
        publisher.publish(topic, b"kept", retain=True)
        client.connect("10-empty")
        client.subscribe((topic, 0))
        assert client.message().payload == b"kept"
        publisher.publish(topic, b"", retain=True)
        message = client.message()
        assert (message.payload, message.retain) == (b"", False)
        client.subscribe((topic, 0))
        client.ping()


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
def test_10_unsubscribe_completes_deliveries(broker: Address, version: int, qos: int) -> None:
    """What had begun to be sent goes on to its end; nothing new comes. [MQTT5-3.10.4-2, -3] [MQTT3-3.10.4-2, -3]"""
    topic = f"10/complete/{version}/{qos}"
    with RawClient(broker, version) as publisher, RawClient(broker, version) as client:
        publisher.connect("10-publisher")
        client.connect("10-complete")
        client.subscribe((topic, qos))
        publish_exactly_once(publisher, topic, b"begun", 1)
        packet_id = client.message().packet_id
        assert packet_id is not None
        client.send(b.unsubscribe(3, topic, properties=client.no_properties))
        client.expect_kind(b.UNSUBACK)
        publisher.publish(topic, b"new", 2)
        if qos == 2:
            client.send(b.ack(b.PUBREC, packet_id))
            client.expect(b.ack(b.PUBREL, packet_id))
            client.send(b.ack(b.PUBCOMP, packet_id))
        else:
            client.send(b.ack(b.PUBACK, packet_id))
        client.ping()


@VERSIONS
def test_10_pubrels_in_the_order_of_pubrecs(broker: Address, version: int) -> None:
    """[MQTT5-4.3.3-4] [MQTT3-4.6.0-4]"""
    with RawClient(broker, version) as publisher, RawClient(broker, version) as client:
        publisher.connect("10-publisher")
        client.connect("10-pubrels")
        client.subscribe((f"10/pubrels/{version}", 2))
        for packet_id in range(1, 6):
            publish_exactly_once(publisher, f"10/pubrels/{version}", b"x", packet_id)
        ids = [client.message().packet_id or 0 for _ in range(5)]
        order = [ids[3], ids[0], ids[4], ids[1], ids[2]]
        client.send(*(b.ack(b.PUBREC, packet_id) for packet_id in order))
        for packet_id in order:
            client.expect(b.ack(b.PUBREL, packet_id))


def test_10_qos2_counts_until_pubcomp(broker: Address) -> None:
    """With room for one, the next message comes neither at PUBREC nor before PUBCOMP. [MQTT5-4.3.3-3, -5, 4.9.0-2, -3]"""
    with RawClient(broker, 5) as publisher, RawClient(broker, 5) as client:
        publisher.connect("10-publisher")
        client.connect("10-window", properties=b.p16(0x21, 1))
        client.subscribe(("10/window", 2))
        for packet_id in (1, 2):
            publish_exactly_once(publisher, "10/window", b"%d" % packet_id, packet_id)
        first = client.message()
        assert (first.payload, first.dup) == (b"1", False)
        client.ping()
        client.send(b.ack(b.PUBREC, first.packet_id or 0))
        client.expect(b.ack(b.PUBREL, first.packet_id or 0))
        client.ping()
        client.send(b.ack(b.PUBCOMP, first.packet_id or 0))
        assert client.message().payload == b"2"


@pytest.mark.parametrize("qos", [1, 2])
def test_10_refused_by_the_subscriber(broker: Address, qos: int) -> None:
    """A reason code of 0x80 or more acknowledges: the next takes its place, and it is not sent again. [MQTT5-4.4.0-2]"""
    with RawClient(broker, 5) as publisher, RawClient(broker, 5) as client:
        publisher.connect("10-publisher")
        client.connect("10-refuses", properties=b.p16(0x21, 1))
        client.subscribe(("10/refuses", qos))
        for packet_id in (1, 2):
            publish_exactly_once(publisher, "10/refuses", b"%d" % packet_id, packet_id)
        for payload in (b"1", b"2"):
            message = client.message()
            assert (message.payload, message.dup) == (payload, False)
            answer = b.PUBACK if qos == 1 else b.PUBREC
            client.send(b.ack(answer, message.packet_id or 0, 0x97, b.ptext(0x1F, "no room")))
        client.ping()


def test_10_identifier_is_free_after_a_refusal(broker: Address) -> None:
    """[MQTT5-4.3.3-9]"""
    with RawClient(broker, 5) as client:
        client.connect("10-device", username="press-4")
        client.send(b.publish("dm/press-5/x", b"no", qos=2, packet_id=3, properties=b""))
        assert client.expect_kind(b.PUBREC).body[:3] == b"\0\3\x87"
        client.send(b.publish("dm/press-4/x", b"yes", qos=2, dup=True, packet_id=3, properties=b""))
        client.expect(b.ack(b.PUBREC, 3))
        client.send(b.ack(b.PUBREL, 3))
        client.expect(b.ack(b.PUBCOMP, 3))


def test_10_last_words(broker: Address) -> None:
    """A server's DISCONNECT has no session expiry, whatever was asked for. [MQTT5-3.14.2-1, -2, 3.14.4-1, -2]"""
    with RawClient(broker, 5) as older, RawClient(broker, 5) as newer:
        older.connect("10-last-words", properties=b.p32(0x11, 3600))
        newer.connect("10-last-words", properties=b.p32(0x11, 3600))
        packet = older.expect_kind(b.DISCONNECT)
        assert packet.body[0] == 0x8E
        if len(packet.body) > 1:
            # As in CONNACK: the properties begin behind two bytes.
            assert 0x11 not in properties_of(b"\0" + packet.body)
        older.expect_closed()
        newer.send(b.disconnect(0, b.p32(0x11, 0)))
        newer.expect_closed()
