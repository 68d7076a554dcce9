"""Chunks as they are sent: the same on the other side, small where frames are mostly padding, and no bomb is ever unpacked."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
import zstandard

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits_replication import UNPACKED_CHUNK_BYTES_MAX
from replication.packing import pack, unpack
from storage.replicas.streams import Chunk, StreamId

STREAM = StreamId("0f" * 16, "telemetry")
CHUNK = Chunk(STREAM, 1, 1, bytes(4096), 1, b"p" * 32, 9, b"h" * 32, 1700, b"frame" + bytes(4091))


def test_a_chunk_is_the_same_on_the_other_side_and_its_padding_is_not_sent() -> None:
    packed = pack(CHUNK)
    assert unpack(packed) == CHUNK
    assert len(packed.data) < 300
    assert (packed.first_seq, packed.next_seq, packed.hash, packed.last_at_ms) == (1, 9, b"h" * 32, 1700)


def test_a_branch_has_another_name_here_than_at_its_holder() -> None:
    branch = StreamId(STREAM.node_id, "telemetry", "01234567")
    assert unpack(replace(pack(CHUNK), stream=branch)).stream == branch


def without_size(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zstd",
        zstandard.compress(b"no chunk"),
        without_size(msgspec.msgpack.encode(CHUNK)),
        zstandard.compress(bytes(UNPACKED_CHUNK_BYTES_MAX + 1)),
        pack(CHUNK).data[:-3],
        pack(msgspec.structs.replace(CHUNK, next_seq=10)).data,
    ],
    ids=["nothing", "no zstd", "no chunk", "no size", "bomb", "cut off", "another chunk"],
)
def test_what_is_no_chunk_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        unpack(replace(pack(CHUNK), data=data))
