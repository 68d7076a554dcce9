"""One connection to a NATS server, which one call at a time uses: a question, and its answer or answers. For trio.

Without a task of its own: who asks reads the answer. So a call that is cancelled leaves nothing but a connection that nobody uses
again, a large piece holds nobody else up, and there is nothing to end but sockets. A connection that had trouble is closed, never
repaired.
"""

from __future__ import annotations

import secrets
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits_jetstream import (
    NATS_ANSWER_S,
    NATS_ANSWER_S_MAX,
    NATS_CONNECT_S,
    NATS_RECEIVE_BYTES,
    NATS_SEND_BYTES,
    NATS_SEND_BYTES_MAX,
    NATS_SEND_S,
    NATS_UNSENT_BYTES,
)
from appliance.core.version import VERSION
from replication.tier.engine import TierAway, TierUnfit
from replication.tier.engines.jetstream_access import Access
from replication.tier.engines.jetstream_wire import (
    END,
    PING,
    PONG,
    Event,
    Incoming,
    Info,
    Message,
    Ping,
    Pong,
    Refused,
    connect_line,
    publish_head,
    subscribe_line,
    unsubscribe_line,
)

NOBODY: Final = 503
"""Status: nobody answers to this subject; of JetStream's own subjects: no leader, or no right to ask."""
ANSWERS: Final = 1
"""The subscription to which single answers come."""
_BROKEN: Final = (OSError, ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError)


class ConnectionLost(TierAway):
    """The connection is of no use any more, or none came about; another server may do."""

    default_code = "tier_away"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One server.

    Args:
        tls: How to speak TLS with it; None for none.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Connection:
    """A connection that was greeted; `info` is what the server says of itself."""

    def __init__(self, stream: trio.abc.Stream, address: Address, on_progress: Callable[[], None]) -> None:
        self.info: Mapping[str, Any] = {}
        self.used_at = trio.current_time()
        self.on_progress = on_progress
        self._stream = stream
        self.address = address
        self._incoming = Incoming()
        self._events: deque[Event] = deque()
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._asked = 0

    async def ask(self, subject: str, data: bytes = b"", headers: Mapping[str, str] | None = None) -> Message:
        """Send a message and wait for the answer to it.

        Raises:
            ConnectionLost: there is none in time; whether the question arrived is not known.
            TierUnfit: the user has no right to ask this.
        """
        self._asked += 1
        inbox = f"{self._inbox}.{self._asked}"
        began_at = trio.current_time()
        await self._send(subject, inbox, data, headers or {})
        took_s = trio.current_time() - began_at
        with trio.move_on_after(min(NATS_ANSWER_S + took_s, NATS_ANSWER_S_MAX)):
            while True:
                message = await self._message(ANSWERS)
                # Answers to what was asked before and given up are passed over.
                if message.subject == inbox:
                    return message
        raise ConnectionLost(f"The NATS server {self.address} does not answer.")

    async def ask_many(
        self,
        subject: str,
        data: bytes,
        is_last: Callable[[Message], bool],
        *,
        count_max: int,
        answer_s: float = NATS_ANSWER_S,
    ) -> list[Message]:
        """Send a message and take what comes to it, until one is the last, there are `count_max`, or none comes for `answer_s`.

        Raises:
            ConnectionLost, TierUnfit: as above.
        """
        self._asked += 1
        inbox = f"{self._inbox}-{self._asked}"
        number = ANSWERS + self._asked
        await self._write(subscribe_line(inbox, number))
        await self._send(subject, inbox, data, {})
        found: list[Message] = []
        while len(found) < count_max:
            with trio.move_on_after(answer_s) as scope:
                found.append(await self._message(number))
            if scope.cancelled_caught or is_last(found[-1]):
                break
        await self._write(unsubscribe_line(number))
        return found

    async def aclose(self) -> None:
        """Close it, without a word: the server frees what it had."""
        await trio.aclose_forcefully(self._stream)

    async def greet(self, access: Access, name: str) -> None:
        """Hear who the server is, speak TLS where that is wanted, and sign in.

        Raises:
            ConnectionLost, TierUnfit: as above.
        """
        first = await self._event()
        if not isinstance(first, Info):
            raise ConnectionLost(f"No NATS server at {self.address}.")
        self.info = first.values
        if self.address.tls is not None:
            await self._speak_tls(self.address.tls)
        elif self.info.get("tls_required"):
            raise TierUnfit(
                f"The NATS server {self.address} wants TLS.",
                hint="Write the address with tls:// in place of nats://.",
            )
        who = access.connect_values(str(self.info.get("nonce", "")))
        hello = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 1,
                 "lang": "homeport", "version": VERSION, "name": name, "echo": False, "tls_required": self.address.tls is not None}  # fmt: skip
        await self._write(connect_line(hello | who) + subscribe_line(f"{self._inbox}.*", ANSWERS) + PING)
        while not isinstance(await self._event(), Pong):
            pass

    async def _speak_tls(self, context: ssl.SSLContext) -> None:
        self._stream = trio.SSLStream(
            self._stream, context, server_hostname=self.address.host, https_compatible=True
        )
        try:
            await self._stream.do_handshake()
        except _BROKEN as error:
            why = error.__cause__ or error
            if isinstance(why, ssl.SSLCertVerificationError):
                raise TierUnfit(
                    f"The certificate of the NATS server {self.address} is not to be trusted: {why.verify_message}.",
                    hint="Name the authority's certificate as ca_file in the credentials file.",
                ) from error
            raise ConnectionLost(f"TLS with the NATS server {self.address} failed: {why}.") from error

    async def _send(self, subject: str, reply: str, data: bytes, headers: Mapping[str, str]) -> None:
        head = publish_head(subject, reply, headers, len(data))
        if len(data) <= NATS_SEND_BYTES:
            await self._write(head + data + END)
        else:
            await self._write(head)
            await self._write_slowly(data)
            await self._write(END)

    async def _write_slowly(self, data: bytes) -> None:
        """Write much, in parts as large as the line takes in a moment."""
        at, size = 0, NATS_SEND_BYTES
        with memoryview(data) as view:
            while at < len(data):
                began_at = trio.current_time()
                await self._write(view[at : at + size])
                at += size
                is_quick = trio.current_time() - began_at < NATS_SEND_S
                size = min(2 * size, NATS_SEND_BYTES_MAX) if is_quick else NATS_SEND_BYTES

    async def _write(self, data: bytes | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except _BROKEN as error:
            raise await self._lost(error) from error
        self.on_progress()

    async def _lost(self, error: BaseException) -> Exception:
        """Why a connection to which nothing can be written any more ended: the server may have said."""
        with trio.move_on_after(1):
            try:
                while True:
                    await self._event()
            except TierUnfit as refusal:
                return refusal
            except ConnectionLost:
                pass
        return ConnectionLost(
            f"The connection to the NATS server {self.address} broke: {error.__cause__ or error}."
        )

    async def _message(self, subscription: int) -> Message:
        """The next message to a subscription; what comes to another one is passed over."""
        while True:
            event = await self._event()
            if isinstance(event, Message) and event.subscription == subscription:
                self.used_at = trio.current_time()
                return event

    async def _event(self) -> Event:
        """What comes next; pings are answered."""
        while True:
            if not self._events:
                await self._receive()
                continue
            event = self._events.popleft()
            match event:
                case Ping():
                    await self._write(PONG)
                case Refused(reason=reason):
                    raise self._refusal(reason)
                case Info(values=values):
                    if not self.info:
                        return event
                    self.info = {**self.info, **values}
                case _:
                    return event

    async def _receive(self) -> None:
        try:
            data = await self._stream.receive_some(NATS_RECEIVE_BYTES)
        except _BROKEN as error:
            raise ConnectionLost(
                f"The connection to the NATS server {self.address} broke: {error.__cause__ or error}."
            ) from error
        if not data:
            raise ConnectionLost(f"The NATS server {self.address} ended the connection.")
        self.on_progress()
        try:
            self._events += self._incoming.receive_bytes(data)
        except RemoteProtocolError as error:
            raise ConnectionLost(f"{self.address}: {error.message}") from error

    def _refusal(self, reason: str) -> Exception:
        small = reason.lower()
        if "permissions violation" in small:
            return TierUnfit(
                f"A right is missing at the NATS server {self.address}: {reason}.",
                hint="docs/CLOUD.md lists the subjects that the user must be allowed to publish and subscribe to.",
            )
        if "authorization" in small or "authentication" in small:
            return TierUnfit(
                f"The NATS server {self.address} does not let this user in: {reason}.",
                hint="Look at the credentials file.",
            )
        if "maximum payload" in small:
            return TierUnfit(
                f"The NATS server {self.address} takes no message of this size.",
                hint="Set max_payload: 32MB.",
            )
        return ConnectionLost(f"The NATS server {self.address} refuses: {reason}.")


async def connect(address: Address, access: Access, name: str, on_progress: Callable[[], None]) -> Connection:
    """A connection to a server, greeted.

    Raises:
        ConnectionLost: it can't be reached, or does not answer in NATS_CONNECT_S. TierUnfit: it does not let us in.
    """
    connection: Connection | None = None
    is_good = False
    try:
        with trio.move_on_after(NATS_CONNECT_S):
            stream = await trio.open_tcp_stream(address.host, address.port)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NATS_UNSENT_BYTES)
            connection = Connection(stream, address, on_progress)
            await connection.greet(access, name)
            is_good = True
            return connection
    except OSError as error:
        raise ConnectionLost(f"The NATS server {address} can't be reached: {error}.") from error
    finally:
        if connection is not None and not is_good:
            await connection.aclose()
    raise ConnectionLost(f"The NATS server {address} does not answer in {NATS_CONNECT_S} s.")
