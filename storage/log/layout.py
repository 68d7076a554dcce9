"""What every part of the log's format shares: version, checksums, hashes, pages. docs/LOG_FORMAT.md is the specification.

All integers are little-endian. CRC-32C (Castagnoli) finds accidents, SHA-256 proves; both belong to format
version 1 and change only with it.
"""

from __future__ import annotations

import hashlib
from typing import Final

from google_crc32c import extend as _extend

from appliance.core.limits import PAGE_BYTES

FORMAT_VERSION: Final = 1
HASH_BYTES: Final = 32
NODE_ID_BYTES: Final = 16
ZERO_HASH: Final = bytes(HASH_BYTES)
ZERO_PAGE: Final = bytes(PAGE_BYTES)

_GENESIS_DOMAIN: Final = b"homeport log genesis 1\0"


def crc32c(seed: int, *parts: bytes) -> int:
    """CRC-32C of the parts one after another, continued from `seed`.

    Args:
        seed: A CRC-32C value: 0 for a fresh one, a segment's salt for anything after its header.
        parts: `bytes` only; the C extension takes no other buffer.
    Source: docs/LOG_FORMAT.md "Checksums".
    """
    for part in parts:
        seed = _extend(seed, part)
    return seed


def sha256(*parts: bytes | memoryview) -> bytes:
    """SHA-256 of the parts one after another, 32 bytes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def genesis_hash(node_id: bytes, stream: str) -> bytes:
    """The hash that the first frame of a stream names as the one before it.

    It names the stream, so that chains of two streams never have a common beginning.
    Source: docs/LOG_FORMAT.md "The chain".
    """
    return sha256(_GENESIS_DOMAIN, node_id, stream.encode())


def round_to_page(size: int) -> int:
    """The next multiple of 4,096 at or above `size` bytes."""
    return -(-size // PAGE_BYTES) * PAGE_BYTES
