"""The batch parser: cuts a connection's bytes into PUBLISH packets as columns, with no object per packet.

It runs only after CONNACK, for one connection's bytes at a time, and appends straight to the columns of the block
that is being gathered (`Batch`). It stops in front of anything that is not a PUBLISH, so the order of packets
on a connection holds. Devices send the same topic again and again: the topic of the packet before is compared as
a prefix, and only another one is cut out, checked and looked up.

Sans-IO: it knows no socket, no clock and no log. Source: MQTT 3.1.1 §3.3, MQTT 5.0 §3.3.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, TypeAlias

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import FRAME_BYTES_MAX, FRAME_RECORD_COUNT_MAX

from .reason_codes import ReasonCode

RECORD_COLUMNS_BYTES: Final = 16
"""What a record costs in the fixed-width columns: kind 1, flags 1, client 2, topic 2, packet id 2, time 4, offset 4."""
CLIENT_FRAMING_BYTES: Final = 7
"""msgpack's: a pair, and two texts of up to 65,535 bytes."""
BATCH_BYTES_MAX: Final = FRAME_BYTES_MAX - 48 * 1024
"""Room is left for the dictionaries' framing and for session records."""
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


class Stop(Enum):
    """Why the parser stopped."""

    NEED_MORE = auto()
    """The rest is the beginning of a packet."""
    OTHER = auto()
    """The next packet is complete or not, and no PUBLISH."""
    FULL = auto()
    """The batch can't take the next packet; it is complete and waits for the next block."""


class Batch:
    """The columns of the block being gathered; single use.

    Invariant: `payloads`, `packet_ids`, `topic_index` and `flags` have one entry per record; `client_runs` covers all
    records once `close_run` was called for what was parsed last; `time_marks` and `other_kinds` name what differs.
    """

    __slots__ = (
        "body_bytes",
        "client_runs",
        "clients",
        "flags",
        "identity",
        "other_kinds",
        "packet_ids",
        "payloads",
        "properties",
        "time_marks",
        "topic_index",
        "topic_slots",
        "topics",
    )

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.packet_ids: list[bytes] = []  # two bytes each as on the wire; b"" for QoS 0
        self.flags = bytearray()
        self.topics: list[bytes] = []
        self.topic_slots: dict[bytes, int] = {}
        self.topic_index: list[int] = []
        self.clients: list[tuple[str, str]] = []
        self.client_runs: list[tuple[int, int]] = []  # (client, records)
        self.time_marks: list[tuple[int, int]] = []  # (first record, ms)
        self.other_kinds: dict[int, int] = {}  # record → kind, where it is no PUBLISH
        self.properties: dict[int, bytes] = {}
        self.body_bytes = 0
        self.identity = object()
        """What remembers a place in this batch keeps this, not the batch: an idle connection would hold all of it."""

    def __len__(self) -> int:
        return len(self.payloads)

    def topic_slot(self, topic: bytes) -> int:
        slot = self.topic_slots.get(topic)
        if slot is None:
            slot = self.topic_slots[topic] = len(self.topics)
            self.topics.append(topic)
        return slot

    def client_slot(self, client: tuple[str, str]) -> int:
        """A new entry of the client dictionary; callers remember it for as long as the batch is the same."""
        self.clients.append(client)
        self.body_bytes += len(client[0]) + len(client[1]) + CLIENT_FRAMING_BYTES
        return len(self.clients) - 1

    def mark_time(self, now_ms: int) -> None:
        """Say when the records that follow were received."""
        marks = self.time_marks
        count = len(self.payloads)
        if not count:
            marks[:] = [(0, now_ms)]
        elif marks[-1][1] != now_ms:
            if marks[-1][0] == count:  # nothing came since the last mark: a slow disk makes none
                marks.pop()
            marks.append((count, now_ms))

    def close_run(self, client_slot: int, count: int, wire_bytes: int) -> None:
        """Say whose the last `count` records are.

        Args:
            wire_bytes: What they took on the wire, an upper bound of what their columns of varying width take.
        """
        self.client_runs.append((client_slot, count))
        self.body_bytes += wire_bytes + count * RECORD_COLUMNS_BYTES

    def add(
        self,
        kind: int,
        client: tuple[str, str],
        *,
        topic: bytes = b"",
        payload: bytes = b"",
        flags: int = 0,
        properties: bytes = b"",
    ) -> int:
        """Append one record that is no PUBLISH of a client (a session event, a will); returns its index."""
        index = len(self.payloads)
        self.other_kinds[index] = kind
        self.topic_index.append(self.topic_slot(topic))
        self.payloads.append(payload)
        self.packet_ids.append(b"")
        self.flags.append(flags)
        if properties:
            self.properties[index] = properties
        slot = self.client_slot(client)
        self.close_run(slot, 1, len(topic) + len(payload) + len(properties))
        return index

    def has_room(self, wire_bytes: int) -> bool:
        return (
            self.body_bytes + wire_bytes + RECORD_COLUMNS_BYTES <= BATCH_BYTES_MAX
            and len(self.payloads) < FRAME_RECORD_COUNT_MAX
        )

    def packet_id_column(self) -> array[int]:
        """Packet identifiers as u16, 0 for QoS 0."""
        joined = b"".join(self.packet_ids)
        if len(joined) != 2 * len(self.packet_ids):
            joined = b"".join([p or b"\0\0" for p in self.packet_ids])
        column = array("H", joined)
        column.byteswap()
        return column


class PublishParser:
    """One connection's place in its stream of PUBLISH packets.

    Args:
        has_properties: True for MQTT 5.
        packet_bytes_max: Largest packet accepted, fixed header included.
        admit_topic: Called for a topic that the connection has not used lately. Raises RemoteProtocolError if it
            is no topic name, returns False if publishing to it is not permitted: such packets are not added, and
            their packet identifiers (b"" for QoS 0) are left in `refused`.
        keep_properties: Checks a packet's property bytes and returns what is to be stored and sent on.
    """

    __slots__ = (
        "_admit_topic",
        "_batch_identity",
        "_has_properties",
        "_keep_properties",
        "_kept",
        "_packet_bytes_max",
        "_prefix",
        "_properties_before",
        "_slot",
        "_topic",
        "_topics",
        "refused",
    )

    def __init__(
        self,
        *,
        has_properties: bool,
        packet_bytes_max: int,
        admit_topic: Callable[[bytes], bool],
        keep_properties: Callable[[bytes], bytes],
    ) -> None:
        self._has_properties = has_properties
        self._packet_bytes_max = packet_bytes_max
        self._admit_topic = admit_topic
        self._keep_properties = keep_properties
        self._prefix: Prefix = NO_PREFIX
        self._topic = b""
        self._slot = 0
        self._batch_identity: object = None
        self._properties_before = b""
        self._kept = b""
        self._topics: set[bytes] = set()
        self.refused: list[bytes] = []

    def parse(self, data: bytes, pos: int, batch: Batch) -> tuple[int, Stop]:
        """Append complete PUBLISH packets of `data[pos:]` to the batch.

        The caller then calls `batch.close_run` for the records that were added.

        Returns:
            Where the parser stopped, and why.
        Raises:
            RemoteProtocolError: malformed (0x81), QoS 2 or retain not supported (0x9B, 0x9A), too large (0x95),
                or what `admit_topic` raises. Records added before it stay added; the bad packet adds nothing.
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
                )
            if stop > end:
                return pos, Stop.NEED_MORE
            room -= RECORD_COLUMNS_BYTES
            if stop > room and batch.payloads:
                return pos, Stop.FULL
            if starts_with(prefix, at, stop):
                at += prefix_bytes
            else:
                at, slot = self._other_topic(data, at, stop, batch)
                prefix, prefix_bytes = self._prefix, len(self._prefix)
            if first == 0x32 or first == 0x3A:
                packet_id = data[at : at + 2]
                at += 2
                if at > stop or packet_id == b"\0\0":
                    raise RemoteProtocolError("The packet identifier is missing or 0.", reason_code=0x81)
            elif first == 0x30:
                packet_id = b""
            else:
                raise refused_flags(first)
            if has_properties:
                if at < stop and data[at] == 0:
                    at += 1
                else:
                    at = self._properties(data, at, stop, batch, slot)
            pos = stop
            if slot < 0:
                self.refused.append(packet_id)
                continue
            add_payload(data[at:stop])
            add_packet_id(packet_id)
            add_topic(slot)
            add_flags(first & 0x0F)
        if pos < end and data[pos] & 0xF0 != 0x30:
            return pos, Stop.OTHER
        return pos, Stop.NEED_MORE

    def _other_topic(self, data: bytes, at: int, stop: int, batch: Batch) -> tuple[int, int]:
        """Cut out a topic that this batch has not seen from here; -1 as its slot where it is not permitted."""
        if data.startswith(self._prefix, at, stop):
            self._batch_identity, self._slot = batch.identity, batch.topic_slot(self._topic)
            return at + len(self._prefix), self._slot
        after = at + 2 + (data[at] << 8 | data[at + 1]) if at + 2 <= stop else stop + 1
        if after > stop:
            raise RemoteProtocolError("A PUBLISH ends before its topic does.", reason_code=0x81)
        topic = data[at + 2 : after]
        if topic not in self._topics:
            if not self._admit_topic(topic):
                self._prefix, self._topic = NO_PREFIX, b""
                return after, -1
            if len(self._topics) >= ADMITTED_TOPIC_COUNT_MAX:
                self._topics.clear()
            if len(topic) <= ADMITTED_TOPIC_BYTES_MAX:
                self._topics.add(topic)
        self._prefix, self._topic = data[at:after], topic
        self._batch_identity, self._slot = batch.identity, batch.topic_slot(topic)
        return after, self._slot

    def _properties(self, data: bytes, at: int, stop: int, batch: Batch, slot: int) -> int:
        length, size = remaining_length(data[at : min(at + 4, stop)], 0)
        after = at + size
        if length < 0 or after + length > stop:
            raise RemoteProtocolError("A PUBLISH ends before its properties do.", reason_code=0x81)
        raw = data[after : after + length]
        if raw != self._properties_before:
            self._kept = self._keep_properties(raw)
            self._properties_before = raw if length <= PROPERTIES_REMEMBERED_BYTES_MAX else b""
        if self._kept and slot >= 0:
            batch.properties[len(batch.payloads)] = self._kept
        return after + length

    def forget_topics(self) -> None:
        """Ask `admit_topic` again for every topic: what the client may do has changed."""
        self._topics.clear()
        self._prefix, self._topic = NO_PREFIX, b""


def remaining_length(data: bytes, at: int, *, is_shortest: bool = True) -> tuple[int, int]:
    """Read a variable byte integer (MQTT 5.0 §1.5.5).

    Args:
        is_shortest: Refuse one that is longer than needed: a rule of MQTT 5 that 3.1.1 (§2.2.3) does not have.
    Returns:
        The value and where it ends; (-1, at) if the data ends before it does.
    Raises:
        RemoteProtocolError: more than four bytes, or more than needed (0x81).
    """
    value = 0
    for index in range(4):
        if at + index >= len(data):
            return -1, at
        byte = data[at + index]
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            if byte == 0 and index and is_shortest:
                raise RemoteProtocolError("A variable byte integer is longer than needed.", reason_code=0x81)
            return value, at + index + 1
    raise RemoteProtocolError("A variable byte integer has more than four bytes.", reason_code=0x81)


def refused_flags(first: int) -> RemoteProtocolError:
    """Why a PUBLISH with this first byte is not accepted by this release."""
    qos = (first >> 1) & 3
    if qos == 3 or (qos == 0 and first & 8):
        return RemoteProtocolError("A PUBLISH has QoS 3, or DUP with QoS 0.", reason_code=0x81)
    if qos == 2:
        return RemoteProtocolError(
            "QoS 2 is not supported; CONNACK said Maximum QoS 1.", reason_code=ReasonCode.QOS_NOT_SUPPORTED
        )
    return RemoteProtocolError(
        "Retained messages are not supported; CONNACK said Retain Available 0.",
        reason_code=ReasonCode.RETAIN_NOT_SUPPORTED,
    )
