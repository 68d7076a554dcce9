"""What follows the frames of a sealed segment: counts, sparse index, leaf hashes, root, signature.

    fixed fields | leaf hashes | index | key id | signature | zeros | footer_bytes u32, CRC u32, end magic

The end magic is the last of the file, so the footer is found from there. It begins on a page and fills whole
pages. Signed is everything from its first byte to the end of the key id, after a domain string.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Final

from appliance.core.limits import LEAF_BYTES, MIB, SEGMENT_BYTES_MAX
from storage.log.layout import FORMAT_VERSION, HASH_BYTES, crc32c, round_to_page, sha256

MAGIC: Final = b"HPLOGEND"
END_MAGIC: Final = b"HPLOGFIN"
ED25519: Final = 1
_ROOT_DOMAIN: Final = b"homeport log root 1\0"
_SEAL_DOMAIN: Final = b"homeport log seal 1\0"
_FIELDS: Final = struct.Struct("<8sHHIQQQQQQIIQQQ32sII32sIHH")
_ENTRY: Final = struct.Struct("<QQQ")
_TAIL: Final = struct.Struct("<II8s")
TAIL_BYTES: Final = _TAIL.size
FOOTER_BYTES_MAX: Final = MIB
"""1 GiB of segment: 1,024 leaves, 32 KiB, and 4,096 index entries, 96 KiB."""
assert SEGMENT_BYTES_MAX // LEAF_BYTES * HASH_BYTES < FOOTER_BYTES_MAX


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A frame that reading may start at.

    Args:
        first_seq: The frame's.
        offset: The frame's, bytes.
        time_before_ms: The latest `last_time_ms` of all frames of the segment before it; 0 for the first.
    """

    first_seq: int
    offset: int
    time_before_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """What a sealed segment says about itself. Times are wall time, ms; `last_time_ms` is the latest of all."""

    epoch: int
    first_seq: int
    last_seq: int
    first_time_ms: int
    last_time_ms: int
    sealed_at_ms: int
    frames_end: int
    frame_count: int
    record_count: int
    stored_bytes: int
    raw_bytes: int
    last_hash: bytes
    leaves: tuple[bytes, ...]
    index: tuple[IndexEntry, ...]
    key_id: bytes = b""
    signature: bytes = b""

    @property
    def root(self) -> bytes:
        return root_hash(self.leaves)


def root_hash(leaves: tuple[bytes, ...] | list[bytes]) -> bytes:
    """The segment's root: SHA-256 of a domain string and all leaf hashes in order."""
    return sha256(_ROOT_DOMAIN, *leaves)


def _signed_part(footer: Footer, signature_bytes: int) -> bytes:
    fields = _FIELDS.pack(
        MAGIC,
        FORMAT_VERSION,
        ED25519,
        footer.epoch,
        footer.first_seq,
        footer.last_seq,
        footer.first_time_ms,
        footer.last_time_ms,
        footer.sealed_at_ms,
        footer.frames_end,
        footer.frame_count,
        0,
        footer.record_count,
        footer.stored_bytes,
        footer.raw_bytes,
        footer.last_hash,
        LEAF_BYTES,
        len(footer.leaves),
        footer.root,
        len(footer.index),
        len(footer.key_id),
        signature_bytes,
    )
    index = b"".join(_ENTRY.pack(e.first_seq, e.offset, e.time_before_ms) for e in footer.index)
    return b"".join((fields, *footer.leaves, index, footer.key_id))


def signed_bytes(footer: Footer, signature_bytes: int = 64) -> bytes:
    """What the signature of a footer is over."""
    return _SEAL_DOMAIN + _signed_part(footer, signature_bytes)


def with_signature(footer: Footer, key_id: bytes, signature: bytes) -> Footer:
    return replace(footer, key_id=key_id, signature=signature)


def encode_footer(footer: Footer) -> bytes:
    """The footer's bytes, whole pages."""
    content = _signed_part(footer, len(footer.signature)) + footer.signature
    size = round_to_page(len(content) + TAIL_BYTES)
    covered = content + bytes(size - TAIL_BYTES - len(content)) + struct.pack("<I", size)
    return covered + struct.pack("<I8s", crc32c(0, covered), END_MAGIC)


def footer_bytes_of(tail: bytes) -> int | None:
    """How long the footer is, from the last 16 bytes of a file; None when no footer ends there."""
    if len(tail) != TAIL_BYTES:
        return None
    size, _, magic = _TAIL.unpack(tail)
    return size if magic == END_MAGIC and _FIELDS.size < size <= FOOTER_BYTES_MAX else None


def decode_footer(data: bytes) -> Footer | None:
    """The footer in exactly these bytes; None when it is not whole."""
    if footer_bytes_of(data[-TAIL_BYTES:]) != len(data) or not data.startswith(MAGIC):
        return None
    if crc32c(0, data[:-12]) != _TAIL.unpack_from(data, len(data) - TAIL_BYTES)[1]:
        return None
    (
        _,
        version,
        algorithm,
        epoch,
        first_seq,
        last_seq,
        first_time_ms,
        last_time_ms,
        sealed_at_ms,
        frames_end,
        frame_count,
        _,
        record_count,
        stored_bytes,
        raw_bytes,
        last_hash,
        leaf_bytes,
        leaf_count,
        root,
        index_count,
        key_id_bytes,
        signature_bytes,
    ) = _FIELDS.unpack_from(data)
    at = _FIELDS.size
    leaves_end = at + leaf_count * HASH_BYTES
    index_end = leaves_end + index_count * _ENTRY.size
    key_end = index_end + key_id_bytes
    if version != FORMAT_VERSION or algorithm != ED25519 or leaf_bytes != LEAF_BYTES:
        return None
    if key_end + signature_bytes > len(data) - TAIL_BYTES:
        return None
    leaves = tuple(data[i : i + HASH_BYTES] for i in range(at, leaves_end, HASH_BYTES))
    if root != root_hash(leaves):
        return None
    return Footer(
        epoch=epoch,
        first_seq=first_seq,
        last_seq=last_seq,
        first_time_ms=first_time_ms,
        last_time_ms=last_time_ms,
        sealed_at_ms=sealed_at_ms,
        frames_end=frames_end,
        frame_count=frame_count,
        record_count=record_count,
        stored_bytes=stored_bytes,
        raw_bytes=raw_bytes,
        last_hash=last_hash,
        leaves=leaves,
        index=tuple(IndexEntry(*entry) for entry in _ENTRY.iter_unpack(data[leaves_end:index_end])),
        key_id=data[index_end:key_end],
        signature=data[key_end : key_end + signature_bytes],
    )
