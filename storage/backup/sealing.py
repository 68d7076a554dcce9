"""What a repository's key gives: names of chunks, and chunks and manifests that are sealed. Pure; docs/BACKUP.md has the format.

A chunk's name is a keyed hash of what is in it, so that equal pieces are stored once and a name tells nobody what it is.
Sealing is ChaCha20-Poly1305 (RFC 8439), under a key of its own for each name with a random nonce: quick also where a
processor has no instructions for AES.

Must not know: files, and where the key comes from.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from typing import Final

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.core.ids import RandomBytes
from appliance.core.limits import BACKUP_CHUNK_BYTES, BACKUP_MANIFEST_BYTES_MAX
from storage.backup.errors import damaged

KEY_BYTES: Final = 32
ID_BYTES: Final = 32
CHUNK_MAGIC: Final = b"HPBC"
MANIFEST_MAGIC: Final = b"HPBM"
FORMAT: Final = 1
ZSTD: Final = 1
_HEADER: Final = struct.Struct("<4sBBHI12s")
"""Magic, format, flags (bit 0: the content is one zstd frame), zero, bytes unpacked, nonce."""
HEADER_BYTES: Final = _HEADER.size
TAG_BYTES: Final = 16
ZSTD_LEVEL: Final = 3
_WORTH_SHARE: Final = 16
"""A piece is stored compressed where that saves a sixteenth of it."""


class RepositoryKeys:
    """Keys for each purpose, derived from a repository's key (HKDF-SHA256, RFC 5869).

    Args:
        key: 32 random bytes.
    """

    def __init__(self, key: bytes, *, random_bytes: RandomBytes = secrets.token_bytes) -> None:
        assert len(key) == KEY_BYTES
        self._random = random_bytes
        self._id_key = _derive(key, b"chunk-id/1")
        self._chunk_key = _derive(key, b"chunk/1")
        self._manifest_key = _derive(key, b"manifest/1")
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True)
        self._decompressor = zstandard.ZstdDecompressor()

    def chunk_id(self, content: bytes) -> bytes:
        """A chunk's name, 32 bytes: HMAC-SHA256 of what is in it."""
        return hmac.digest(self._id_key, content, hashlib.sha256)

    def seal_chunk(self, chunk_id: bytes, content: bytes) -> bytes:
        """A chunk as it is stored.

        Args:
            content: 1 to BACKUP_CHUNK_BYTES bytes.
        """
        assert 0 < len(content) <= BACKUP_CHUNK_BYTES
        return self._seal(CHUNK_MAGIC, self._chunk_key, chunk_id, content)

    def open_chunk(self, chunk_id: bytes, stored: bytes) -> bytes:
        """What is in a stored chunk, proved to be what its name says.

        Raises:
            StorageError: `backup_damaged`.
        """
        content = self._open(CHUNK_MAGIC, self._chunk_key, chunk_id, stored, BACKUP_CHUNK_BYTES)
        if not hmac.compare_digest(self.chunk_id(content), chunk_id):
            raise damaged(f"Chunk {chunk_id.hex()[:16]} holds something else than its name says.")
        return content

    def seal_manifest(self, backup_id: str, content: bytes) -> bytes:
        """A manifest as it is stored. The backup's name is sealed with it: none can be put in another's place."""
        return self._seal(MANIFEST_MAGIC, self._manifest_key, backup_id.encode(), content)

    def open_manifest(self, backup_id: str, stored: bytes) -> bytes:
        """A stored manifest's content.

        Raises:
            StorageError: `backup_damaged`.
        """
        return self._open(
            MANIFEST_MAGIC, self._manifest_key, backup_id.encode(), stored, BACKUP_MANIFEST_BYTES_MAX
        )

    def _seal(self, magic: bytes, key: bytes, name: bytes, content: bytes) -> bytes:
        packed = self._compressor.compress(content)
        is_packed = len(packed) <= len(content) - len(content) // _WORTH_SHARE
        header = _HEADER.pack(magic, FORMAT, ZSTD if is_packed else 0, 0, len(content), self._random(12))
        cipher = ChaCha20Poly1305(_derive(key, name))
        return header + cipher.encrypt(header[-12:], packed if is_packed else content, header + name)

    def _open(self, magic: bytes, key: bytes, name: bytes, stored: bytes, bytes_max: int) -> bytes:
        what = name.hex()[:16] if magic == CHUNK_MAGIC else name.decode()
        if len(stored) < HEADER_BYTES + TAG_BYTES:
            raise damaged(f"{what} is cut off.")
        found, version, flags, zero, size, nonce = _HEADER.unpack_from(stored)
        if found != magic or version != FORMAT or flags & ~ZSTD or zero:
            raise damaged(f"{what} has a header that isn't known.")
        if not 0 < size <= bytes_max:
            raise damaged(f"{what} says that it has {size} bytes; at most {bytes_max} are allowed.")
        try:
            content = ChaCha20Poly1305(_derive(key, name)).decrypt(
                nonce, stored[HEADER_BYTES:], stored[:HEADER_BYTES] + name
            )
        except InvalidTag as error:
            raise damaged(f"{what} was changed, or sealed by another key.") from error
        if flags & ZSTD:
            content = self._unpack(content, size, what)
        if len(content) != size:
            raise damaged(f"{what} has {len(content)} bytes and says {size}.")
        return content

    def _unpack(self, packed: bytes, size: int, what: str) -> bytes:
        """One zstd frame of exactly `size` bytes; its own header is asked first, so that no bomb gets memory."""
        try:
            if zstandard.frame_content_size(packed) != size:
                raise damaged(f"{what} unpacks to another size than it says.")
            return self._decompressor.decompress(packed, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise damaged(f"{what} can't be unpacked: {error}.") from error


def _derive(key: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"homeport backup/" + info).derive(key)
