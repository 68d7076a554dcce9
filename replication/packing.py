"""A chunk as it is sent: msgpack, then zstd, which takes the padding of small frames away and halves most bodies.

What comes from a peer is unpacked only when it says how large it will be, and that is within bounds.
"""

from __future__ import annotations

from typing import Final

import msgspec
import zstandard

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits_replication import PACKED_CHUNK_BYTES_MAX, UNPACKED_CHUNK_BYTES_MAX
from replication.effects import PackedChunk
from storage.replicas.streams import Chunk

LEVEL: Final = 1
"""400 MB/s of the log's frames on one core, ten times what a link of this program carries."""
_HINT: Final = "Nothing was written; it is asked for again. Look at the peer's version and its memory."
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Chunk).decode


def pack(chunk: Chunk) -> PackedChunk:
    """The chunk as it is sent. Takes some ms for a MiB, without the interpreter's lock."""
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True)
    return PackedChunk(
        stream=chunk.stream,
        epoch=chunk.epoch,
        first_seq=chunk.first_seq,
        prev_hash=chunk.prev_hash,
        next_seq=chunk.next_seq,
        hash=chunk.hash,
        last_at_ms=chunk.last_at_ms,
        data=compressor.compress(_encode(chunk)),
    )


def unpack(packed: PackedChunk) -> Chunk:
    """The chunk that was sent, under the name that its stream has here.

    Raises:
        RemoteProtocolError: it is none, larger than one may be, or another than was announced.
    """
    data = packed.data
    try:
        size_bytes = zstandard.frame_content_size(data)
        if len(data) > PACKED_CHUNK_BYTES_MAX or not 0 <= size_bytes <= UNPACKED_CHUNK_BYTES_MAX:
            raise RemoteProtocolError("A chunk doesn't say its size, or is too large.", hint=_HINT)
        chunk = _decode(zstandard.ZstdDecompressor().decompress(data, max_output_size=size_bytes))
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise RemoteProtocolError(f"A chunk can't be unpacked: {error}.", hint=_HINT) from error
    told = (packed.epoch, packed.first_seq, packed.prev_hash, packed.next_seq, packed.hash)
    if told != (chunk.epoch, chunk.first_seq, chunk.prev_hash, chunk.next_seq, chunk.hash):
        raise RemoteProtocolError("A chunk is another than was announced.", hint=_HINT)
    return msgspec.structs.replace(chunk, stream=packed.stream)
