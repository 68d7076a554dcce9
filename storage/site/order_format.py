"""The bytes of an order's file: a header page, then entries of 76 bytes, each sealed by a CRC that continues from the one before.

    page 0: the header, twice (at 0 and 2,048) | entry 0 | entry 1 | …

An entry's CRC is seeded with the four bytes of CRC before it, wherever they came from. So an entry can be checked whose predecessor
is damaged, and one of another file, or of an earlier use of the same blocks, is none of this chain.
Source: docs/LOG_FORMAT.md "Order of a site".
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from appliance.core.limits import PAGE_BYTES
from storage.log.layout import crc32c

MAGIC: Final = b"HPSITEOR"
FORMAT_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sHHIIIQ16s")
_CRC: Final = struct.Struct("<I")
_HEADER_OFFSETS: Final = (0, 2048)
_FIELDS: Final = struct.Struct("<BBHIIQQQ32sHH")
ENTRY_BYTES: Final = 76
BATCH_COUNT_MAX: Final = 1_024
"""Entries that are fsynced together."""
ENTRIES_OFFSET: Final = PAGE_BYTES
NO_HASH: Final = bytes(32)


class EntryKind(IntEnum):
    RANGE = 1
    """Records of a stream that come next."""
    STREAM = 2
    """A number's stream, before its first use: node id and branch."""
    TAKEN = 3
    """After a compaction: how far a stream had been taken."""


class Entry(NamedTuple):
    """One entry.

    Args:
        stream: Its number in this file; 0 is the own one.
        site_epoch, site_seq: Of a range, what its first record is called on the site.
        epoch, seq, record_count: Of a range, in its stream. Of TAKEN, `seq` is the next one.
        hash: Of the frame with which it ends, zeros where that could not be read; of STREAM, 16 bytes of node id and a branch of 16
            characters, zeros for none.
        at, batch: It is number `at` of `batch` entries that were fsynced together; filled in by whoever writes them.
    """

    kind: int
    stream: int
    site_epoch: int = 0
    epoch: int = 0
    record_count: int = 0
    site_seq: int = 0
    seq: int = 0
    hash: bytes = NO_HASH
    at: int = 0
    batch: int = 1

    @property
    def next_seq(self) -> int:
        return self.seq + self.record_count

    @property
    def site_next_seq(self) -> int:
        return self.site_seq + self.record_count


class OrderHeader(NamedTuple):
    """What a file begins with.

    Args:
        salt: Seeds the first entry's CRC.
        epoch_shift: Added to the own stream's epochs: 0, but where another order was lost.
        node_id: Whose order it is; 16 bytes.
    """

    salt: int
    epoch_shift: int
    created_at_ms: int
    node_id: bytes


def encode_header(header: OrderHeader) -> bytes:
    """The header's page."""
    fields = _HEADER.pack(
        MAGIC,
        FORMAT_VERSION,
        0,
        header.salt,
        header.epoch_shift,
        0,
        header.created_at_ms,
        header.node_id,
    )
    once = (fields + _CRC.pack(crc32c(0, fields))).ljust(_HEADER_OFFSETS[1], b"\0")
    return once + once


def decode_header(page: bytes) -> OrderHeader | None:
    """The header of a page; None where neither copy is whole."""
    for offset in _HEADER_OFFSETS:
        data = page[offset : offset + _HEADER.size + _CRC.size]
        if len(data) < _HEADER.size + _CRC.size or not data.startswith(MAGIC):
            continue
        if crc32c(0, data[: _HEADER.size]) != _CRC.unpack_from(data, _HEADER.size)[0]:
            continue
        _, version, _, salt, shift, _, created_at_ms, node_id = _HEADER.unpack_from(data)
        if version == FORMAT_VERSION:
            return OrderHeader(salt, shift, created_at_ms, node_id)
    return None


def encode_entry(entry: Entry, before_crc: int) -> bytes:
    """One entry behind another."""
    fields = _FIELDS.pack(
        entry.kind,
        0,
        entry.stream,
        entry.site_epoch,
        entry.epoch,
        entry.record_count,
        entry.site_seq,
        entry.seq,
        entry.hash,
        entry.at,
        entry.batch,
    )
    return fields + _CRC.pack(crc32c(before_crc, fields))


def crc_of(data: bytes) -> int:
    """The CRC with which an entry ends: what the next one's is seeded with."""
    return int(_CRC.unpack_from(data, ENTRY_BYTES - _CRC.size)[0])


def decode_entry(data: bytes, before_crc: int) -> Entry | None:
    """The entry in these bytes; None when they are none that follows."""
    if len(data) != ENTRY_BYTES or crc32c(before_crc, data[: -_CRC.size]) != crc_of(data):
        return None
    kind, _, *fields = _FIELDS.unpack_from(data)
    return Entry(kind, *fields)


def branch_bytes(branch: str) -> bytes:
    return branch.encode().ljust(16, b"\0")


def stream_entry(number: int, node_id: str, branch: str) -> Entry:
    """What says which stream a number stands for.

    Args:
        node_id: 32 hexadecimal digits. branch: "" or up to 16 characters.
    """
    return Entry(EntryKind.STREAM, number, hash=bytes.fromhex(node_id) + branch_bytes(branch))


def stream_of(entry: Entry) -> tuple[str, str]:
    """(node id, branch) of such an entry."""
    return entry.hash[:16].hex(), entry.hash[16:].rstrip(b"\0").decode("ascii", "replace")
