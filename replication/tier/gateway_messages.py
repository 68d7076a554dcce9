"""What a box and a cloud node say to each other beside gossip: kinds 60 to 69 of replication/messages.py. Pure.

A box asks a cloud node what it would ask an engine; question and answer are msgpack, cut into parts, since a piece is larger than a message may
be. And it tells how safe it is. Only cloud nodes are asked and told, so no older release hears any of it. A cloud node asks a box only what that box
said it may (reading.py), so no older box is asked.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits_replication import (
    GATEWAY_CALL_BYTES_MAX,
    GATEWAY_NAMES_COUNT,
    REGION_LENGTH_MAX,
    WIRE_MESSAGE_BYTES_MAX,
)
from appliance.core.limits_site_reading import READING_PART_BYTES_MAX
from replication.messages import PartBytes, Request
from replication.tier.engine import OBJECT_BYTES_MAX, OBJECT_KEY_LENGTH_MAX
from replication.tier.pieces import PieceName
from storage.replicas.streams import Epoch, Hash, Sequence, StreamId

TAGS: Final = frozenset({60, 61, 62})
WORDS_LENGTH_MAX: Final = 500
Words: TypeAlias = Annotated[str, Meta(max_length=WORDS_LENGTH_MAX)]
Region: TypeAlias = Annotated[str, Meta(min_length=1, max_length=REGION_LENGTH_MAX)]
Key: TypeAlias = Annotated[
    str, Meta(max_length=OBJECT_KEY_LENGTH_MAX, pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*\Z")
]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
_HINT: Final = "It runs another release, or another program: look at its version."


class TierPart(msgspec.Struct, frozen=True, array_like=True, tag=60):
    """A part of a question or an answer.

    Args:
        request: The asker's number for the question, which the answer bears.
        total_bytes: Of the whole; this part's bytes stand at `offset` in it.
    """

    request: Request
    is_answer: bool
    total_bytes: Annotated[int, Meta(ge=1, le=GATEWAY_CALL_BYTES_MAX)]
    offset: Annotated[int, Meta(ge=0, lt=GATEWAY_CALL_BYTES_MAX)]
    data: PartBytes


class SiteReport(msgspec.Struct, frozen=True, array_like=True, tag=61):
    """How safe the sender's own streams are: as in ReplicationState (appliance/management/replication_state.py).

    Args:
        lag_ms, lag_entries: What its live region has not got; None where it isn't known.
        problem: Why copying stands still; "" where it doesn't.
        may_read: Whether this site lets the cloud node read it; None where the box doesn't know just now, or is of an older release.
        devices, online: How many the site has, and has online; alarms: Those that are active, by priority. None unless `may_read`.
    """

    rpo_ms: Count | None
    rpo_worst_ms: Count | None
    unsafe_entries: Count
    lag_ms: Count | None
    lag_entries: Count | None
    problem: Words
    may_read: bool | None = None
    devices: Count | None = None
    online: Count | None = None
    alarms: tuple[Count, Count, Count] | None = None


class ReadingPart(msgspec.Struct, frozen=True, array_like=True, tag=62):
    """A part of what a cloud node asks a site, or of the answer (reading_messages.py); fields as in TierPart."""

    request: Request
    is_answer: bool
    total_bytes: Annotated[int, Meta(ge=1, le=READING_PART_BYTES_MAX)]
    offset: Annotated[int, Meta(ge=0, lt=READING_PART_BYTES_MAX)]
    data: PartBytes


class Open(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Asks whether a region works; answered by how large a piece may be."""

    region: Region


class Put(msgspec.Struct, frozen=True, array_like=True, tag=2):
    region: Region
    data: bytes
    is_mending: bool


class Last(msgspec.Struct, frozen=True, array_like=True, tag=3):
    region: Region
    stream: StreamId
    epoch: Epoch


class Epochs(msgspec.Struct, frozen=True, array_like=True, tag=4):
    region: Region


class Pieces(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Asks for GATEWAY_NAMES_COUNT of them; who wants more asks from the end of the last."""

    region: Region
    stream: StreamId
    epoch: Epoch
    from_seq: Sequence


class WireName(msgspec.Struct, frozen=True, array_like=True):
    """A PieceName, with its bounds."""

    stream: StreamId
    epoch: Epoch
    first_seq: Sequence
    prev_hash: Hash
    next_seq: Sequence
    hash: Hash
    size_bytes: Annotated[int, Meta(ge=0, le=GATEWAY_CALL_BYTES_MAX)]
    last_at_ms: Sequence

    @classmethod
    def of(cls, name: PieceName) -> WireName:
        return cls(
            name.stream,
            name.epoch,
            name.first_seq,
            name.prev_hash,
            name.next_seq,
            name.hash,
            name.size_bytes,
            name.last_at_ms,
        )

    @property
    def name(self) -> PieceName:
        return PieceName(
            stream=self.stream,
            epoch=self.epoch,
            first_seq=self.first_seq,
            prev_hash=self.prev_hash,
            next_seq=self.next_seq,
            hash=self.hash,
            size_bytes=self.size_bytes,
            last_at_ms=self.last_at_ms,
        )


class Get(msgspec.Struct, frozen=True, array_like=True, tag=6):
    region: Region
    name: WireName


class Remove(msgspec.Struct, frozen=True, array_like=True, tag=7):
    region: Region
    name: WireName


class PutObject(msgspec.Struct, frozen=True, array_like=True, tag=8):
    region: Region
    key: Key
    data: Annotated[bytes, Meta(max_length=OBJECT_BYTES_MAX)]


class GetObject(msgspec.Struct, frozen=True, array_like=True, tag=9):
    region: Region
    key: Key


class Objects(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Asks for GATEWAY_NAMES_COUNT keys that begin so and come after one."""

    region: Region
    prefix: Annotated[str, Meta(max_length=OBJECT_KEY_LENGTH_MAX, pattern=r"^[A-Za-z0-9._/-]*\Z")]
    after: Annotated[str, Meta(max_length=OBJECT_KEY_LENGTH_MAX)] = ""


class RemoveObject(msgspec.Struct, frozen=True, array_like=True, tag=11):
    region: Region
    key: Key


Question = Open | Put | Last | Epochs | Pieces | Get | Remove | PutObject | GetObject | Objects | RemoveObject


class Done(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """An answer; which fields count follows from the question.

    Args:
        number: How large a piece may be; 1 for yes and 0 for no.
        data: None: there is none.
    """

    number: Count = 0
    names: Annotated[tuple[WireName, ...], Meta(max_length=GATEWAY_NAMES_COUNT)] = ()
    epochs: tuple[tuple[StreamId, tuple[Epoch, ...]], ...] = ()
    keys: Annotated[tuple[str, ...], Meta(max_length=GATEWAY_NAMES_COUNT)] = ()
    data: bytes | None = None


class NotDone(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Why not: away (try again), unfit (for people to mend), gone (no such piece) or fenced (`last` is the last piece there)."""

    kind: str
    message: Annotated[str, Meta(max_length=2 * WORDS_LENGTH_MAX)]
    hint: Annotated[str, Meta(max_length=2 * WORDS_LENGTH_MAX)] = ""
    last: WireName | None = None


Answer = Done | NotDone
GatewayMessage = TierPart | SiteReport | ReadingPart
_encoder: Final = msgspec.msgpack.Encoder()
_messages: Final[msgspec.msgpack.Decoder[GatewayMessage]] = msgspec.msgpack.Decoder(GatewayMessage)
_questions: Final[msgspec.msgpack.Decoder[Question]] = msgspec.msgpack.Decoder(Question)
_answers: Final[msgspec.msgpack.Decoder[Answer]] = msgspec.msgpack.Decoder(Answer)


def is_gateway_message(data: bytes) -> bool:
    """Whether a message of a link is one of these, by its kind."""
    return len(data) > 1 and data[0] & 0xF0 == 0x90 and data[1] in TAGS


def encode(message: GatewayMessage) -> bytes:
    """The message as it goes over a link."""
    data = _encoder.encode(message)
    assert len(data) <= WIRE_MESSAGE_BYTES_MAX
    return data


def decode(data: bytes) -> GatewayMessage:
    """Raises RemoteProtocolError for what is no such message."""
    if len(data) > WIRE_MESSAGE_BYTES_MAX:
        raise RemoteProtocolError(f"A peer's message has {len(data)} bytes.", hint=_HINT)
    try:
        return _messages.decode(data)
    except msgspec.DecodeError as error:
        raise _not_understood(error) from error


def encode_call(call: Question | Answer) -> bytes:
    """A question or an answer, whole."""
    return _encoder.encode(call)


def decode_question(data: bytes) -> Question:
    """Raises RemoteProtocolError."""
    try:
        return _questions.decode(data)
    except msgspec.DecodeError as error:
        raise _not_understood(error) from error


def decode_answer(data: bytes) -> Answer:
    """Raises RemoteProtocolError."""
    try:
        return _answers.decode(data)
    except msgspec.DecodeError as error:
        raise _not_understood(error) from error


def _not_understood(error: msgspec.DecodeError) -> RemoteProtocolError:
    return RemoteProtocolError(f"What a peer says about the tier is not understood: {error}.", hint=_HINT)
