"""The columns of the block that is being gathered: what parsers append to, with no object per packet.

Sans-IO: it knows no socket, no clock and no log. docs/LOG_FORMAT.md says what becomes of the columns.
"""

from __future__ import annotations

from array import array
from itertools import chain, repeat
from typing import Final

from appliance.core.limits import FRAME_BYTES_MAX, FRAME_RECORD_COUNT_MAX

RECORD_COLUMNS_BYTES: Final = 16
"""What a record costs in the fixed-width columns: kind 1, flags 1, client 2, topic 2, packet id 2, time 4, offset 4."""
CLIENT_FRAMING_BYTES: Final = 7
"""msgpack's: a pair, and two texts of up to 65,535 bytes."""
TOPIC_FRAMING_BYTES: Final = 3
"""msgpack's: a text of up to 65,535 bytes."""
BATCH_BYTES_MAX: Final = FRAME_BYTES_MAX - 48 * 1024
"""Room is left for the dictionaries' framing and for session records."""


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
        "qos2_count",
        "retained",
        "time_marks",
        "topic_index",
        "topic_slots",
        "topics",
        "traces",
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
        self.traces: dict[int, bytes] = {}  # record → traceparent, where it is traced; not sent to anybody
        self.retained: list[int] = []  # records whose RETAIN flag is set
        self.qos2_count = 0
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
        packet_id: int = 0,
    ) -> int:
        """Append one record that is no PUBLISH of a client (a session event, a will, what a bridge brings); returns its
        index.
        """
        index = len(self.payloads)
        self.other_kinds[index] = kind
        self.topic_index.append(self.topic_slot(topic))
        self.payloads.append(payload)
        self.packet_ids.append(packet_id.to_bytes(2, "big") if packet_id else b"")
        self.flags.append(flags)
        if flags & 1:
            self.retained.append(index)
        if properties:
            self.properties[index] = properties
        slot = self.client_slot(client)
        self.close_run(slot, 1, len(topic) + len(payload) + len(properties))
        return index

    def client_index(self) -> list[int]:
        """For each record the place of its client in `clients`."""
        return list(chain.from_iterable(repeat(slot, count) for slot, count in self.client_runs))

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
