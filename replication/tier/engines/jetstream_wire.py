"""NATS' protocol for clients, as far as the tier needs it. No input or output: bytes in, what they say out.

Lines end in CR LF; a message's line says how many bytes follow it. Every length is bounded before anything is kept. What is sent
is made here too, and nothing that could end a line gets into one.

Source: docs.nats.io, "Client Protocol"; headers: NATS ADR-4.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits_jetstream import NATS_LINE_BYTES_MAX, NATS_MESSAGE_BYTES_MAX

END: Final = b"\r\n"
VERSION: Final = b"NATS/1.0"
PONG: Final = b"PONG\r\n"
PING: Final = b"PING\r\n"
_SUBJECT: Final = re.compile(r"[\x21-\x7e]{1,1000}\Z")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,80}\Z")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]{0,1000}\Z")
_STATUS: Final = re.compile(rb"NATS/1\.0(?: (\d{3})(?: ?(.*))?)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What a server says of itself."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to a subscription.

    Attributes:
        subscription: The number that it was asked for with.
        reply: Where an answer is to go; "" where none is wanted.
        status: What the server itself says, 100 to 599 (404 not there, 503 nobody answers …); 0 of a message of somebody's.
        reason: The words with the status.
        headers: By name in small letters.
    """

    subject: str
    subscription: int
    reply: str = ""
    status: int = 0
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Ping:
    """The server asks whether anybody is there; `PONG` is the answer."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The server refuses something (`-ERR`), and ends the connection in most cases."""

    reason: str


Event = Info | Message | Ping | Pong | Refused


class Incoming:
    """What comes in on one connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._looked_at = 0
        """So far there is no end of a line in the buffer."""
        self._head: tuple[str, int, str, int, int] | None = None
        """Subject, subscription, reply, bytes of headers, bytes of all: of the message whose bytes are awaited."""

    def receive_bytes(self, data: bytes | bytearray) -> list[Event]:
        """Take bytes as they come; gives what is whole.

        Raises:
            RemoteProtocolError: it is not NATS, or too large.
        """
        self._buffer += data
        events = []
        while (event := self._next()) is not None:
            events.append(event)
        return events

    def _next(self) -> Event | None:
        while self._head is None:
            line = self._line()
            if line is None:
                return None
            event = self._of_line(line)
            if event is not None:
                return event
        return self._whole_message(*self._head)

    def _line(self) -> bytes | None:
        at = self._buffer.find(END, max(0, self._looked_at - 1))
        if at < 0:
            self._looked_at = len(self._buffer)
            if len(self._buffer) > NATS_LINE_BYTES_MAX:
                raise RemoteProtocolError("A NATS server sent a line without an end.")
            return None
        line = bytes(self._buffer[:at])
        del self._buffer[: at + len(END)]
        self._looked_at = 0
        if len(line) > NATS_LINE_BYTES_MAX:
            raise RemoteProtocolError("A NATS server sent a line that is too long.")
        return line

    def _of_line(self, line: bytes) -> Event | None:
        """The event of a line; None for +OK and where a message's bytes follow."""
        word, _, rest = line.partition(b" ")
        match word.upper():
            case b"MSG" | b"HMSG":
                self._head = _head_of(word.upper() == b"HMSG", rest)
                return None
            case b"PING":
                return Ping()
            case b"PONG":
                return Pong()
            case b"+OK":
                return None
            case b"-ERR":
                return Refused(reason=rest.strip().strip(b"'").decode("utf-8", "replace"))
            case b"INFO":
                try:
                    values = json.loads(rest)
                except ValueError as error:
                    raise RemoteProtocolError("A NATS server's INFO is no JSON.") from error
                if not isinstance(values, dict):
                    raise RemoteProtocolError("A NATS server's INFO is no object.")
                return Info(values=values)
        raise RemoteProtocolError(f"No NATS server: it said {line[:40]!r}.")

    def _whole_message(
        self, subject: str, subscription: int, reply: str, headers_bytes: int, total_bytes: int
    ) -> Message | None:
        if len(self._buffer) < total_bytes + len(END):
            return None
        if self._buffer[total_bytes : total_bytes + len(END)] != END:
            raise RemoteProtocolError("A NATS message is longer than it says.")
        with memoryview(self._buffer) as whole:
            head, data = bytes(whole[:headers_bytes]), bytes(whole[headers_bytes:total_bytes])
        del self._buffer[: total_bytes + len(END)]
        self._head = None
        status, reason, headers = headers_of(head) if head else (0, "", {})
        return Message(
            subject=subject,
            subscription=subscription,
            reply=reply,
            status=status,
            reason=reason,
            headers=headers,
            data=data,
        )


def connect_line(values: Mapping[str, Any]) -> bytes:
    """How a client introduces itself."""
    return b"CONNECT " + json.dumps(values, separators=(",", ":")).encode() + END


def subscribe_line(subject: str, number: int) -> bytes:
    """Ask for the messages to a subject.

    Raises:
        ValueError: the subject can't be one.
    """
    return f"SUB {_checked(subject)} {number}\r\n".encode()


def unsubscribe_line(number: int) -> bytes:
    """Ask for no more of them."""
    return f"UNSUB {number}\r\n".encode()


def publish_head(subject: str, reply: str, headers: Mapping[str, str], data_bytes: int) -> bytes:
    """What goes before the bytes of a message; `END` goes behind them.

    Raises:
        ValueError: subject, reply or a header can't be one.
    """
    to = f"{_checked(subject)} {_checked(reply)}" if reply else _checked(subject)
    if not headers:
        return f"PUB {to} {data_bytes}\r\n".encode()
    lines = [VERSION]
    for name, value in headers.items():
        if _HEADER_NAME.match(name) is None or _HEADER_VALUE.match(value) is None:
            raise ValueError(f"no header: {name}")
        lines.append(f"{name}: {value}".encode())
    head = END.join(lines) + END + END
    return f"HPUB {to} {len(head)} {len(head) + data_bytes}\r\n".encode() + head


def _checked(subject: str) -> str:
    if _SUBJECT.match(subject) is None:
        raise ValueError(f"no subject: {subject!r}")
    return subject


def _head_of(with_headers: bool, rest: bytes) -> tuple[str, int, str, int, int]:
    """(subject, subscription, reply, bytes of headers, bytes of all) of `subject sid [reply] [headers] all`."""
    words = rest.split()
    numbers = 2 if with_headers else 1
    if not numbers + 2 <= len(words) <= numbers + 3:
        raise RemoteProtocolError("A NATS message's line has the wrong number of words.")
    try:
        sizes = [int(word) for word in words[-numbers:]]
        subscription = int(words[1])
        names = [word.decode("ascii") for word in words[:-numbers]]
    except ValueError as error:
        raise RemoteProtocolError("A NATS message's line is not what it should be.") from error
    headers_bytes, total_bytes = (sizes[0], sizes[1]) if with_headers else (0, sizes[0])
    if not 0 <= headers_bytes <= total_bytes <= NATS_MESSAGE_BYTES_MAX:
        raise RemoteProtocolError("A NATS message is too large, or its sizes make no sense.")
    return names[0], subscription, names[2] if len(names) == 3 else "", headers_bytes, total_bytes


def headers_of(head: bytes) -> tuple[int, str, dict[str, str]]:
    """(status, reason, headers) of a message's first bytes. Of a name that is there twice the first value counts."""
    lines = head.split(END)
    first = _STATUS.match(lines[0])
    if first is None:
        raise RemoteProtocolError("A NATS message's headers are of another version.")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            headers.setdefault(name.strip().decode("latin-1").lower(), value.strip().decode("latin-1"))
    reason = (first[2] or b"").decode("utf-8", "replace")
    return int(first[1] or 0), reason, headers
