"""Messages between nodes: what is sent is what is read, and what is out of bounds is refused, whoever sent it."""

from __future__ import annotations

import msgspec
import pytest

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits_replication import (
    BLOB_ASK_COUNT_MAX,
    DIGEST_ENTRY_COUNT_MAX,
    PART_BYTES_MAX,
    WIRE_MESSAGE_BYTES_MAX,
)
from replication import messages
from replication.messages import (
    AskHeads,
    BlobAsk,
    BlobEntry,
    BlobHave,
    BlobLacking,
    BlobPart,
    BlobWant,
    ChunkPart,
    ClaimAnswer,
    ClaimEpoch,
    ForkProof,
    HeadEntry,
    Heads,
    Lacking,
    Message,
    Pull,
    Stored,
    StoredEntry,
    decode_message,
    encode_message,
)
from storage.replicas.streams import SEQUENCE_MAX, StreamHead, StreamId

NODE = "0f" * 16
OTHER = "ab" * 16
HASH = b"h" * 32
STREAM = StreamId(NODE, "telemetry")
LARGEST = StreamHead(2**32 - 1, SEQUENCE_MAX, HASH, SEQUENCE_MAX, SEQUENCE_MAX, SEQUENCE_MAX)
BRANCH = StreamId(NODE, "telemetry", "01234567")

SAMPLES: tuple[Message, ...] = (
    Heads(True, (HeadEntry(STREAM, StreamHead(1, 9, HASH)),)),
    Stored((StoredEntry(OTHER, STREAM, 1, 9, HASH),)),
    Pull(7, STREAM, 1, 9, HASH, 65536),
    ChunkPart(0, STREAM, 1, 9, HASH, 12, HASH, 1700, 3, 0, b"abc"),
    Lacking(7, STREAM, "parted", 2, 5, HASH),
    ForkProof(STREAM, 1, 9, HASH, b"x" * 32, NODE, OTHER),
    AskHeads(NODE),
    BlobAsk((HASH,)),
    BlobHave((BlobEntry(HASH, 12),)),
    BlobWant(7, HASH, 0, 65536),
    BlobPart(7, HASH, 3, 0, b"abc"),
    BlobLacking(7, HASH, False),
    ClaimEpoch(7, NODE, 3, OTHER),
    ClaimAnswer(7, NODE, 3, True, 3),
)


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_is_read_as_it_was_sent(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


def test_the_largest_messages_fit_a_link() -> None:
    entry = StoredEntry(OTHER, BRANCH, 2**32 - 1, SEQUENCE_MAX, HASH)
    largest: tuple[Message, ...] = (
        Heads(True, (HeadEntry(BRANCH, LARGEST),) * DIGEST_ENTRY_COUNT_MAX),
        Stored((entry,) * DIGEST_ENTRY_COUNT_MAX),
        BlobHave((BlobEntry(HASH, 2**53),) * BLOB_ASK_COUNT_MAX),
        ChunkPart(
            2**32 - 1,
            BRANCH,
            2**32 - 1,
            SEQUENCE_MAX,
            HASH,
            SEQUENCE_MAX,
            HASH,
            SEQUENCE_MAX,
            2**24,
            2**24,
            bytes(PART_BYTES_MAX),
        ),
        BlobPart(2**32 - 1, HASH, 2**53, 2**53, bytes(PART_BYTES_MAX)),
    )
    for message in largest:
        assert decode_message(encode_message(message)) == message


def test_numbers_of_kinds_are_used_once() -> None:
    kinds = [
        kind
        for kind in vars(messages).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag
    ]
    numbers = [kind.__struct_config__.tag for kind in kinds]
    assert len(numbers) == len(set(numbers)) >= len(SAMPLES)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x91\xcc\xff",
        b"\xff" * 100,
        bytes(WIRE_MESSAGE_BYTES_MAX + 1),
        msgspec.msgpack.encode([23]),
        encode_message(AskHeads(NODE)) + b"\0",
        msgspec.msgpack.encode([26, "../../etc"]),
        msgspec.msgpack.encode([26, NODE + "\n"]),
        b"\x93\x14\xc3\xdd\xff\xff\xff\xff",
        b"\x92\x1e\xdd\xff\xff\xff\xff",
        msgspec.msgpack.encode([22, 7, [NODE, "telemetry"], 1, 9, HASH, 2**30]),
        msgspec.msgpack.encode([22, 7, [NODE, "telemetry"], 1, 2**63, HASH, 5]),
        msgspec.msgpack.encode([23, 0, [NODE, "telemetry"], 1, 9, HASH, 12, HASH, 0, 2**31, 0, b""]),
        msgspec.msgpack.encode([33, 7, HASH, 3, 0, bytes(PART_BYTES_MAX + 1)]),
        msgspec.msgpack.encode([40, 7, NODE, 3, "not an instance"]),
    ],
)
def test_what_is_out_of_bounds_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        decode_message(data)
    assert refused.value.hint


def test_what_a_newer_version_appends_is_ignored() -> None:
    assert decode_message(msgspec.msgpack.encode([26, NODE, "of a later version"])) == AskHeads(NODE)
