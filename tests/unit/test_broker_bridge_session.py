"""broker/bridge/session.py"""

from __future__ import annotations

import pytest

from appliance.core.errors import LocalProtocolError
from appliance.core.limits import BRIDGE_CONNECT_TIMEOUT_MS, BRIDGE_PONG_TIMEOUT_MS, BRIDGE_SESSION_EXPIRY_S
from broker.bridge.events import (
    Close,
    Delivered,
    Event,
    Lost,
    Message,
    Open,
    Opened,
    Owed,
    Send,
    SessionSettings,
    Subscribed,
)
from broker.bridge.incoming_ids import IncomingIds
from broker.bridge.session import ClientSession, State
from broker.bridge.window import OutgoingWindow
from broker.mqtt.codec import decode, encode
from broker.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Sender,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Version,
)
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from broker.mqtt.reader import PacketReader
from broker.mqtt.reason_codes import ReasonCode

V3, V5 = Version.MQTT_3_1_1, Version.MQTT_5
BOTH = pytest.mark.parametrize("version", [V3, V5])
FILTERS = (Subscription(topic_filter="in/#", qos=1), Subscription(topic_filter="more", qos=2))


class Rig:
    """A session, its memory, and the remote's side in packets."""

    def __init__(self, version: Version = V5, **settings: object) -> None:
        self.version = version
        self.outgoing = OutgoingWindow(10, entry_count_max=8)
        self.incoming = IncomingIds()
        self.settings = SessionSettings(client_id="b", version=version, **settings)  # type: ignore[arg-type]
        self.now_ms = 1000
        self.session = self.fresh()

    def fresh(self) -> ClientSession:
        self.session = ClientSession(self.settings, self.outgoing, self.incoming)
        return self.session

    def state(self) -> State:
        return self.session.state

    def open(self, *, session_present: bool = False, **connack: object) -> list[Event]:
        self.session.send(Open(), self.now_ms)
        return self.give(Connack(session_present=session_present, **connack))  # type: ignore[arg-type]

    def give(self, *packets: Packet) -> list[Event]:
        data = b"".join(encode(packet, self.version) for packet in packets)
        return self.session.receive_bytes(data, self.now_ms)

    def read(self, data: bytes) -> list[Packet]:
        return PacketReader(self.version, packet_bytes_max=1_000_000, sender=Sender.CLIENT).receive_bytes(
            data
        )

    def owed(self, events: list[Event]) -> list[Packet]:
        data = b"".join(
            event.data if isinstance(event, Owed) else event.answer
            for event in events
            if isinstance(event, Owed | Message)
        )
        return self.read(data)


@BOTH
def test_connect_asks_for_a_session_that_stays(version: Version) -> None:
    rig = Rig(version, username="u", password=b"p", keep_alive_s=30, is_private=True)
    data = rig.session.send(Open(), 0)
    packet = decode(data[0], data[2:], None)
    assert isinstance(packet, Connect)
    assert (packet.clean_start, packet.username, packet.password, packet.keep_alive_s) == (
        False,
        "u",
        b"p",
        30,
    )
    assert packet.is_bridge == (version is V3), "MQTT 5 has no bridge bit"
    if version is V5:
        assert packet.properties[PropertyId.SESSION_EXPIRY_INTERVAL] == BRIDGE_SESSION_EXPIRY_S
        assert packet.properties[PropertyId.RECEIVE_MAXIMUM] == 100


@BOTH
def test_open_subscribed_open(version: Version) -> None:
    rig = Rig(version, subscriptions=FILTERS)
    events = rig.open()
    assert events[0] == Opened(session_present=False, qos_max=2, takes_retained=True, packet_bytes_max=None)
    (asked,) = rig.owed(events)
    assert isinstance(asked, Subscribe)
    assert [s.topic_filter for s in asked.subscriptions] == ["in/#", "more"]
    assert rig.state() is State.SUBSCRIBING
    refusal = 0x87 if version is V5 else 0x80
    assert rig.give(Suback(packet_id=asked.packet_id, reason_codes=(1, refusal))) == [
        Subscribed(refused=(("more", refusal),))
    ]
    assert rig.state() is State.OPEN


@BOTH
def test_a_session_that_has_its_subscriptions_is_asked_for_nothing(version: Version) -> None:
    rig = Rig(version, subscriptions=FILTERS, known=(("more", 2), ("in/#", 1)))
    assert rig.open(session_present=True)[1:] == [Subscribed()]
    rig.fresh()
    assert any(isinstance(packet, Subscribe) for packet in rig.owed(rig.open())), "a new one is"


def test_topics_that_are_configured_no_more_are_unsubscribed() -> None:
    rig = Rig(subscriptions=FILTERS, known=(("in/#", 1), ("old/#", 1)))
    events = rig.open(session_present=True)
    away, more = rig.owed(events)
    assert isinstance(away, Unsubscribe)
    assert away.topic_filters == ("old/#",)
    assert isinstance(more, Subscribe)
    assert rig.give(
        Unsuback(packet_id=away.packet_id, reason_codes=(0,)),
        Suback(packet_id=more.packet_id, reason_codes=(1, 2)),
    ) == [Subscribed()]


def test_what_the_remote_says_in_connack_holds() -> None:
    rig = Rig(keep_alive_s=60)
    properties = Properties(
        {
            PropertyId.RECEIVE_MAXIMUM: 1,
            PropertyId.MAXIMUM_QOS: 1,
            PropertyId.RETAIN_AVAILABLE: 0,
            PropertyId.MAXIMUM_PACKET_SIZE: 500,
            PropertyId.SERVER_KEEP_ALIVE: 20,
        }
    )
    assert rig.open(properties=properties)[0] == Opened(
        session_present=False, qos_max=1, takes_retained=False, packet_bytes_max=500
    )
    assert rig.outgoing.room == 1
    assert rig.session.next_deadline_ms() == 1000 + 15_000


def test_a_remote_that_wants_no_keep_alive_is_watched_all_the_same() -> None:
    rig = Rig(keep_alive_s=40)
    rig.open(properties=Properties({PropertyId.SERVER_KEEP_ALIVE: 0}))
    assert rig.session.next_deadline_ms() == 1000 + 30_000


@pytest.mark.parametrize(
    ("version", "code", "expected"),
    [
        (V3, 1, ReasonCode.UNSUPPORTED_PROTOCOL_VERSION),
        (V3, 5, ReasonCode.NOT_AUTHORIZED),
        (V5, 0x86, ReasonCode.BAD_USER_NAME_OR_PASSWORD),
    ],
)
def test_a_refused_connect(version: Version, code: int, expected: int) -> None:
    rig = Rig(version)
    (lost,) = rig.open(reason_code=code)
    assert isinstance(lost, Lost)
    assert lost.reason_code == expected
    assert rig.session.state is State.CLOSED
    assert rig.session.receive_bytes(b"\x00\x00", 0) == [], "nothing behind the end"


@BOTH
def test_messages_in(version: Version) -> None:
    rig = Rig(version)
    rig.open()
    events = rig.give(
        Publish(topic="a", payload=b"0"),
        Publish(topic="a", payload=b"1", qos=1, packet_id=7),
        Publish(topic="a", payload=b"2", qos=2, packet_id=8, retain=True),
    )
    assert [event.publish.payload for event in events if isinstance(event, Message)] == [b"0", b"1", b"2"]
    assert rig.owed(events) == [Puback(packet_id=7), Pubrec(packet_id=8)]
    rig.incoming.begin([8], 1)
    rig.incoming.took([8])
    again = rig.give(Publish(topic="a", payload=b"2", qos=2, packet_id=8, dup=True))
    assert again == [Owed(data=encode(Pubrec(packet_id=8), version))], "it is taken once"
    assert rig.owed(rig.give(Pubrel(packet_id=8))) == [Pubcomp(packet_id=8)]
    assert 8 not in rig.incoming
    assert rig.owed(rig.give(Pubrel(packet_id=8))) == [Pubcomp(packet_id=8)], "released before"


@BOTH
def test_messages_out(version: Version) -> None:
    rig = Rig(version)
    rig.open()
    for seq, qos in ((10, 1), (11, 2)):
        placed = rig.outgoing.place(seq, qos)
        assert placed is not None
        publish = Publish(topic="t", qos=qos, packet_id=placed.packet_id)
        assert rig.read(rig.session.send(Send(publish=publish), 0)) == [publish]
    assert rig.give(Puback(packet_id=3)) == [Delivered(seq=10)]
    assert rig.owed(rig.give(Pubrec(packet_id=4))) == [Pubrel(packet_id=4)]
    assert rig.give(Pubcomp(packet_id=4)) == [Delivered(seq=11)]
    assert rig.give(Puback(packet_id=3), Pubcomp(packet_id=4)) == [], "answered twice"
    (unknown,) = rig.owed(rig.give(Pubrec(packet_id=99)))
    assert isinstance(unknown, Pubrel)
    assert unknown.reason_code == (ReasonCode.PACKET_IDENTIFIER_NOT_FOUND if version is V5 else 0)


def test_a_connection_later_releases_what_was_received() -> None:
    rig = Rig()
    rig.open()
    rig.outgoing.place(10, 2)
    rig.give(Pubrec(packet_id=3))
    rig.fresh()
    assert rig.owed(rig.open(session_present=True)) == [Pubrel(packet_id=3)]
    rig.fresh()
    assert rig.owed(rig.open()) == [], "a remote that has forgotten is sent the message instead"


def test_a_remote_that_has_forgotten_has_no_identifiers() -> None:
    rig = Rig()
    rig.incoming.begin([5], 1)
    rig.incoming.took([5])
    rig.open(session_present=True)
    assert 5 in rig.incoming
    rig.fresh()
    rig.open()
    assert 5 not in rig.incoming


@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_is_not_wanted_is_done_and_told(qos: int) -> None:
    rig = Rig()
    rig.open()
    rig.outgoing.place(10, qos)
    answer = Puback if qos == 1 else Pubrec
    events = rig.give(answer(packet_id=3, reason_code=ReasonCode.NOT_AUTHORIZED))
    assert events == [Delivered(seq=10, reason_code=ReasonCode.NOT_AUTHORIZED)]
    rig.outgoing.pass_to(11)
    assert rig.outgoing.position == 11


def test_a_message_that_is_not_wanted_now_is_sent_again_later() -> None:
    rig = Rig()
    rig.open()
    rig.outgoing.place(10, 1)
    (lost,) = rig.give(Puback(packet_id=3, reason_code=ReasonCode.QUOTA_EXCEEDED))
    assert isinstance(lost, Lost)
    assert lost.reason_code == ReasonCode.QUOTA_EXCEEDED
    assert rig.outgoing.position == 10


@pytest.mark.parametrize(
    "packet",
    [
        Suback(packet_id=1, reason_codes=(0,)),
        Unsuback(packet_id=9, reason_codes=(0,)),
        Connack(),
        Publish(topic="a", properties=Properties({PropertyId.TOPIC_ALIAS: 1})),
    ],
    ids=["SUBACK", "UNSUBACK", "CONNACK", "topic alias"],
)
def test_what_may_not_come_ends_the_connection(packet: Packet) -> None:
    rig = Rig()
    rig.open()
    (lost,) = rig.give(packet)
    assert isinstance(lost, Lost)
    assert lost.reason_code is not None
    assert rig.session.state is State.CLOSED


def test_a_suback_of_the_wrong_length_ends_the_connection() -> None:
    rig = Rig(subscriptions=FILTERS)
    rig.open()
    (lost,) = rig.give(Suback(packet_id=1, reason_codes=(0,)))
    assert isinstance(lost, Lost)


def test_what_stands_before_nonsense_counts() -> None:
    rig = Rig()
    rig.open()
    good = encode(Publish(topic="a", payload=b"x"), V5)
    events = rig.session.receive_bytes(good + b"\x00\x00" + good, 0)
    assert [type(event) for event in events] == [Message, Lost]


def test_a_packet_that_is_too_large_is_not_waited_for() -> None:
    rig = Rig(packet_bytes_max=100)
    rig.open()
    (lost,) = rig.session.receive_bytes(b"\x30\xff\xff\xff\x7f", 0)
    assert isinstance(lost, Lost)
    assert lost.reason_code == ReasonCode.PACKET_TOO_LARGE


def test_disconnect_says_why() -> None:
    rig = Rig()
    rig.open()
    reason = Properties({PropertyId.REASON_STRING: "maintenance\x1b[2J" + "x" * 1000})
    (lost,) = rig.give(Disconnect(reason_code=ReasonCode.SERVER_SHUTTING_DOWN, properties=reason))
    assert lost == Lost(
        text="The other broker closed the connection. maintenance?[2J" + "x" * 185,
        reason_code=ReasonCode.SERVER_SHUTTING_DOWN,
    )


def test_keep_alive() -> None:
    rig = Rig(keep_alive_s=40)
    rig.open()
    due_ms = 1000 + 30_000
    assert rig.session.next_deadline_ms() == due_ms
    assert rig.session.on_deadline(due_ms - 1) == []
    (ping,) = rig.session.on_deadline(due_ms)
    assert ping == Owed(data=b"\xc0\x00")
    assert rig.session.next_deadline_ms() == due_ms + BRIDGE_PONG_TIMEOUT_MS
    rig.now_ms = due_ms + 5
    rig.give(Pingresp())
    assert rig.session.next_deadline_ms() == due_ms + 30_000
    rig.session.on_deadline(due_ms + 30_000)
    silent_ms = due_ms + 30_000 + BRIDGE_PONG_TIMEOUT_MS
    assert rig.session.on_deadline(silent_ms - 1) == []
    (lost,) = rig.session.on_deadline(silent_ms)
    assert isinstance(lost, Lost)
    assert rig.session.next_deadline_ms() is None


def test_silence_is_not_held_against_the_remote_while_we_do_not_listen() -> None:
    """Our disk is full for an hour: PINGREQ goes on, so that the other side keeps the connection."""
    rig = Rig(keep_alive_s=40)
    rig.open()
    pings = 0
    for now_ms in range(1_000, 3_600_000, 1_000):
        rig.session.not_listening(now_ms)
        pings += len(rig.session.on_deadline(now_ms))
    assert rig.session.state is State.OPEN
    assert pings == 3_599 // 30


@pytest.mark.parametrize("has_connack", [False, True])
def test_a_remote_that_says_nothing(has_connack: bool) -> None:
    rig = Rig(subscriptions=FILTERS)
    assert rig.session.next_deadline_ms() is None
    if has_connack:
        rig.open()
    else:
        rig.session.send(Open(), rig.now_ms)
    assert rig.session.next_deadline_ms() == 1000 + BRIDGE_CONNECT_TIMEOUT_MS
    (lost,) = rig.session.on_deadline(1000 + BRIDGE_CONNECT_TIMEOUT_MS)
    assert isinstance(lost, Lost)
    assert ("SUBACK" if has_connack else "CONNACK") in lost.text


def test_commands_that_are_not_possible() -> None:
    rig = Rig()
    for command in (Send(publish=Publish(topic="a")), Close()):
        with pytest.raises(LocalProtocolError, match="new"):
            rig.session.send(command, 0)
    rig.open()
    with pytest.raises(LocalProtocolError, match="open"):
        rig.session.send(Open(), 0)
    assert rig.read(rig.session.send(Close(), 0)) == [Disconnect()]
    assert rig.session.state is State.CLOSED


def test_release_is_a_pubrel() -> None:
    rig = Rig()
    assert rig.read(rig.session.release(9)) == [Pubrel(packet_id=9)]
