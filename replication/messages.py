"""What nodes say to each other, version 1: msgpack arrays, each with a number for its kind, every field bounded.

A message as it goes over a link is at most WIRE_MESSAGE_BYTES_MAX, so that a heartbeat never waits behind more than that;
what is larger (a chunk of a stream, a blob) is cut into parts. Its size is looked at before it is decoded, and the decoder refuses a
length that is out of bounds before it takes memory for it. Fields that a newer version appends are ignored.

Numbers of kinds: 1 to 9 links, 10 to 19 membership, 20 to 29 streams, 30 to 39 blobs, 40 to 49 epochs, 50 to 59 rotten parts, 60 to 69 cloud nodes
(replication/tier/gateway_messages.py), 70 on for others.
A number is never used again for something else.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits_replication import (
    BLOB_ASK_COUNT_MAX,
    BLOB_BYTES_MAX,
    DIGEST_ENTRY_COUNT_MAX,
    LEAF_NUMBER_MAX,
    PACKED_CHUNK_BYTES_MAX,
    PART_BYTES_MAX,
    PULL_CREDIT_BYTES_MAX,
    WIRE_MESSAGE_BYTES_MAX,
)
from replication.membership.messages import MembershipMessage
from storage.log.layout import HASH_BYTES
from storage.log.lost import LostRange
from storage.replicas.streams import (
    CHUNK_BYTES_MAX,
    SEQUENCE_MAX,
    Epoch,
    Hash,
    NodeId,
    Sequence,
    StreamHead,
    StreamId,
)

PROTOCOL_VERSION: Final = 1

Request = Annotated[int, Meta(ge=0, le=2**32 - 1)]
"""A number that whoever asks chose, and the answer bears."""
InstanceId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z", max_length=32)]
BlobId = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""SHA-256 of the blob's bytes."""
BlobBytes = Annotated[int, Meta(ge=0, le=BLOB_BYTES_MAX)]
PartBytes = Annotated[bytes, Meta(max_length=PART_BYTES_MAX)]
Wanted = Literal["frames", "segment", "footer"]
RottenKind = Literal["leaf", "frames", "header", "footer"]
LackReason = Literal["busy", "nothing", "unknown", "expired", "parted", "damaged"]


class HeadEntry(msgspec.Struct, frozen=True, array_like=True):
    """How far the one who says it has a stream.

    Args:
        is_near: As in StoredEntry.
    """

    stream: StreamId
    head: StreamHead
    is_near: bool = False


class Heads(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """A digest: what the sender holds, durably, so each entry also says that it is stored there.

    Args:
        is_full: All that it holds, of which this may be one page; else what changed.
    """

    is_full: bool
    entries: Annotated[tuple[HeadEntry, ...], Meta(max_length=DIGEST_ENTRY_COUNT_MAX)]


class StoredEntry(msgspec.Struct, frozen=True, array_like=True):
    """`holder` has the stream durably up to this place: its own word, or passed on.

    Args:
        is_near: Whoever has to do with the stream hears of it without the others' help, who needn't pass it on (gossip/interest.py).
            A release that didn't say so had everybody pass on everything.
    """

    holder: NodeId
    stream: StreamId
    epoch: Epoch
    next_seq: Sequence
    hash: Hash
    is_near: bool = False


class Stored(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """Who has what: the answer to a chunk that was appended, and what the sender heard of others (any path).

    Args:
        is_gap: What was pushed to the sender beyond these places was not taken, and is to be pushed again from there on.
    """

    entries: Annotated[tuple[StoredEntry, ...], Meta(max_length=DIGEST_ENTRY_COUNT_MAX)]
    is_gap: bool = False


class Pull(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """Asks for one chunk of a stream from a place on; answered by its parts or by Lacking.

    Args:
        epoch, next_seq, hash: What the asker has; the chunk begins there.
        credit_bytes: Room for so many packed bytes; a single frame that is larger comes all the same.
        wanted: frames: from the place on. segment: from the beginning of the segment on in which the place lies. footer: only the
            footer of the sealed segment that begins at `next_seq`.
        is_live: The asker is nearly up to date with it: the answer goes before any backlog.
    """

    request: Request
    stream: StreamId
    epoch: Epoch
    next_seq: Sequence
    hash: Hash
    credit_bytes: Annotated[int, Meta(ge=1, le=PULL_CREDIT_BYTES_MAX)]
    wanted: Wanted = "frames"
    is_live: bool = False


class ChunkPart(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """A part of a packed chunk (packing.py). Every part says which chunk, so that the first to come tells all.

    Args:
        request: Of the Pull that it answers; 0 where it is pushed.
        first_seq, prev_hash, next_seq, hash, last_at_ms: As in Chunk; told, not proved.
        total_bytes: Of the packed chunk; this part's bytes stand at `offset` in it.
    """

    request: Request
    stream: StreamId
    epoch: Epoch
    first_seq: Sequence
    prev_hash: Hash
    next_seq: Sequence
    hash: Hash
    last_at_ms: Sequence
    total_bytes: Annotated[int, Meta(ge=1, le=PACKED_CHUNK_BYTES_MAX)]
    offset: Annotated[int, Meta(ge=0, lt=PACKED_CHUNK_BYTES_MAX)]
    data: PartBytes


class Lacking(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """No chunk for a Pull, and why.

    Args:
        reason: busy: ask again later. nothing: there is no more. unknown: no such stream here. expired: no longer kept from there on.
            parted: the history here never had that place. damaged: can't be read here, ask somebody else.
        epoch, next_seq, hash: With `parted`, what the history here has at the place that was asked for (a hash of zeros: no frame
            ends there); else how far the stream is held here.
    """

    request: Request
    stream: StreamId
    reason: LackReason
    epoch: Epoch
    next_seq: Sequence
    hash: Hash


class ForkProof(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """Two holders have different frames that end at the same place: two wrote one epoch.

    Args:
        holder, other_holder: Nodes that have `hash` and `other_hash`; the smaller hash first.
    """

    stream: StreamId
    epoch: Epoch
    next_seq: Sequence
    hash: Hash
    other_hash: Hash
    holder: NodeId
    other_holder: NodeId


class AskHeads(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """Asks for what is held of one node's streams; answered by Heads. Of a node whose disk was lost, for one."""

    node_id: NodeId


class BlobAsk(msgspec.Struct, frozen=True, array_like=True, tag=30):
    """Asks which of these blobs are held; answered by BlobHave."""

    blobs: Annotated[tuple[BlobId, ...], Meta(max_length=BLOB_ASK_COUNT_MAX)]


class BlobEntry(msgspec.Struct, frozen=True, array_like=True):
    """A blob that is held whole."""

    blob: BlobId
    size_bytes: BlobBytes


class BlobHave(msgspec.Struct, frozen=True, array_like=True, tag=31):
    """The sender holds these, durably."""

    blobs: Annotated[tuple[BlobEntry, ...], Meta(max_length=BLOB_ASK_COUNT_MAX)]


class BlobWant(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """Asks for bytes of a blob from an offset on, as many as the credit at most; answered by BlobParts or BlobLacking."""

    request: Request
    blob: BlobId
    offset: BlobBytes
    credit_bytes: Annotated[int, Meta(ge=1, le=PULL_CREDIT_BYTES_MAX)]


class BlobPart(msgspec.Struct, frozen=True, array_like=True, tag=33):
    """Bytes of a blob. The last of an answer ends where the credit or the blob does."""

    request: Request
    blob: BlobId
    size_bytes: BlobBytes
    offset: BlobBytes
    data: PartBytes


class BlobLacking(msgspec.Struct, frozen=True, array_like=True, tag=34):
    """No bytes of it from here, or not now."""

    request: Request
    blob: BlobId
    is_busy: bool


class ClaimEpoch(msgspec.Struct, frozen=True, array_like=True, tag=40):
    """Asks for a voice for an epoch of the sender's streams (fences.py).

    Args:
        node_id: Whose epoch; a node claims none but its own.
        instance: Which body of it claims; a second claim by the same one is the same claim.
    """

    request: Request
    node_id: NodeId
    epoch: Epoch
    instance: InstanceId


class ClaimAnswer(msgspec.Struct, frozen=True, array_like=True, tag=41):
    """A voice for a claim, or the epoch that was promised already.

    Args:
        promised_epoch: The highest that the voter knows for this node: its promise, or in what it holds.
    """

    request: Request
    node_id: NodeId
    epoch: Epoch
    is_granted: bool
    promised_epoch: Epoch


class LeafAsk(msgspec.Struct, frozen=True, array_like=True, tag=50):
    """Asks for a part of a segment, which rotted here; answered by LeafParts or LeafLacking.

    Args:
        number: Bytes [number MiB, number + 1 MiB) of a sealed segment; LEAF_NUMBER_MAX, which no segment has, where it is another part: a release
            that knows no others says that it lacks it.
        what: The part; header: the segment's first page; footer: what follows its frames; frames: as many as fit an answer, from one on.
        next_seq, hash: Of frames: the first one begins with this sequence, and follows the frame with this hash.
        upto_seq: Of frames: none begins there or later.
    """

    request: Request
    stream: StreamId
    epoch: Epoch
    segment_first_seq: Sequence
    number: Annotated[int, Meta(ge=0, le=LEAF_NUMBER_MAX)]
    what: RottenKind = "leaf"
    next_seq: Sequence = 0
    hash: Hash = bytes(HASH_BYTES)
    upto_seq: Sequence = SEQUENCE_MAX


class LeafPart(msgspec.Struct, frozen=True, array_like=True, tag=51):
    """A piece of what was asked for. What it has to be, the asker knows (storage/replicas/rotten.py)."""

    request: Request
    total_bytes: Annotated[int, Meta(ge=1, le=CHUNK_BYTES_MAX)]
    offset: Annotated[int, Meta(ge=0, lt=CHUNK_BYTES_MAX)]
    data: PartBytes


class LeafLacking(msgspec.Struct, frozen=True, array_like=True, tag=52):
    """The part is not here, or rotten here too, or another one is being sent.

    Args:
        lost: Of frames: they are marked lost.
        is_looked: Whether it was looked for just now. Not where another part is being sent, nor by a release that knows leaves alone: it may be there.
    """

    request: Request
    lost: LostRange | None = None
    is_looked: bool = False


GossipMessage = Heads | Stored | Pull | ChunkPart | Lacking | ForkProof | AskHeads
BlobMessage = BlobAsk | BlobHave | BlobWant | BlobPart | BlobLacking
EpochMessage = ClaimEpoch | ClaimAnswer
LeafMessage = LeafAsk | LeafPart | LeafLacking
Message = GossipMessage | BlobMessage | EpochMessage | LeafMessage | MembershipMessage

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)


def encode_message(message: Message) -> bytes:
    """The message as it goes over a link; at most WIRE_MESSAGE_BYTES_MAX."""
    data = _ENCODER.encode(message)
    assert len(data) <= WIRE_MESSAGE_BYTES_MAX, f"{type(message).__name__} has {len(data)} bytes"
    return data


def decode_message(data: bytes) -> Message:
    """The message in these bytes.

    Raises:
        RemoteProtocolError: too long, of a kind not known here, or with a field out of bounds.
    """
    if len(data) > WIRE_MESSAGE_BYTES_MAX:
        raise RemoteProtocolError(
            f"A peer's message has {len(data)} bytes; {WIRE_MESSAGE_BYTES_MAX} are allowed.",
            hint="The peer runs another program, or one of a later release: look at its version.",
        )
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise RemoteProtocolError(
            f"A peer's message is not understood: {error}.",
            hint="The peer runs another program, or one of a later release: look at its version.",
        ) from error
