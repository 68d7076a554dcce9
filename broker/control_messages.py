"""What broker and node say to each other over the control socket: msgpack maps with a length in front.

Frame: u32 big-endian length (≤ CONTROL_FRAME_BYTES_MAX), then a msgpack map with the key `t`. The first message of
each side is `hello` with its protocol version; an unknown `t` is ignored, so that either side may be newer.

    broker → node   hello {version}, grew {epoch, next_seq}, statistics {…}, first_contact {user_names},
                    answer {id, body} or answer {id, error: {kind, message, hint, code}},
                    request {id, topic, payload, client_id, address, principal: {name, kind, proof}},
                    called_off {ids}: nobody waits for the answers to these requests any more,
                    sessions {anew, events: [{principal, client_id, what: "listening" or "gone", aws}]}: to a node that answers requests; `anew` where
                    all that was told before counts no more
                    spans {spans}: steps of traced messages (appliance/tracing/span.py), to the newest node that answers requests
    node → broker   hello {version, answers_requests}, reply {id, accepted, messages: [[topic, payload], …]}, revoke {principal}, access_changed {principal}, lag {lag_ms, behind_records},
                    ask {id, question, fields}
    bridge → broker   hello {version, role: "bridge"}, publish {id, principal, records}, settle {id, principal}
    broker → bridge   hello, grew, statistics, done {id, seq}: the records are on disk, the last one at seq; nothing of the principal waits for it

Questions and what they answer with are in questions.py. Answers come in any order; `id` says whose one is.
`records` are lists [topic, payload, flags, packet identifier, properties], see broker/ingest.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgpack

from appliance.core.errors import (
    Conflict,
    HomeportError,
    LimitExceeded,
    NotFound,
    RemoteProtocolError,
    StorageError,
    Unavailable,
    UsageError,
)
from appliance.core.limits import FRAME_BYTES_HARD_MAX

CONTROL_VERSION: Final = 4
"""1 had no questions, 2 no requests, 3 one message for an answer, no pushes and no sessions."""
CONTROL_FRAME_BYTES_MAX: Final = FRAME_BYTES_HARD_MAX
"""The largest message that a bridge may bring, with room for its frame."""
LENGTH_BYTES: Final = 4
ERRORS: Final[dict[str, type[HomeportError]]] = {
    kind.__name__: kind for kind in (UsageError, NotFound, Conflict, LimitExceeded, Unavailable, StorageError)
}
"""Classes that an answer's error may be of; any other is a HomeportError to the node."""


def encode_message(kind: str, **fields: Any) -> bytes:
    """One message with its length."""
    body: bytes = msgpack.packb({"t": kind, **fields})
    assert len(body) <= CONTROL_FRAME_BYTES_MAX
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def encode_error(error: HomeportError) -> dict[str, str]:
    """An error as an answer holds it."""
    kind = next((name for name, kind in ERRORS.items() if isinstance(error, kind)), "")
    return {"kind": kind, "message": error.message, "hint": error.hint, "code": error.code}


def decode_error(fields: object) -> HomeportError:
    """The error that `encode_error` was given, or one that says that the answer can't be understood."""
    match fields:
        case {"kind": str(kind), "message": str(message), "hint": str(hint), "code": str(code)}:
            return ERRORS.get(kind, HomeportError)(message, hint=hint, code=code)
        case _:
            return Unavailable(
                "The broker's answer can't be understood.",
                hint="Restart the appliance, so that both processes are of one version.",
                code="broker_version",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """What a client has asked, as the node gets it (management/request_topics.py).

    Attributes:
        topic: That it was published to.
        name, kind, proof: Of the principal (management/access.py).
    """

    topic: str
    payload: bytes = field(repr=False)
    client_id: str
    address: str
    name: str
    kind: str
    proof: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReply:
    """The node's answer to one.

    Attributes:
        messages: Topics and payloads, sent to whoever asked in this order; limits_requests.py says how much that may be.
    """

    is_accepted: bool
    messages: tuple[tuple[str, bytes], ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent:
    """A device has begun to listen to what is said to it unasked, or does so no more (broker/listening.py).

    Attributes:
        principal: The device's id.
        is_aws: It listens below `$aws/things/`; a device that listens to both is told of twice.
    """

    principal: str
    client_id: str
    what: Literal["listening", "gone"]
    is_aws: bool = False


def decode_session_events(message: Mapping[str, Any]) -> list[SessionEvent]:
    """Of a `sessions` message; what can't be understood is left out."""
    events = []
    for each in message.get("events", ()):
        match each:
            case {
                "principal": str(principal),
                "client_id": str(client_id),
                "what": ("listening" | "gone") as what,
                "aws": bool(is_aws),
            }:
                events.append(
                    SessionEvent(principal=principal, client_id=client_id, what=what, is_aws=is_aws)
                )
    return events


def decode_messages(fields: object) -> list[tuple[str, bytes]] | None:
    """The messages of a `reply`; None where they can't be understood."""
    if not isinstance(fields, list):
        return None
    messages = []
    for each in fields:
        match each:
            case [str(topic), bytes(payload)]:
                messages.append((topic, payload))
            case _:
                return None
    return messages


def decode_request(message: Mapping[str, Any]) -> tuple[int, DeviceRequest] | None:
    """Number and content of a `request` message; None for one that can't be understood."""
    match message:
        case {
            "id": int(number),
            "topic": str(topic),
            "payload": bytes(payload),
            "client_id": str(client_id),
            "address": str(address),
            "principal": {"name": str(name), "kind": str(kind), "proof": bytes(proof)},
        }:
            return number, DeviceRequest(
                topic=topic,
                payload=payload,
                client_id=client_id,
                address=address,
                name=name,
                kind=kind,
                proof=proof,
            )
        case _:
            return None


class MessageReader:
    """Cuts received bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_bytes(self, data: bytes) -> list[dict[str, Any]]:
        """Messages that are complete now.

        Raises:
            RemoteProtocolError: a frame is too long or is no message.
        """
        self._buffer += data
        messages: list[dict[str, Any]] = []
        while len(self._buffer) >= LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
            if length > CONTROL_FRAME_BYTES_MAX:
                raise RemoteProtocolError(f"A control frame of {length} bytes is longer than allowed.")
            end = LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            try:
                message = msgpack.unpackb(bytes(self._buffer[LENGTH_BYTES:end]))
            except (ValueError, TypeError) as error:
                raise RemoteProtocolError(f"A control frame is not msgpack: {error}") from error
            if not isinstance(message, dict) or not isinstance(message.get("t"), str):
                raise RemoteProtocolError("A control frame is not a message.")
            del self._buffer[:end]
            messages.append(message)
        return messages
