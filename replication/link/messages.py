"""What two ends of a link say to each other about the link and the roster: kinds 1 to 9 of replication/messages.py.

The first message of whoever dialled is Hello, the answer Welcome or Refused; then either end says what it likes.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits_replication import (
    LINK_MESSAGE_LENGTH_MAX,
    LINK_REASON_LENGTH_MAX,
    ROSTER_CERTIFICATE_BYTES_MAX,
    ROSTER_ENTRIES_PER_MESSAGE_MAX,
    ROSTER_NODE_COUNT_MAX,
)
from appliance.management.fleet import AtMs, Hex128, SignedEntry

LINK_VERSION: Final = 1
LINK_TAG_MAX: Final = 9
Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Reason: TypeAlias = Annotated[str, Meta(max_length=LINK_REASON_LENGTH_MAX)]
Words: TypeAlias = Annotated[str, Meta(max_length=LINK_MESSAGE_LENGTH_MAX)]
Der: TypeAlias = Annotated[bytes, Meta(max_length=ROSTER_CERTIFICATE_BYTES_MAX)]


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Who dials.

    Args:
        version: Of this protocol.
        run: Random, of this process: two at once under one node id are a clone.
        release: Of the program, for people.
        now_ms: Its wall clock.
        entry: What it says of itself, for the roster.
    """

    version: Annotated[int, Meta(ge=0, le=2**16 - 1)]
    node_id: Hex128
    site_id: Hex128
    instance: Hex128
    run: Hex128
    release: Annotated[str, Meta(max_length=40)]
    now_ms: AtMs
    entry: SignedEntry


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Who answers, and that whoever dialled is admitted. Fields as in Hello."""

    version: Annotated[int, Meta(ge=0, le=2**16 - 1)]
    node_id: Hex128
    site_id: Hex128
    instance: Hex128
    run: Hex128
    release: Annotated[str, Meta(max_length=40)]
    now_ms: AtMs
    entry: SignedEntry


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """No link, or no link any more, and why: `reason` for programs, `message` for people."""

    reason: Reason
    message: Words


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Asks for a Pong with the same number."""

    number: Number


class Pong(msgspec.Struct, frozen=True, array_like=True, tag=5):
    number: Number


class RosterDigest(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """How each node's entry stands here: decommissioned (0, 1), when its certificate began, its card's version."""

    known: Annotated[
        dict[Hex128, tuple[Annotated[int, Meta(ge=0, le=1)], AtMs, AtMs]],
        Meta(max_length=ROSTER_NODE_COUNT_MAX),
    ]


class RosterEntries(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Entries that the other doesn't have, or not as they are now."""

    entries: Annotated[tuple[SignedEntry, ...], Meta(max_length=ROSTER_ENTRIES_PER_MESSAGE_MAX)]


class RenewAsk(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Asks for a new certificate for the sender's links: PKCS#10, DER."""

    request: Der


class RenewAnswer(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The certificate, DER; or b"" and why there is none from here."""

    certificate: Der
    reason: Reason


LinkMessage: TypeAlias = (
    Hello | Welcome | Refused | Ping | Pong | RosterDigest | RosterEntries | RenewAsk | RenewAnswer
)
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[LinkMessage]] = msgspec.msgpack.Decoder(LinkMessage)


def encode_link_message(message: LinkMessage) -> bytes:
    """The message as it goes over a link."""
    return _ENCODER.encode(message)


def is_link_message(data: bytes) -> bool:
    """Whether a message is one of these: an array of at most 15 whose first item is a number up to 9."""
    return len(data) > 1 and data[0] >> 4 == 9 and 0 < data[1] <= LINK_TAG_MAX


def decode_link_message(data: bytes) -> LinkMessage:
    """The message in these bytes, whose length was looked at before.

    Raises:
        RemoteProtocolError: of another kind, or with a field out of bounds.
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RemoteProtocolError(
            f"A peer's message about its link is not understood: {error}.",
            hint="The peer runs another program, or one of a later release: look at its version.",
        ) from error
