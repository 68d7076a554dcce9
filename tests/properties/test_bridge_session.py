"""The bridge's session: any cut of the same bytes gives the same events, any bytes give events; the window against a model."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.bridge.events import Event, Lost, Open, SessionSettings
from broker.bridge.incoming_ids import IncomingIds
from broker.bridge.session import ClientSession
from broker.bridge.window import OutgoingWindow, Progress
from broker.mqtt.codec import encode
from broker.mqtt.packets import Connack, Packet, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback, Version

IDS = st.integers(1, 6)
ANSWERS = st.one_of(
    st.builds(Puback, packet_id=IDS),
    st.builds(Pubrec, packet_id=IDS),
    st.builds(Pubrel, packet_id=IDS),
    st.builds(Pubcomp, packet_id=IDS),
    st.builds(Suback, packet_id=IDS, reason_codes=st.tuples(st.integers(0, 2))),
    st.builds(
        Publish,
        topic=st.sampled_from(["a", "b/c"]),
        payload=st.binary(max_size=20),
        qos=st.just(2),
        packet_id=IDS,
    ),
    st.builds(Publish, topic=st.just("a"), payload=st.binary(max_size=200)),
)


def session(version: Version) -> ClientSession:
    outgoing = OutgoingWindow(1, entry_count_max=4)
    made = ClientSession(SessionSettings(client_id="b", version=version), outgoing, IncomingIds())
    made.send(Open(), 0)
    return made


def feed(version: Version, pieces: list[bytes]) -> list[Event]:
    made = session(version)
    events: list[Event] = []
    for piece in pieces:
        if piece:
            events += made.receive_bytes(piece, 0)
    return events


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(
    st.sampled_from([Version.MQTT_3_1_1, Version.MQTT_5]),
    st.lists(ANSWERS, max_size=8),
    st.binary(max_size=8),
    st.lists(st.integers(0, 10_000), max_size=6),
)
def test_any_cut_gives_the_same_events(
    version: Version, packets: list[Packet], tail: bytes, places: list[int]
) -> None:
    data = b"".join(encode(packet, version) for packet in (Connack(), *packets)) + tail
    assert feed(version, cut(data, places)) == feed(version, [data])


@given(st.sampled_from([Version.MQTT_3_1_1, Version.MQTT_5]), st.binary(max_size=200), st.booleans())
def test_any_bytes_give_events(version: Version, data: bytes, is_open: bool) -> None:
    start = encode(Connack(), version) if is_open else b""
    events = feed(version, [start + data])
    assert sum(isinstance(event, Lost) for event in events) <= 1


class WindowModel(RuleBasedStateMachine):
    """A remote that takes QoS 1 and 2 as the standard says, a link that breaks and a bridge that is killed at any time.

    Each record of the log must arrive, one of QoS 2 exactly once, and the cursor must never pass one that has not.
    """

    LOG_COUNT = 12

    def __init__(self) -> None:
        super().__init__()
        self.qos = [1 + seq % 2 for seq in range(self.LOG_COUNT + 1)]
        self.window = OutgoingWindow(1, entry_count_max=3)
        self.saved: tuple[int, list[tuple[int, int, int]]] = (1, [])
        self.arrived: list[int] = []
        self.unreleased: dict[int, int] = {}
        self.to_remote: list[tuple[str, int, int]] = []
        self.to_us: list[tuple[str, int]] = []
        self.connect()

    def connect(self) -> None:
        self.to_remote, self.to_us = [], []
        release = self.window.begin(session_present=True, receive_maximum=100)
        self.to_remote += [("release", packet_id, 0) for packet_id in release]

    def save(self) -> None:
        """What `Crossing._send` does before bytes leave."""
        if self.window.has_news:
            self.saved = (self.window.position, self.window.saved())
            self.window.has_news = False

    @precondition(lambda self: self.window.room and self.window.scanned_seq <= self.LOG_COUNT)
    @rule()
    def publish(self) -> None:
        seq = self.window.scanned_seq
        placed = self.window.place(seq, self.qos[seq])
        self.save()
        if placed is not None:
            self.to_remote.append(("publish", placed.packet_id, seq))

    @precondition(lambda self: self.to_remote)
    @rule()
    def remote_reads(self) -> None:
        kind, packet_id, seq = self.to_remote.pop(0)
        if kind == "release":
            self.unreleased.pop(packet_id, None)
            self.to_us.append(("complete", packet_id))
        elif self.qos[seq] == 1:
            self.arrived.append(seq)
            self.to_us.append(("acknowledge", packet_id))
        else:
            if packet_id not in self.unreleased:
                self.unreleased[packet_id] = seq
                self.arrived.append(seq)
            assert self.unreleased[packet_id] == seq, "one message was taken for another"
            self.to_us.append(("received", packet_id))

    @precondition(lambda self: self.to_us)
    @rule()
    def we_read(self) -> None:
        kind, packet_id = self.to_us.pop(0)
        if kind == "received":
            assert self.window.received(packet_id)
            self.save()
            self.to_remote.append(("release", packet_id, 0))
        else:
            assert self.window.complete(packet_id, 1 if kind == "acknowledge" else 2) is not None
            self.save()

    @rule()
    def the_link_breaks(self) -> None:
        self.connect()

    @rule()
    def we_are_killed(self) -> None:
        self.window = OutgoingWindow(self.saved[0], self.saved[1], entry_count_max=3)
        self.connect()

    @invariant()
    def nothing_is_passed_that_has_not_arrived(self) -> None:
        assert set(range(1, self.window.position)) <= set(self.arrived)
        assert len(self.window) <= 4

    @invariant()
    def qos_2_arrives_once(self) -> None:
        twice = [seq for seq in self.arrived if self.qos[seq] == 2]
        assert len(twice) == len(set(twice))

    def teardown(self) -> None:
        for _ in range(200):
            while self.window.room and self.window.scanned_seq <= self.LOG_COUNT:
                self.publish()
            while self.to_remote:
                self.remote_reads()
            while self.to_us:
                self.we_read()
        assert set(self.arrived) == set(range(1, self.LOG_COUNT + 1))
        assert self.window.position == self.LOG_COUNT + 1
        assert not any(progress != Progress.DONE for _, _, progress in self.window.saved())


TestWindow = WindowModel.TestCase
