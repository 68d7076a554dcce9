"""Chunks and manifests, sealed: what comes back is what went in, and anything else is refused before it takes memory."""

from __future__ import annotations

import struct

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import StorageError
from appliance.core.limits import BACKUP_CHUNK_BYTES
from storage.backup import sealing
from storage.backup.sealing import HEADER_BYTES, RepositoryKeys

KEYS = RepositoryKeys(bytes(range(32)))


@given(st.binary(min_size=1, max_size=5000))
def test_a_chunk_comes_back(content: bytes) -> None:
    chunk_id = KEYS.chunk_id(content)
    assert KEYS.open_chunk(chunk_id, KEYS.seal_chunk(chunk_id, content)) == content


def test_what_compresses_is_small_and_what_does_not_is_as_it_is() -> None:
    zeros = bytes(1_000_000)
    assert len(KEYS.seal_chunk(KEYS.chunk_id(zeros), zeros)) < 1000
    noise = b"".join(struct.pack(">Q", (at * 0x9E3779B97F4A7C15) % 2**64) for at in range(1000))
    assert len(KEYS.seal_chunk(KEYS.chunk_id(noise), noise)) == len(noise) + HEADER_BYTES + 16


def test_a_name_tells_nobody_what_is_in_it() -> None:
    other = RepositoryKeys(bytes(32))
    assert KEYS.chunk_id(b"a") == KEYS.chunk_id(b"a")
    assert KEYS.chunk_id(b"a") != other.chunk_id(b"a")


def test_the_same_content_is_never_sealed_the_same_way() -> None:
    chunk_id = KEYS.chunk_id(b"a")
    assert KEYS.seal_chunk(chunk_id, b"a") != KEYS.seal_chunk(chunk_id, b"a")


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_changed_byte_is_found(at: int, change: int) -> None:
    chunk_id = KEYS.chunk_id(b"reading")
    stored = bytearray(KEYS.seal_chunk(chunk_id, b"reading"))
    stored[at % len(stored)] ^= change
    with pytest.raises(StorageError) as found:
        KEYS.open_chunk(chunk_id, bytes(stored))
    assert found.value.code == "backup_damaged"


@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_refused_in_order(stored: bytes) -> None:
    with pytest.raises(StorageError):
        KEYS.open_chunk(bytes(32), stored)


def test_a_chunk_in_the_place_of_another_is_found() -> None:
    one, other = KEYS.chunk_id(b"1"), KEYS.chunk_id(b"2")
    with pytest.raises(StorageError, match="changed, or sealed by another key"):
        KEYS.open_chunk(other, KEYS.seal_chunk(one, b"1"))


def test_who_has_the_key_can_not_give_a_chunk_a_wrong_name() -> None:
    wrong = KEYS.chunk_id(b"something else")
    with pytest.raises(StorageError, match="holds something else than its name says"):
        KEYS.open_chunk(wrong, KEYS.seal_chunk(wrong, b"content"))


def test_a_manifest_is_sealed_with_its_name() -> None:
    sealed = KEYS.seal_manifest("20261127T000000Z-00000000", b"content")
    assert KEYS.open_manifest("20261127T000000Z-00000000", sealed) == b"content"
    with pytest.raises(StorageError):
        KEYS.open_manifest("20261127T000000Z-00000001", sealed)


def forge(content: bytes, size: int, *, flags: int = sealing.ZSTD) -> tuple[bytes, bytes]:
    """A chunk that somebody who has the key made by hand: (name, stored)."""
    chunk_id = KEYS.chunk_id(b"bomb")
    header = struct.pack("<4sBBHI12s", b"HPBC", 1, flags, 0, size, bytes(12))
    cipher = ChaCha20Poly1305(sealing._derive(KEYS._chunk_key, chunk_id))
    return chunk_id, header + cipher.encrypt(bytes(12), content, header + chunk_id)


@pytest.mark.parametrize("said", [1000, BACKUP_CHUNK_BYTES])
@pytest.mark.parametrize("has_size", [True, False])
def test_a_decompression_bomb_gets_no_memory(said: int, has_size: bool) -> None:
    """Its frame says a size (or none), the header another; 256 MiB of zeros are 8 KiB packed."""
    bomb = zstandard.ZstdCompressor(write_content_size=has_size).compress(bytes(256 * 1024 * 1024))
    with pytest.raises(StorageError, match="another size than it says"):
        KEYS.open_chunk(*forge(bomb, said))


def test_a_chunk_that_says_too_much_is_refused() -> None:
    with pytest.raises(StorageError, match="at most"):
        KEYS.open_chunk(*forge(b"", BACKUP_CHUNK_BYTES + 1))


def test_what_is_behind_a_frame_is_refused() -> None:
    packed = zstandard.ZstdCompressor().compress(b"x" * 100)
    with pytest.raises(StorageError, match="can't be unpacked"):
        KEYS.open_chunk(*forge(packed + b"more", 100))


def test_a_flag_that_is_not_known_is_refused() -> None:
    with pytest.raises(StorageError, match="header that isn't known"):
        KEYS.open_chunk(*forge(b"x", 1, flags=2))


def test_content_of_another_length_is_refused() -> None:
    with pytest.raises(StorageError, match="has 1 bytes and says 2"):
        KEYS.open_chunk(*forge(b"x", 2, flags=0))
