"""A model of how the broker cuts a connection's bytes, and what the codec says of the same bytes.

`PlaneInMiniature` drives the publish parser the way the data plane does, with the codec as its slow path, writes what it
found as a block and reads that again. `by_codec` finds the same publishes with `PacketReader`, an object each. The
property tests and the fuzzer hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import FRAME_BYTES_MAX, TOPIC_ALIAS_TOPIC_BYTES_MAX
from appliance.management.access import AccessPolicy, Principal
from broker.committer import batch_body
from broker.mqtt.batch import BATCH_BYTES_MAX, Batch
from broker.mqtt.codec import PacketReader, decode, decode_properties
from broker.mqtt.constants import Sender, Version
from broker.mqtt.packets import Publish
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from broker.mqtt.publish_parser import PublishParser, Stop
from broker.mqtt.wire import remaining_length
from broker.publish_check import admit_topic, keep_publish_properties
from storage.log.columns import Kind, decode_columns

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
    unreleased: dict[int, tuple[str, bytes]] = {}
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
                is_known = packet_id in unreleased
                if is_known and (packet.dup or unreleased[packet_id] == (topic, packet.payload)):
                    continue
                unreleased[packet_id] = (topic, packet.payload)
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


def assert_agreement(version: Version, data: bytes) -> tuple[list[Record], bool]:
    """The parser finds what the codec finds, less what an application may not publish; returns the codec's answer."""
    expected, is_broken = by_codec(data, version)
    plane = run(version, [data])
    refused_topics = [r for r in expected if not POLICY.may_publish(SITE, r[0].decode())]
    if refused_topics and version is not Version.MQTT_5:
        assert plane.error is not None
        assert plane.records == expected[: expected.index(refused_topics[0])]
        return expected, is_broken
    assert plane.records == [record for record in expected if record not in refused_topics]
    assert len(plane.refused) == len(refused_topics)
    assert (plane.error is not None) == is_broken, plane.error
    return expected, is_broken


def assert_same(one: PlaneInMiniature, other: PlaneInMiniature) -> None:
    """The same bytes, cut in two ways, are the same records and the same error."""
    assert one.records == other.records
    assert one.refused == other.refused
    assert (one.error and one.error.reason_code) == (other.error and other.error.reason_code)
