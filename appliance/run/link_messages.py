"""What the supervisor and a child say to each other: one JSON object per datagram of a SEQPACKET socket pair.

The end of the pair is itself a message: to the child, that the supervisor is gone.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from appliance.core.errors import LocalProtocolError
from appliance.core.limits import ANNOUNCE_LINE_COUNT_MAX, LINK_MESSAGE_BYTES_MAX, STATUS_CHARACTERS_MAX

DESCRIPTOR_VARIABLE: Final = "HOMEPORT_SUPERVISOR_FD"
"""Number of the inherited descriptor of the child's end."""


class FromChild(msgspec.Struct, frozen=True, omit_defaults=True):
    """A child says how it is.

    Attributes:
        heartbeat: Its event loop turns.
        ready: It serves.
        status: One line for people, None for no change.
        announce: Lines for the installer's eyes (addresses, the setup code); printed, never logged.
    """

    heartbeat: bool = False
    ready: bool = False
    status: str | None = None
    announce: tuple[str, ...] = ()


class ToChild(msgspec.Struct, frozen=True, omit_defaults=True):
    """The supervisor wants something: so far only that the child drains and ends."""

    drain: bool = False


_T = TypeVar("_T")
_from_child: Final = msgspec.json.Decoder(FromChild)
_to_child: Final = msgspec.json.Decoder(ToChild)


def encode(message: FromChild | ToChild) -> bytes:
    """One datagram.

    Raises:
        LocalProtocolError: the message is larger than LINK_MESSAGE_BYTES_MAX or its parts than their bounds.
    """
    if isinstance(message, FromChild) and (
        len(message.announce) > ANNOUNCE_LINE_COUNT_MAX or len(message.status or "") > STATUS_CHARACTERS_MAX
    ):
        raise LocalProtocolError("A child's status or announcement is too long.", hint="Shorten it.")
    data = msgspec.json.encode(message)
    if len(data) > LINK_MESSAGE_BYTES_MAX:
        raise LocalProtocolError("A message to the supervisor is too large.", hint="Shorten it.")
    return data


def decode_from_child(data: bytes) -> FromChild:
    """Read a datagram that a child sent.

    Raises:
        LocalProtocolError: it isn't one of ours (both ends are our own programs).
    """
    return _decode(_from_child, data)


def decode_to_child(data: bytes) -> ToChild:
    """Read a datagram that the supervisor sent.

    Raises:
        LocalProtocolError: as `decode_from_child`.
    """
    return _decode(_to_child, data)


def _decode(decoder: msgspec.json.Decoder[_T], data: bytes) -> _T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise LocalProtocolError(
            f"A supervisor message can't be read: {error}.", hint="Are both of one version?"
        ) from error
