"""The first 4,096 bytes of a segment: whose it is, where it begins, what it continues, and the salt.

The page holds the header twice (at 0 and at 2,048), so one rotten sector doesn't take the salt, and with it
the checksums of 64 MiB, away.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from appliance.core.errors import UsageError
from appliance.core.limits import PAGE_BYTES, STREAM_NAME_BYTES_MAX
from storage.log.layout import FORMAT_VERSION, NODE_ID_BYTES, ZERO_HASH, crc32c

MAGIC: Final = b"HPLOGSEG"
COPY_BYTES: Final = 512
COPY_OFFSETS: Final = (0, 2048)
_FIELDS: Final = struct.Struct("<8sHHIQQ16sIIQ32sQ32sB64s16s")
BRANCH_BYTES: Final = 16
NO_BRANCH: Final = bytes(BRANCH_BYTES)
_CRC: Final = struct.Struct("<I")
_PADDING: Final = bytes(COPY_BYTES - _FIELDS.size - _CRC.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHeader:
    """Which part of which stream a segment holds.

    `continues_hash` is the hash of the frame that ends with `continues_seq`, in whichever segment that is:
    the chain position this segment goes on from. `sealed_*` name the newest sealed segment when this one was
    opened (first_seq 0: none yet); sealing goes on beside writing, so it is often not the one just before. `branch`
    is the random number of the grant by which an epoch was begun without the fleet's word, in its first segment.
    """

    node_id: bytes
    stream: str
    epoch: int
    first_seq: int
    salt: int
    continues_hash: bytes
    created_at_ms: int
    sealed_epoch: int = 0
    sealed_first_seq: int = 0
    sealed_root: bytes = ZERO_HASH
    branch: bytes = NO_BRANCH

    @property
    def continues_seq(self) -> int:
        """The sequence this segment continues after; 0 at the beginning of a stream."""
        return self.first_seq - 1


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The segment's first page, 4,096 bytes."""
    name = header.stream.encode()
    assert len(header.node_id) == NODE_ID_BYTES
    assert 0 < len(name) <= STREAM_NAME_BYTES_MAX
    fields = _FIELDS.pack(
        MAGIC,
        FORMAT_VERSION,
        0,
        header.epoch,
        header.first_seq,
        header.created_at_ms,
        header.node_id,
        header.salt,
        header.sealed_epoch,
        header.continues_seq,
        header.continues_hash,
        header.sealed_first_seq,
        header.sealed_root,
        len(name),
        name,
        header.branch,
    )
    copy = fields + _PADDING
    copy += _CRC.pack(crc32c(0, copy))
    page = bytearray(PAGE_BYTES)
    for offset in COPY_OFFSETS:
        page[offset : offset + COPY_BYTES] = copy
    return bytes(page)


def decode_segment_header(page: bytes) -> SegmentHeader | None:
    """The header in a segment's first page, from whichever copy is whole; None when neither is."""
    for offset in COPY_OFFSETS:
        header = _decode_copy(page[offset : offset + COPY_BYTES])
        if header is not None:
            return header
    return None


def _decode_copy(copy: bytes) -> SegmentHeader | None:
    if len(copy) != COPY_BYTES or not copy.startswith(MAGIC):
        return None
    if crc32c(0, copy[: -_CRC.size]) != _CRC.unpack_from(copy, COPY_BYTES - _CRC.size)[0]:
        return None
    (
        _,
        version,
        _,
        epoch,
        first_seq,
        created_at_ms,
        node_id,
        salt,
        sealed_epoch,
        continues_seq,
        continues_hash,
        sealed_first_seq,
        sealed_root,
        name_bytes,
        name,
        branch,
    ) = _FIELDS.unpack_from(copy)
    if version != FORMAT_VERSION or continues_seq + 1 != first_seq:
        return None
    return SegmentHeader(
        node_id=node_id,
        stream=name[:name_bytes].decode(),
        epoch=epoch,
        first_seq=first_seq,
        salt=salt,
        continues_hash=continues_hash,
        created_at_ms=created_at_ms,
        sealed_epoch=sealed_epoch,
        sealed_first_seq=sealed_first_seq,
        sealed_root=sealed_root,
        branch=branch,
    )


def check_stream(stream: str, node_id: bytes) -> None:
    """Whether a header has room for them.

    Raises:
        UsageError: it hasn't.
    """
    if not 0 < len(stream.encode()) <= STREAM_NAME_BYTES_MAX or len(node_id) != NODE_ID_BYTES:
        raise UsageError(
            "A stream's name has 1 to 64 bytes, a node id 16.", hint="This is a mistake in the caller."
        )
