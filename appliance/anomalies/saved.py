"""What was learned, as bytes: a head, the columns, the profiles, a checksum. Pure.

bytes   content
4       "HPAN"
2       version, little-endian as all that follows
4       CRC-32 of all that follows
48      series, profiles, started_ms, scored, left_out, highest: 64 bits each
…       columns (columns.py), then profiles (season.py)
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import astuple, dataclass
from typing import Final

from appliance.anomalies.columns import BYTES_A_SERIES
from appliance.anomalies.season import PROFILE
from appliance.core.errors import StorageError
from appliance.core.limits_anomalies import ANOMALY_PROFILE_COUNT_MAX, ANOMALY_SERIES_COUNT_MAX

MAGIC: Final = b"HPAN"
VERSION: Final = 1
_OUTER: Final = struct.Struct("<4sHI")
_HEAD: Final = struct.Struct("<6q")


@dataclass(frozen=True, slots=True)
class Head:
    """Counts, in the order in which they are saved."""

    series: int
    profiles: int
    started_ms: int
    scored: int
    left_out: int
    highest: int


def pack(head: Head, columns: bytes, profiles: bytes) -> bytes:
    """The bytes of it all."""
    body = b"".join((_HEAD.pack(*astuple(head)), columns, profiles))
    return _OUTER.pack(MAGIC, VERSION, zlib.crc32(body)) + body


def unpack(data: bytes) -> tuple[Head, memoryview, memoryview]:
    """(head, columns, profiles), checked.

    Raises:
        StorageError: not what `pack` gave, or of another version.
    """
    if len(data) < _OUTER.size + _HEAD.size:
        raise damaged(f"it has {len(data)} bytes, less than its head")
    magic, version, checksum = _OUTER.unpack_from(data)
    if magic != MAGIC:
        raise damaged("it does not begin as one")
    if version != VERSION:
        raise damaged(f"it is of version {version}, this program reads {VERSION}")
    body = memoryview(data)[_OUTER.size :]
    if zlib.crc32(body) != checksum:
        raise damaged("its checksum is another")
    head = Head(*_HEAD.unpack_from(body))
    if not (0 <= head.series <= ANOMALY_SERIES_COUNT_MAX and 0 <= head.profiles <= ANOMALY_PROFILE_COUNT_MAX):
        raise damaged(f"it counts {head.series} series and {head.profiles} profiles")
    middle = _HEAD.size + head.series * BYTES_A_SERIES
    if len(body) != middle + (head.profiles + 1) * PROFILE.itemsize:
        raise damaged("it is longer or shorter than its head says")
    return head, body[_HEAD.size : middle], body[middle:]


def damaged(why: str) -> StorageError:
    """The error that says so."""
    return StorageError(
        f"The saved state of the anomaly detectors can't be read: {why}.",
        hint="It is learned anew from the log; nothing needs to be done.",
        code="anomaly_state_damaged",
    )
