"""The body of a block: one column per field, so that no record is ever an object of its own.

Format (docs/LOG_FORMAT.md, "Block body"): a msgpack array of twelve elements, in the order of `encode_columns`.
Fixed-width columns are msgpack binaries of little-endian integers; clients and topics are dictionary-coded;
payloads are one blob with n + 1 offsets, which is the layout of an Arrow binary array. So packing, unpacking and
handing a block to Arrow all run at the speed of memcpy.

Invariants: every index points into its dictionary; offsets start at 0, never fall, and end at the blob's length;
`decode_columns` refuses anything else with LogDamaged, because a body whose CRC holds may still come from a
faulty writer.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import Final

import msgpack
import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import LogDamaged
from appliance.core.limits import FRAME_RECORD_COUNT_MAX
from storage.log.traced import FLAG_TRACED, trace_of, untraced

COLUMNS_VERSION: Final = 1
FLAG_KEPT_COPY: Final = 0x10
"""Of a publish's flags, beside the fixed header's nibble: RETAIN came from a bridge or an application, and the message may be a
copy that another broker kept: its arrival says nothing of when it was said (docs/READINGS.md)."""
_Body = tuple[
    int,
    bytes,
    bytes,
    list[tuple[str, str]],
    bytes,
    list[bytes],
    bytes,
    bytes,
    bytes,
    bytes,
    bytes,
    dict[int, bytes],
]
_decode_body: Final = msgspec.msgpack.Decoder(_Body).decode
"""Checks all types in passing."""
assert array("H").itemsize == 2
assert array("I").itemsize == 4


class Kind(IntEnum):
    """What a record is. Readers skip kinds they don't know, and count them."""

    PUBLISH = 1
    """An application message from a client."""
    SERVER_PUBLISH = 2
    """An application message from the server itself, a will among them."""
    SESSION_OPENED = 3
    SESSION_CHANGED = 4
    SESSION_CLOSED = 5
    QOS2_STEP = 6
    RETAINED = 7
    """Reserved: a publish whose RETAIN flag is set says it all."""
    BROKER_STARTED = 8
    """Every session that was open before this record is gone."""
    ROW_CHANGED = 9
    """A row of the catalog changed (catalog stream)."""
    SITE_PUBLISH = 10
    """An application message that another node of the site took in, for this node's subscribers. Its own node's log has it
    as a publish: whoever reads all nodes' logs leaves this one out."""
    CLOCK_AHEAD = 11
    """The wall clock went ahead by more than time has passed: nobody was silent between the record before and this."""


MESSAGE_KINDS: Final = frozenset({Kind.PUBLISH, Kind.SERVER_PUBLISH, Kind.SITE_PUBLISH})
"""What subscribers get."""


@dataclass(frozen=True, slots=True)
class Columns:
    """n records as columns. See the module's docstring for the layout; indexes are 0-based.

    Attributes:
        kinds: u8 × n, values of `Kind`.
        flags: u8 × n; for publishes the low nibble of MQTT's fixed header (DUP, QoS, RETAIN), FLAG_KEPT_COPY and FLAG_TRACED.
        clients: Dictionary of (client id, principal).
        client_index: u16 × n into `clients`.
        topics: Dictionary of topic names, UTF-8; b"" where a record has none.
        topic_index: u16 × n into `topics`.
        packet_ids: u16 × n, 0 = none.
        received_delta_ms: u32 × n, to be added to the frame's first time.
        payload_offsets: u32 × (n + 1) into `payload_data`.
        payload_data: All payloads, one after the other.
        properties: Record index → MQTT 5 property bytes (MQTT 5.0 §2.2.2.2, without the length, without topic
            alias and subscription identifiers, which belong to one connection); with the trace of a traced record,
            see `published_properties`.
    """

    kinds: bytes
    flags: bytes
    clients: Sequence[tuple[str, str]]
    client_index: array[int]
    topics: Sequence[bytes]
    topic_index: array[int]
    packet_ids: array[int]
    received_delta_ms: array[int]
    payload_offsets: array[int]
    payload_data: bytes
    properties: Mapping[int, bytes]

    def __len__(self) -> int:
        return len(self.kinds)

    def payload(self, index: int) -> bytes:
        return self.payload_data[self.payload_offsets[index] : self.payload_offsets[index + 1]]

    def payloads(self) -> list[bytes]:
        """All payloads as separate objects, in order."""
        data, offsets = self.payload_data, self.payload_offsets
        return [data[a:b] for a, b in pairwise(offsets)]

    def published_properties(self, index: int) -> bytes:
        """A message's properties as they were published; b"" where there are none."""
        return untraced(self.flags[index], self.properties.get(index, b""))

    def traced(self) -> list[tuple[int, bytes]]:
        """(index, traceparent) of the records that are traced; costs nothing where no record has properties."""
        if not self.properties or not (np.frombuffer(self.flags, np.uint8) & FLAG_TRACED).any():
            return []
        found = ((index, trace_of(self.flags[index], raw)) for index, raw in self.properties.items())
        return [(index, trace) for index, trace in found if trace]

    def of_kind(self, kind: Kind) -> Iterator[int]:
        """Indexes of the records of one kind, in order; costs nothing where there are none."""
        needle, at = bytes((kind,)), -1
        while (at := self.kinds.find(needle, at + 1)) >= 0:
            yield at


def _little_endian(values: array[int]) -> bytes:
    if sys.byteorder == "big":  # pragma: no cover - no such machine in the tests
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()


def encode_columns(
    *,
    kinds: bytes,
    flags: bytes,
    clients: Sequence[tuple[str, str]],
    client_index: array[int],
    topics: Sequence[bytes],
    topic_index: array[int],
    packet_ids: array[int],
    received_delta_ms: array[int],
    payloads: Sequence[bytes],
    properties: Mapping[int, bytes],
) -> bytes:
    """Pack n records into a block's body.

    Args: as in `Columns`; `payloads` is one bytes object per record.
    Returns:
        The msgpack body, before compression.
    """
    offsets = array("I", accumulate(map(len, payloads), initial=0))
    body: bytes = msgpack.packb(
        (
            COLUMNS_VERSION,
            kinds,
            flags,
            clients,
            _little_endian(client_index),
            topics,
            _little_endian(topic_index),
            _little_endian(packet_ids),
            _little_endian(received_delta_ms),
            _little_endian(offsets),
            b"".join(payloads),
            properties,
        ),
        use_bin_type=True,
    )
    return body


def _column(typecode: str, raw: bytes, count: int, name: str) -> array[int]:
    column = array(typecode)
    if len(raw) != count * column.itemsize:
        raise _damaged(f"column {name} has the wrong length")
    column.frombytes(raw)
    if sys.byteorder == "big":  # pragma: no cover - no such machine in the tests
        column.byteswap()
    return column


def _damaged(what: str) -> LogDamaged:
    return LogDamaged(
        f"A block's body is not valid: {what}.",
        hint="Run 'homeport log verify'; the block's checksum holds, so its writer was faulty or is newer.",
    )


def decode_columns(body: bytes) -> Columns:
    """Unpack a block's body.

    Raises:
        LogDamaged: if it is not what `encode_columns` of this or an older version makes.
    """
    try:
        fields = _decode_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(f"not a column array: {error}") from error
    (
        version,
        kinds,
        flags,
        clients,
        client_index,
        topics,
        topic_index,
        packet_ids,
        delta,
        offsets,
        data,
        properties,
    ) = fields
    if version != COLUMNS_VERSION:
        raise _damaged(f"column array of version {version}")
    if len(kinds) != len(flags):
        raise _damaged("kinds and flags differ in length")
    count = len(kinds)
    if count > FRAME_RECORD_COUNT_MAX:
        raise _damaged(f"{count} records, the most is {FRAME_RECORD_COUNT_MAX}")
    if properties and not (min(properties) >= 0 and max(properties) < count):
        raise _damaged("properties of a record that isn't there")
    columns = Columns(
        kinds=kinds,
        flags=flags,
        clients=clients,
        client_index=_column("H", client_index, count, "client_index"),
        topics=topics,
        topic_index=_column("H", topic_index, count, "topic_index"),
        packet_ids=_column("H", packet_ids, count, "packet_ids"),
        received_delta_ms=_column("I", delta, count, "received_delta_ms"),
        payload_offsets=_column("I", offsets, count + 1, "payload_offsets"),
        payload_data=data,
        properties=properties,
    )
    if count and (
        _u16(columns.client_index).max() >= len(clients) or _u16(columns.topic_index).max() >= len(topics)
    ):
        raise _damaged("an index points beyond its dictionary")
    _check_offsets(columns.payload_offsets, len(data))
    return columns


def _u16(column: array[int]) -> NDArray[np.uint16]:
    return np.frombuffer(column, np.uint16)


def _check_offsets(offsets: array[int], data_bytes: int) -> None:
    numbers = np.frombuffer(offsets, np.uint32)
    if offsets[0] != 0 or offsets[-1] != data_bytes or (numbers[1:] < numbers[:-1]).any():
        raise _damaged("payload offsets do not fit the payloads")
