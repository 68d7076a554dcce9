"""The publish parser: cuts a connection's bytes into PUBLISH packets as columns, with no object per packet.

It runs only after CONNACK, for one connection's bytes at a time, and appends straight to the columns of the block
that is being gathered (`Batch`). It stops in front of anything that is not a PUBLISH, so the order of packets
on a connection holds. Devices send the same topic again and again: the topic of the packet before is compared as
a prefix, and only another one is cut out, checked and looked up. A topic alias stands for the topic that came with it
on the same connection: what is recorded is always the topic.

Sans-IO: it knows no socket, no clock and no log. Source: MQTT 3.1.1 §3.3, MQTT 5.0 §3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, TypeAlias

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import TOPIC_ALIAS_TOPIC_BYTES_MAX

from .batch import BATCH_BYTES_MAX, RECORD_COLUMNS_BYTES, TOPIC_FRAMING_BYTES, Batch
from .packet_ids import PacketIds, message_digest
from .packets import PublishedRequest
from .reason_codes import ReasonCode
from .wire import remaining_length

Prefix: TypeAlias = bytes | tuple[bytes, ...]
NO_PREFIX: Final[Prefix] = ()
"""Nothing begins with one of no prefixes. Bytes that only a malformed packet begins with would not do: a client could
send that packet and have its first bytes taken for a topic that was admitted."""
ADMITTED_TOPIC_COUNT_MAX: Final = 256
"""Topics remembered per connection as permitted."""
ADMITTED_TOPIC_BYTES_MAX: Final = 512
"""Longer topics are asked for again each time they alternate: 256 × 64 KiB would be 16 MiB for one connection."""


PROPERTIES_REMEMBERED_BYTES_MAX: Final = 512
"""Properties that are the same as in the packet before are not taken apart again: a content type, say, costs 7 µs."""


WITH_PACKET_ID: Final = frozenset({0x32, 0x33, 0x3A, 0x3B, 0x34, 0x35, 0x3C, 0x3D})
"""First bytes of a PUBLISH of QoS 1 or 2: with or without DUP and RETAIN."""
REPEATED_FLAGS: Final = 0x0C
"""QoS 2 and DUP."""
REFUSED_SLOT: Final = -1
REQUEST_SLOT: Final = -2
"""In place of a topic's place in the batch: a PUBLISH that is not added to it, because it may not, or is a request."""
SINGLE_BYTES_MAX: Final = 129
"""A packet whose remaining length fits one byte."""


class Stop(Enum):
    """Why the parser stopped."""

    NEED_MORE = auto()
    """The rest is the beginning of a packet."""
    OTHER = auto()
    """The next packet is complete or not, and no PUBLISH."""
    FULL = auto()
    """The batch can't take the next packet; it is complete and waits for the next block."""


class PublishParser:
    """One connection's place in its stream of PUBLISH packets.

    Args:
        has_properties: True for MQTT 5.
        packet_bytes_max: Largest packet accepted, fixed header included.
        admit_topic: Called for a topic that the connection has not used lately. Raises RemoteProtocolError if it
            is no topic name, returns False if publishing to it is not permitted: such packets are not added, and
            their first bytes and packet identifiers (b"" for QoS 0) are left in `refused`.
        is_request: Whether a topic, which the connection has not used lately, is one of requests that it may make.
        keep_properties: Checks a packet's property bytes and returns what is to be stored and sent on, and the topic
            alias that was among them, 0 where there was none.

    Attributes:
        unreleased: Identifiers of QoS 2 whose PUBLISH was taken and whose PUBREL has not come.
        repeated: Identifiers of QoS 2 packets that were taken before and came again; they were not added.
        requests: What was published to topics of requests, for the caller to take.
    """

    __slots__ = (
        "_admit_topic",
        "_alias",
        "_aliases",
        "_batch_identity",
        "_has_properties",
        "_is_request",
        "_keep_properties",
        "_kept",
        "_packet_bytes_max",
        "_prefix",
        "_properties_before",
        "_slot",
        "_topic",
        "_topics",
        "refused",
        "repeated",
        "requests",
        "unreleased",
    )

    def __init__(
        self,
        *,
        has_properties: bool,
        packet_bytes_max: int,
        admit_topic: Callable[[bytes], bool],
        keep_properties: Callable[[bytes], tuple[bytes, int]],
        is_request: Callable[[bytes], bool] = lambda _topic: False,
    ) -> None:
        self._has_properties = has_properties
        self._packet_bytes_max = packet_bytes_max
        self._admit_topic = admit_topic
        self._is_request = is_request
        self._keep_properties = keep_properties
        self._prefix: Prefix = NO_PREFIX
        self._topic = b""
        self._slot = 0
        self._batch_identity: object = None
        self._properties_before: bytes | None = None
        self._kept, self._alias = b"", 0
        self._topics: set[bytes] = set()
        self._aliases: dict[int, bytes] = {}
        """As many as `keep_properties` lets through, of at most TOPIC_ALIAS_TOPIC_BYTES_MAX each."""
        self.unreleased = PacketIds()
        self.refused: list[tuple[int, bytes]] = []
        self.repeated: list[bytes] = []
        self.requests: list[PublishedRequest] = []

    def parse(self, data: bytes, pos: int, batch: Batch) -> tuple[int, Stop]:
        """Append complete PUBLISH packets of `data[pos:]` to the batch.

        The caller then calls `batch.close_run` for the records that were added.

        Returns:
            Where the parser stopped, and why.
        Raises:
            RemoteProtocolError: malformed (0x81), too large (0x95), or what `admit_topic` raises. Records added before it stay added; the bad packet adds nothing.
        """
        prefix, slot = self._prefix, self._slot
        if self._batch_identity is not batch.identity:
            # The topic of before has no place in this batch until a packet brings it (_other_topic).
            prefix = NO_PREFIX
        end = len(data)
        # The byte up to which this batch can take packets; each record's fixed-width columns take their share of it.
        room = pos + BATCH_BYTES_MAX - batch.body_bytes
        add_payload = batch.payloads.append
        add_packet_id = batch.packet_ids.append
        add_topic = batch.topic_index.append
        add_flags = batch.flags.append
        starts_with = data.startswith
        prefix_bytes = len(prefix)
        has_properties, packet_bytes_max = self._has_properties, self._packet_bytes_max
        while pos + 2 <= end:
            first = data[pos]
            if first & 0xF0 != 0x30:
                return pos, Stop.OTHER
            remaining = data[pos + 1]
            at = pos + 2
            if remaining > 127:
                # Two bytes reach 16,383; longer and wrong ones take the careful way.
                if at < end and 0 < data[at] < 128:
                    remaining += (data[at] << 7) - 128
                    at += 1
                else:
                    remaining, at = remaining_length(data, pos + 1, is_shortest=has_properties)
                    if remaining < 0:
                        return pos, Stop.NEED_MORE
            stop = at + remaining
            if stop - pos > packet_bytes_max:
                raise RemoteProtocolError(
                    f"A PUBLISH of {stop - pos} bytes is larger than the maximum packet size of {packet_bytes_max}.",
                    reason_code=ReasonCode.PACKET_TOO_LARGE,
                    code="packet_bytes_max",
                )
            if stop > end:
                return pos, Stop.NEED_MORE
            room -= RECORD_COLUMNS_BYTES
            if stop > room and batch.payloads:
                return pos, Stop.FULL
            if starts_with(prefix, at, stop):
                at += prefix_bytes
            else:
                room += batch.body_bytes
                at, slot = self._other_topic(data, at, stop, batch, first)
                room -= batch.body_bytes
                prefix, prefix_bytes = self._prefix, len(self._prefix)
            if first in WITH_PACKET_ID:
                packet_id = data[at : at + 2]
                at += 2
                if at > stop or packet_id == b"\0\0":
                    raise RemoteProtocolError("The packet identifier is missing or 0.", reason_code=0x81)
            elif first == 0x30 or first == 0x31:
                packet_id = b""
            else:
                raise RemoteProtocolError(
                    "A PUBLISH has QoS 3, or DUP with QoS 0.", reason_code=ReasonCode.MALFORMED_PACKET
                )
            if has_properties:
                if at < stop and data[at] == 0:
                    at += 1
                else:
                    at = self._properties(data, at, stop, batch, slot)
            pos = stop
            if slot < 0:
                if slot == REQUEST_SLOT:
                    self._take_request(first, packet_id, data[at:stop])
                else:
                    self.refused.append((first, packet_id))
                continue
            payload = data[at:stop]
            if first & 4 and not self._begin_exactly_once(first, packet_id, payload, batch):
                continue
            add_payload(payload)
            add_packet_id(packet_id)
            add_topic(slot)
            add_flags(first & 0x0F)
            if first & 1:
                batch.retained.append(len(batch.payloads) - 1)
        if pos < end and data[pos] & 0xF0 != 0x30:
            return pos, Stop.OTHER
        return pos, Stop.NEED_MORE

    def parse_single(self, data: bytes, batch: Batch) -> bool:
        """Append what was received if it is exactly one short PUBLISH of QoS 1 with the topic of the one before.

        The way of devices that wait for each acknowledgement: a third of what `parse` costs for one packet. Nothing is
        refused here; what is not as expected is left to `parse`.

        Returns:
            Whether it was; if not, nothing was added.
        """
        prefix, size = self._prefix, len(data)
        # A prefix has two bytes at least, so there is a second byte behind `and`. Below 128 it is the whole length.
        if (
            not data.startswith(prefix, 2)
            or data[0] != 0x32
            or data[1] != size - 2
            or size > SINGLE_BYTES_MAX
        ):
            return False
        at = 2 + len(prefix)
        packet_id = data[at : at + 2]
        at += 2
        if at > size or packet_id == b"\0\0":
            return False
        if self._has_properties:
            if at >= size or data[at]:
                return False
            at += 1
        body_bytes = batch.body_bytes + size + RECORD_COLUMNS_BYTES
        if body_bytes > BATCH_BYTES_MAX:
            return False
        batch.body_bytes = body_bytes
        if self._batch_identity is not batch.identity:
            self._batch_identity, self._slot = batch.identity, batch.topic_slot(self._topic)
        batch.payloads.append(data[at:])
        batch.packet_ids.append(packet_id)
        batch.topic_index.append(self._slot)
        batch.flags.append(2)
        return True

    def _begin_exactly_once(self, first: int, packet_id: bytes, payload: bytes, batch: Batch) -> bool:
        """Whether a QoS 2 packet is a message that was not taken yet (MQTT 5.0 §4.3.3, method B).

        Under an identifier that was not released one with DUP is the message of before, and so is one with the same topic
        and payload. Any other is new: a client that has lost its state, and that state's identifiers with it, loses no
        message by that.
        """
        number, digest = int.from_bytes(packet_id), message_digest(self._topic, payload)
        is_repeated = self._is_repeated(first, packet_id)
        if not is_repeated and self.unreleased.is_of(number, digest):
            # Its topic may have come into the batch with it, and no record counts its bytes.
            batch.body_bytes += len(self._topic) + TOPIC_FRAMING_BYTES
            is_repeated = True
        if is_repeated:
            self.repeated.append(packet_id)
            batch.properties.pop(len(batch.payloads), None)
            return False
        self.unreleased.add(number, digest)
        batch.qos2_count += 1
        return True

    def _take_request(self, first: int, packet_id: bytes, payload: bytes) -> None:
        """Put a request aside. No record says that one of QoS 2 was taken: after a restart it is a new one, and requests can be
        made twice.
        """
        if first & 4:
            number, digest = int.from_bytes(packet_id), message_digest(self._topic, payload)
            if self._is_repeated(first, packet_id) or self.unreleased.is_of(number, digest):
                self.repeated.append(packet_id)
                return
            self.unreleased.add(number, digest)
        self.requests.append(PublishedRequest(first, packet_id, self._topic, payload, self._kept))

    def _is_repeated(self, first: int, packet_id: bytes) -> bool:
        return first & REPEATED_FLAGS == REPEATED_FLAGS and int.from_bytes(packet_id) in self.unreleased

    def _other_topic(self, data: bytes, at: int, stop: int, batch: Batch, first: int) -> tuple[int, int]:
        """Cut out a topic that this batch has not seen from here, and find its slot."""
        after = at + 2 + (data[at] << 8 | data[at + 1]) if at + 2 <= stop else stop + 1
        if after > stop:
            raise RemoteProtocolError("A PUBLISH ends before its topic does.", reason_code=0x81)
        topic = data[at + 2 : after]
        prefix: Prefix = data[at:after]
        if not topic and self._has_properties:
            # No prefix: the next packet's alias may be another.
            topic, prefix = self._aliased_topic(data, after, stop, first), NO_PREFIX
        is_known = topic in self._topics or (prefix is not NO_PREFIX and prefix == self._prefix)
        self._topic = topic
        if not is_known:
            if self._is_request(topic):
                self._prefix = NO_PREFIX
                # A packet without properties leaves those of the one before.
                self._kept, self._properties_before = b"", None
                return after, REQUEST_SLOT
            if not self._admit_topic(topic):
                self._prefix = NO_PREFIX
                return after, REFUSED_SLOT
            if len(self._topics) >= ADMITTED_TOPIC_COUNT_MAX:
                self._topics.clear()
            if len(topic) <= ADMITTED_TOPIC_BYTES_MAX:
                self._topics.add(topic)
        if self._is_repeated(first, data[after : after + 2]):
            # It will not be added, and the batch has a topic only with a record: nothing else would count its bytes.
            self._prefix = NO_PREFIX
            return after, 0
        self._prefix = prefix
        if prefix is NO_PREFIX and topic not in batch.topic_slots:
            # The packet does not hold the bytes that the block will.
            batch.body_bytes += len(topic) + TOPIC_FRAMING_BYTES
        self._batch_identity, self._slot = batch.identity, batch.topic_slot(topic)
        return after, self._slot

    def _aliased_topic(self, data: bytes, at: int, stop: int, first: int) -> bytes:
        """The topic that a PUBLISH without one means; its properties are looked at before their turn (MQTT 5.0 §3.3.2.3.4).

        Args:
            at: Behind the empty topic.
        """
        self._read_properties(data, at + 2 if first in WITH_PACKET_ID else at, stop)
        topic = self._aliases.get(self._alias)
        if topic is not None:
            return topic
        what = (
            f"topic alias {self._alias}, which came with no topic before" if self._alias else "no topic alias"
        )
        raise RemoteProtocolError(
            f"A PUBLISH has an empty topic and {what}.",
            reason_code=ReasonCode.PROTOCOL_ERROR,
            hint="Send the topic with its alias once on each connection; aliases end with it.",
        )

    def _properties(self, data: bytes, at: int, stop: int, batch: Batch, slot: int) -> int:
        """Take a packet's properties apart, after its topic; returns where its payload begins."""
        at = self._read_properties(data, at, stop)
        if self._alias:
            # Known by its alias even where it is not permitted: whatever comes by the alias is refused like this.
            if len(self._topic) > TOPIC_ALIAS_TOPIC_BYTES_MAX:
                raise RemoteProtocolError(
                    f"A topic of {len(self._topic)} bytes has an alias; at most {TOPIC_ALIAS_TOPIC_BYTES_MAX} are kept.",
                    reason_code=ReasonCode.QUOTA_EXCEEDED,
                    hint="Send a topic as long as this without an alias.",
                    code="topic_alias_topic_bytes_max",
                )
            self._aliases[self._alias] = self._topic
        if self._kept and slot >= 0:
            batch.properties[len(batch.payloads)] = self._kept
        return at

    def _read_properties(self, data: bytes, at: int, stop: int) -> int:
        if at < stop and data[at] < 128:
            length, after = data[at], at + 1
        else:
            length, size = remaining_length(data[at : min(at + 4, stop)], 0)
            after = at + size
        if length < 0 or after + length > stop:
            raise RemoteProtocolError("A PUBLISH ends before its properties do.", reason_code=0x81)
        raw = data[after : after + length]
        if raw != self._properties_before:
            self._kept, self._alias = self._keep_properties(raw)
            self._properties_before = raw if length <= PROPERTIES_REMEMBERED_BYTES_MAX else None
        return after + length

    def forget_topics(self) -> None:
        """Ask `admit_topic` again for every topic: what the client may do has changed."""
        self._topics.clear()
        self._prefix, self._topic = NO_PREFIX, b""
