"""A piece as it lies in the tier: packed, and sealed for those who have the site's key for the tier. Pure.

    magic "HPT1" · flags u8 · generation u32 · epoch u32 · first u64 · next u64 · last time u64 · hash before 32 · hash 32
    · node id 16 · length of the stream's name u8 · name · branch 8 · nonce 12 · content

The head can be read by whoever keeps the piece, and is authenticated with the content (AES-256-GCM's associated data, NIST SP 800-38D),
so a piece put under another name, or at another place, is refused. The content is msgpack of a `Chunk`, then zstd. Numbers are big-endian.

The key belongs to a site and a generation of it: HKDF-SHA256 of the site key, so that the recovery kit opens every piece. Nonces are random:
96 bits, under one key for at most PIECES_PER_GENERATION_MAX pieces (the bound of SP 800-38D §8.3 is 2^32).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import msgspec
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.core.errors import StorageError
from appliance.core.limits_replication import TIER_PIECE_UNPACKED_BYTES_MAX
from replication.tier.pieces import Piece, PieceName
from storage.log.layout import HASH_BYTES
from storage.replicas.streams import STREAM_NAMES, Chunk, StreamId

MAGIC: Final = b"HPT1"
SEALED: Final = 1
"""Flag: the content is encrypted. Without it the nonce is zeros and the content only packed."""
NONCE_BYTES: Final = 12
NO_NONCE: Final = bytes(NONCE_BYTES)
TAG_BYTES: Final = 16
PIECES_PER_GENERATION_MAX: Final = 2**32
"""One each second of 136 years."""
LEVEL: Final = 3
"""Of zstd: 250 MB/s of the log's frames on one core, some percent smaller than level 1; bytes kept for years are paid for."""
HEAD: Final = struct.Struct(f">4sBIIQQQ{HASH_BYTES}s{HASH_BYTES}s16sB")
BRANCH_BYTES: Final = 8
KeyOf = Callable[[int], bytes]
"""The site's key for the tier of a generation, 32 bytes. Raises NotFound where it isn't had."""
_HINT: Final = "Another region or a peer may have it; the tier's audit puts a good one in its place."
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Chunk).decode


class PieceDamaged(StorageError):
    """The bytes of a piece are not what was put there, or were sealed with another key."""

    def __init__(self, what: str) -> None:
        super().__init__(f"A piece in the tier can't be used: {what}.", hint=_HINT, code="tier_piece_damaged")


def seal_piece(chunk: Chunk, key: bytes | None, generation: int, nonce: bytes = NO_NONCE) -> Piece:
    """The piece of a chunk. Takes some ms for a MiB, most of it without the interpreter's lock.

    Args:
        key: 32 bytes; None to leave the content readable.
        generation: Of the key; 0 without one.
        nonce: NONCE_BYTES that were never used with this key: of the system's randomness. Not used without a key.
    Raises:
        ValueError: there is a key and no nonce.
    """
    if key is not None and (len(nonce) != NONCE_BYTES or nonce == NO_NONCE):
        raise ValueError("a key without a nonce")
    packed = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress(_encode(chunk))
    head = _head(chunk, SEALED if key is not None else 0, generation) + (NO_NONCE if key is None else nonce)
    content = packed if key is None else AESGCM(key).encrypt(nonce, packed, head)
    data = head + content
    return Piece(name=_name(chunk, len(data)), data=data)


def name_of_piece(data: bytes, size_bytes: int | None = None) -> PieceName:
    """What the head of a piece says. `HEAD_BYTES_MAX` of its first bytes are enough; who needs proof opens it.

    Args:
        size_bytes: Of the whole piece, where `data` is its beginning.
    Raises:
        PieceDamaged: it is no piece.
    """
    return _parse(data, size_bytes)[0]


def open_piece(data: bytes, key_of: KeyOf, *, wanted: PieceName | None = None) -> Chunk:
    """The chunk in a piece. Its frames are not verified by that: the copy to which they are appended does so.

    Args:
        wanted: What was asked for.
    Raises:
        PieceDamaged: bytes are wrong, sealed with another key, or of another piece. NotFound: the key isn't had.
    """
    name, flags, generation, content_at = _parse(data)
    if wanted is not None and _place(name) != _place(wanted):
        raise PieceDamaged("it is another one than its name says")
    packed = data[content_at:]
    if flags & SEALED:
        nonce = data[content_at - NONCE_BYTES : content_at]
        try:
            packed = AESGCM(key_of(generation)).decrypt(nonce, packed, data[:content_at])
        except InvalidTag as error:
            raise PieceDamaged("its seal is broken, or of another site's key") from error
    try:
        size_bytes = zstandard.frame_content_size(packed)
        if not 0 <= size_bytes <= TIER_PIECE_UNPACKED_BYTES_MAX:
            raise PieceDamaged("it doesn't say its size, or is too large")
        chunk = _decode(zstandard.ZstdDecompressor().decompress(packed, max_output_size=size_bytes))
    except (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PieceDamaged(f"it can't be unpacked ({error})") from error
    if _place(_name(chunk, len(data))) != _place(name):
        raise PieceDamaged("its content is of another piece")
    return chunk


def _head(chunk: Chunk, flags: int, generation: int) -> bytes:
    name = chunk.stream.name.encode()
    return (
        HEAD.pack(
            MAGIC,
            flags,
            generation,
            chunk.epoch,
            chunk.first_seq,
            chunk.next_seq,
            chunk.last_at_ms,
            chunk.prev_hash,
            chunk.hash,
            bytes.fromhex(chunk.stream.node_id),
            len(name),
        )
        + name
        + chunk.stream.branch.encode().ljust(BRANCH_BYTES, b"\x00")
    )


HEAD_BYTES_MAX: Final = HEAD.size + max(map(len, STREAM_NAMES)) + BRANCH_BYTES + NONCE_BYTES


def _parse(data: bytes, size_bytes: int | None = None) -> tuple[PieceName, int, int, int]:
    """(name, flags, generation, where the content begins)."""
    if len(data) < HEAD.size or not data.startswith(MAGIC):
        raise PieceDamaged("it is none")
    _, flags, generation, epoch, first_seq, next_seq, last_at_ms, prev_hash, last_hash, node_id, length = (
        HEAD.unpack_from(data)
    )
    content_at = HEAD.size + length + BRANCH_BYTES + NONCE_BYTES
    stream_name = data[HEAD.size : HEAD.size + length].decode("ascii", "replace")
    branch = (
        data[HEAD.size + length : HEAD.size + length + BRANCH_BYTES]
        .rstrip(b"\x00")
        .decode("ascii", "replace")
    )
    if stream_name not in STREAM_NAMES or flags & ~SEALED or len(data) < content_at:
        raise PieceDamaged("a later version made it, or it is cut off")
    try:
        stream = msgspec.convert((node_id.hex(), stream_name, branch), StreamId)
    except msgspec.ValidationError as error:
        raise PieceDamaged("its stream's name is none") from error
    name = PieceName(
        stream=stream,
        epoch=epoch,
        first_seq=first_seq,
        prev_hash=prev_hash,
        next_seq=next_seq,
        hash=last_hash,
        size_bytes=len(data) if size_bytes is None else size_bytes,
        last_at_ms=last_at_ms,
    )
    return name, flags, generation, content_at


def _name(chunk: Chunk, size_bytes: int) -> PieceName:
    return PieceName(
        stream=chunk.stream,
        epoch=chunk.epoch,
        first_seq=chunk.first_seq,
        prev_hash=chunk.prev_hash,
        next_seq=chunk.next_seq,
        hash=chunk.hash,
        size_bytes=size_bytes,
        last_at_ms=chunk.last_at_ms,
    )


def _place(name: PieceName) -> tuple[StreamId, int, int, bytes, int, bytes]:
    return (name.stream, name.epoch, name.first_seq, name.prev_hash, name.next_seq, name.hash)
