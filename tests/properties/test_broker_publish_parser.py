"""The publish parser against the codec: two independent readers of the same bytes.

1. Agreement: on streams of valid packets, and of packets with bytes changed, for 3.1.1 and 5, the parser finds the
   publishes that `PacketReader` finds, and an error where that finds one or finds what this release refuses.
2. However the bytes are cut and however full the batches are, the records are the same.
3. The short way of a packet that comes alone (`parse_single`) finds what the long way finds.
4. Totality: any bytes give records or RemoteProtocolError, nothing else, and a block that can be read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import event, example, given
from hypothesis import strategies as st

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import FRAME_BYTES_MAX, TOPIC_ALIAS_TOPIC_BYTES_MAX
from appliance.management.access import AccessPolicy, Principal
from broker.committer import batch_body
from broker.mqtt.batch import BATCH_BYTES_MAX, Batch
from broker.mqtt.codec import PacketReader, decode, decode_properties, encode
from broker.mqtt.constants import Sender, Version
from broker.mqtt.packets import Packet, Publish
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from broker.mqtt.publish_parser import PublishParser, Stop
from broker.mqtt.wire import remaining_length
from broker.publish_check import admit_topic, keep_publish_properties
from storage.log.columns import Kind, decode_columns
from tests.protocol import builder

from .mqtt_strategies import packets, publishes

PACKET_BYTES_MAX = 20_000
ALIAS_MAX = 3
FILLER = ("filler", "filler")
CLIENT = ("client", "site")
SITE = Principal(name="site", kind="application", access="site")
OWN = Principal(name="a")
POLICY = AccessPolicy()

Record = tuple[bytes, bytes, int, int, Properties]
"""Topic, payload, flags, packet identifier, properties."""


@dataclass
class PlaneInMiniature:
    """Cuts bytes the way the data plane does, with the codec as its slow path.

    Args:
        slacks: How many bytes each batch has left when it begins; those after the last have room.
    """

    version: Version
    principal: Principal = SITE
    slacks: Sequence[int] = ()
    records: list[Record] = field(default_factory=list)
    refused: list[tuple[int, bytes]] = field(default_factory=list)
    error: RemoteProtocolError | None = None
    single_count: int = 0

    def __post_init__(self) -> None:
        is_5 = self.version is Version.MQTT_5
        self._waiting = b""
        self._batches = 0
        self._parser = PublishParser(
            has_properties=is_5,
            packet_bytes_max=PACKET_BYTES_MAX,
            admit_topic=lambda topic: admit_topic(topic, self.principal, POLICY, is_5),
            keep_properties=lambda raw: keep_publish_properties(raw, ALIAS_MAX),
        )
        self._begin()

    def receive(self, data: bytes) -> None:
        if self.error is not None:
            return
        if not self._waiting and self._parser.parse_single(data, self._batch):
            self._batch.client_runs.append((self._batch.client_slot(CLIENT), 1))
            self.single_count += 1
            return
        data = self._waiting + data
        try:
            self._waiting = data[self._cut(data) :]
        except RemoteProtocolError as error:
            self.error = error

    def finish(self) -> None:
        """Write the batch out and read it again."""
        body, first_ms, last_ms = batch_body(self._batch)
        assert (first_ms, last_ms) == (1, 1)
        assert len(body) <= FRAME_BYTES_MAX
        assert self._batch.retained == [n for n, flags in enumerate(self._batch.flags) if flags & 1]
        columns = decode_columns(body)
        for index in columns.of_kind(Kind.PUBLISH):
            assert columns.clients[columns.client_index[index]] == CLIENT
            self.records.append(
                (
                    columns.topics[columns.topic_index[index]],
                    columns.payload(index),
                    columns.flags[index],
                    columns.packet_ids[index],
                    decode_properties(columns.properties.get(index, b"")),
                )
            )

    def _begin(self) -> None:
        self._batch = Batch()
        self._batch.mark_time(1)
        self._batch.add(Kind.SESSION_CHANGED, FILLER)
        slack = self.slacks[self._batches] if self._batches < len(self.slacks) else BATCH_BYTES_MAX
        self._batch.body_bytes = BATCH_BYTES_MAX - slack
        self._batches += 1

    def _cut(self, data: bytes) -> int:
        pos = 0
        while True:
            before, began = len(self._batch), pos
            try:
                pos, stop = self._parser.parse(data, pos, self._batch)
            finally:
                if len(self._batch) > before:
                    slot = self._batch.client_slot(CLIENT)
                    self._batch.close_run(slot, len(self._batch) - before, wire_bytes=pos - began)
            self.refused += self._parser.refused
            self._parser.refused.clear()
            if stop is Stop.FULL:
                self.finish()
                self._begin()
            elif stop is Stop.NEED_MORE or (after := self._other(data, pos)) == pos:
                return pos
            else:
                pos = after

    def _other(self, data: bytes, pos: int) -> int:
        is_5 = self.version is Version.MQTT_5
        length, at = remaining_length(data[pos : pos + 5], 1, is_shortest=is_5)
        if length >= 0 and at + length > PACKET_BYTES_MAX:
            raise RemoteProtocolError("too large", reason_code=0x95)
        if length < 0 or pos + at + length > len(data):
            return pos
        decode(data[pos], data[pos + at : pos + at + length], self.version, Sender.CLIENT)
        return pos + at + length


def by_codec(data: bytes, version: Version) -> tuple[list[Record], bool]:
    """The publishes that this release takes, and whether an error follows them."""
    reader = PacketReader(version, packet_bytes_max=PACKET_BYTES_MAX, sender=Sender.CLIENT)
    reader.feed(data)
    found: list[Record] = []
    unreleased: set[int] = set()
    aliases: dict[int, str] = {}
    while True:
        try:
            packet = reader.next_packet()
        except RemoteProtocolError:
            return found, True
        if packet is None:
            return found, has_long_length(reader.take_unread(), version)
        if isinstance(packet, Publish):
            topic = meant_topic(packet, aliases)
            if topic is None:
                return found, True
            if packet.qos == 2 and POLICY.may_publish(SITE, topic):
                packet_id = packet.packet_id or 0
                if packet.dup and packet_id in unreleased:
                    continue
                unreleased.add(packet_id)
            flags = (8 if packet.dup else 0) | packet.qos << 1 | packet.retain
            properties = packet.properties.without(PropertyId.TOPIC_ALIAS)
            found.append((topic.encode(), packet.payload, flags, packet.packet_id or 0, properties))


def has_long_length(beginning: bytes, version: Version) -> bool:
    """Whether a packet that has not come whole has a length that the parser refuses at once, the codec at its end."""
    if version is Version.MQTT_5 and beginning:
        try:
            remaining_length(beginning[:5], 1)
        except RemoteProtocolError:
            return True
    return False


def meant_topic(packet: Publish, aliases: dict[int, str]) -> str | None:
    """The topic that a packet names or that its alias stands for; None where MQTT or this release refuses the packet."""
    alias = packet.properties.integer(PropertyId.TOPIC_ALIAS, 0)
    if alias > ALIAS_MAX or PropertyId.SUBSCRIPTION_IDENTIFIER in packet.properties:
        return None
    topic = packet.topic or aliases.get(alias)
    if alias and topic is not None:
        if len(topic.encode()) > TOPIC_ALIAS_TOPIC_BYTES_MAX:
            return None
        aliases[alias] = topic
    return topic


VERSIONS = st.sampled_from([Version.MQTT_3_1_1, Version.MQTT_5])


@st.composite
def plain_publishes(draw: st.DrawFn, version: Version) -> Publish:
    """Publishes as devices send them: few topics, few aliases, most of which stand for something."""
    packet = draw(publishes(version))
    topic = draw(st.sampled_from(["dm/a/telemetry", "dm/a/t", "x", "dm/b/telemetry", packet.topic or "y"]))
    properties = packet.properties.without(PropertyId.TOPIC_ALIAS, PropertyId.SUBSCRIPTION_IDENTIFIER)
    alias = draw(st.sampled_from([0, 0, 1, 1, 2, ALIAS_MAX, ALIAS_MAX + 1]))
    if alias and version is Version.MQTT_5:
        properties = properties.with_values({PropertyId.TOPIC_ALIAS: alias})
        topic = draw(st.sampled_from(["", topic]))
    return Publish(
        topic=topic,
        payload=packet.payload,
        qos=packet.qos,
        dup=packet.dup,
        retain=packet.retain,
        packet_id=packet.packet_id,
        properties=properties,
    )


@st.composite
def streams(draw: st.DrawFn) -> tuple[Version, bytes]:
    version = draw(VERSIONS)
    kinds = st.one_of(
        plain_publishes(version), plain_publishes(version), plain_publishes(version), packets(version)
    )
    several: list[Packet] = draw(st.lists(kinds, max_size=8))
    data = bytearray(b"".join(encode(packet, version) for packet in several))
    for place, value in draw(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=3)):
        if data:
            data[place % len(data)] = value
    if draw(st.booleans()) and data:
        del data[draw(st.integers(0, len(data) - 1)) :]
    return version, bytes(data)


CUTS = st.lists(st.integers(0, 5000), max_size=8)
SLACKS = st.lists(st.integers(0, 800), min_size=1, max_size=6)


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    at = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:stop] for start, stop in zip([0, *at], [*at, len(data)], strict=True)]


def run(
    version: Version,
    data: Sequence[bytes],
    slacks: Sequence[int] = (),
    principal: Principal = SITE,
) -> PlaneInMiniature:
    plane = PlaneInMiniature(version=version, slacks=slacks, principal=principal)
    for piece in data:
        plane.receive(piece)
    plane.finish()
    return plane


ALIASED = builder.publish("a", b"x", properties=builder.p16(0x23, 1))


@given(streams())
@example((Version.MQTT_3_1_1, builder.packet(0x30, b"\xff\xff\xff\xff", b"payload")))
@example((Version.MQTT_3_1_1, builder.packet(0x30, builder.text("a"), b"x", length_bytes=3)))
@example((Version.MQTT_5, builder.packet(0x30, builder.text("a"), b"\0x", length_bytes=3)))
@example((Version.MQTT_5, builder.publish("", b"x", properties=b"")))
@example((Version.MQTT_5, ALIASED + builder.publish("", b"y", properties=builder.p16(0x23, 1))))
@example((Version.MQTT_5, ALIASED + builder.publish("", b"y", properties=b"")))
@example((Version.MQTT_5, builder.publish("t" * 513, b"x", properties=builder.p16(0x23, 1))))
@example((Version.MQTT_3_1_1, builder.publish("$SYS", b"x")))
def test_agreement_with_the_codec(stream: tuple[Version, bytes]) -> None:
    version, data = stream
    expected, is_broken = by_codec(data, version)
    plane = run(version, [data])
    event(f"{version.name}, {'broken' if is_broken else 'whole'}, {min(len(expected), 3)} publishes or more")
    refused_topics = [r for r in expected if not POLICY.may_publish(SITE, r[0].decode())]
    if refused_topics and version is not Version.MQTT_5:
        assert plane.error is not None
        assert plane.records == expected[: expected.index(refused_topics[0])]
        return
    assert plane.records == [record for record in expected if record not in refused_topics]
    assert len(plane.refused) == len(refused_topics)
    assert (plane.error is not None) == is_broken, plane.error


@given(streams(), CUTS, SLACKS)
def test_cuts_and_fullness_change_nothing(
    stream: tuple[Version, bytes], cuts: list[int], slacks: list[int]
) -> None:
    version, data = stream
    whole = run(version, [data])
    cut = run(version, pieces(data, cuts), slacks)
    assert cut.records == whole.records
    assert cut.refused == whole.refused
    assert (cut.error is None) == (whole.error is None)
    if cut.error is not None and whole.error is not None:
        assert cut.error.reason_code == whole.error.reason_code


@st.composite
def alternations(draw: st.DrawFn) -> tuple[Version, list[bytes]]:
    """Short publishes of few shapes and now and then another packet, a byte changed here and there; each is a piece."""
    version = draw(VERSIONS)
    payloads = st.sampled_from([b"", b"\0", b"21.5", b"x" * 104, b"x" * 105, b"x" * 130])
    packet_ids = st.sampled_from([1, 2, 0x100, 0xFFFF])
    aliases = st.sampled_from([b"", b"", builder.p16(0x23, 1)] if version is Version.MQTT_5 else [None])
    several = [
        bytearray(
            builder.publish(
                topic, payload, qos=qos, packet_id=packet_id if qos else None, properties=properties
            )
        )
        for topic, payload, qos, packet_id, properties in draw(
            st.lists(
                st.tuples(
                    st.sampled_from(["dm/a/t", "dm/a/t", "x"] + [""] * (version is Version.MQTT_5)),
                    payloads,
                    st.sampled_from([1, 1, 1, 0]),
                    packet_ids,
                    aliases,
                ),
                max_size=10,
            )
        )
    ]
    for number, place, value in draw(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 14), st.integers(0, 255)), max_size=2)
    ):
        if number < len(several) and place < len(several[number]):
            several[number][place] = value
    return version, [bytes(packet) for packet in several]


@given(alternations(), SLACKS)
@example((Version.MQTT_3_1_1, [builder.publish("x", b"1", qos=1, packet_id=1)] * 3), [30])
@example((Version.MQTT_5, [builder.publish("x", b"", qos=1, packet_id=1, properties=b"")] * 3), [500])
def test_the_short_way_is_the_long_way(stream: tuple[Version, list[bytes]], slacks: list[int]) -> None:
    version, several = stream
    alone, together = run(version, several, slacks), run(version, [b"".join(several)])
    event(f"{min(alone.single_count, 3)} or more came the short way")
    assert alone.records == together.records
    assert alone.refused == together.refused
    assert (alone.error and alone.error.reason_code) == (together.error and together.error.reason_code)


def test_the_short_way_is_taken() -> None:
    several = [builder.publish("x", b"%d" % n, qos=1, packet_id=n) for n in range(1, 10)]
    assert run(Version.MQTT_3_1_1, several).single_count == 8, "all but the first"
    refused = [builder.publish("dm/b/t", b"1", qos=1, packet_id=n, properties=b"") for n in range(1, 4)]
    assert run(Version.MQTT_5, refused, principal=OWN).single_count == 0


@given(VERSIONS, st.binary(max_size=300), CUTS, SLACKS, st.sampled_from([SITE, OWN]))
def test_any_bytes(
    version: Version, data: bytes, cuts: list[int], slacks: list[int], principal: Principal
) -> None:
    plane = run(version, pieces(data, cuts), slacks, principal)
    assert plane.error is None or 0x81 <= plane.error.reason_code <= 0xA2


@given(
    VERSIONS,
    st.lists(st.tuples(st.sampled_from([0x30, 0x32, 0x3A]), st.binary(max_size=60)), max_size=8),
    SLACKS,
)
def test_any_publish_bodies(version: Version, bodies: list[tuple[int, bytes]], slacks: list[int]) -> None:
    """Right lengths reach further than raw bytes do; nobody gets a record under a topic that is not their own."""
    data = b"".join(builder.packet(first, body) for first, body in bodies)
    expected, _ = by_codec(data, version)
    assert run(version, [data], slacks).records == [
        r for r in expected if POLICY.may_publish(SITE, r[0].decode())
    ]
    own = run(version, [data], slacks, OWN)
    assert all(record[0].startswith(b"dm/a/") for record in own.records)
