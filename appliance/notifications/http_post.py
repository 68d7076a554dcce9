"""One POST over HTTP/1.1 or HTTPS, on a connection of its own, to an address that was looked up before.

Redirects are not followed: they would lead behind the check of the address. Head and body of an answer are bounded.

Written over h11, which the server stands on already: it is the state machine of HTTP/1.1 without input or output, so that connecting (to
the checked address and to no other), TLS and every deadline are trio's. A client library would bring name look-ups, pools and redirects of its own.

Source: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, urlsplit

import h11
import trio

from appliance.core.errors import UsageError
from appliance.core.limits_notifications import (
    NOTIFICATION_ANSWER_BYTES_MAX,
    NOTIFICATION_CONNECT_TIMEOUT_S,
    NOTIFICATION_HEAD_BYTES_MAX,
)
from appliance.notifications.destinations import Destinations, connect
from appliance.notifications.sent import line

_PIECE_BYTES: Final = 4096
FAILURES: Final = (OSError, trio.BrokenResourceError, h11.RemoteProtocolError, trio.TooSlowError)
"""What `post` raises of the network and its other end, beside HomeportError."""


@dataclass(slots=True)
class Answer:
    """Attributes:
    retry_after_s: What the receiver asks for, if it does. body: Its beginning.
    """

    status: int
    retry_after_s: int | None
    body: bytes


async def post(
    destinations: Destinations,
    url: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    *,
    ca_pem: str = "",
) -> Answer:
    """Ask once; the caller bounds the time.

    Args:
        headers: Beside those that say where it goes and how long it is.
        ca_pem: Authorities that are trusted; "" for the machine's.
    Raises:
        HomeportError: as Destinations.addresses, `connect` and `tls_context`. And FAILURES.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    addresses = await destinations.addresses(host, port)
    stream: trio.abc.Stream = await connect(addresses, port)
    async with stream:
        if parts.scheme == "https":
            context = await trio.to_thread.run_sync(tls_context, ca_pem)
            tls = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
            with trio.fail_after(NOTIFICATION_CONNECT_TIMEOUT_S):
                await tls.do_handshake()
            stream = tls
        whole = [
            ("Host", _host_header(parts)),
            ("Content-Length", str(len(body))),
            ("Accept", "*/*"),
            ("Connection", "close"),
            *headers,
        ]
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return await _exchange(stream, h11.Request(method="POST", target=target, headers=whole), body)


def failure_words(error: BaseException) -> str:
    """One of FAILURES in a sentence."""
    if isinstance(error, trio.TooSlowError):
        return "It does not speak TLS in time."
    why = error.__cause__ or error
    if isinstance(why, ssl.SSLCertVerificationError):
        return line(f"Its certificate is not trusted: {why.verify_message}.")
    return line(f"The connection failed: {why}.")


async def _exchange(stream: trio.abc.Stream, request: h11.Request, body: bytes) -> Answer:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=NOTIFICATION_HEAD_BYTES_MAX)
    data = b"".join(
        connection.send(event) or b"" for event in (request, h11.Data(data=body), h11.EndOfMessage())
    )
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError:
        pass  # Who needs no body answers and closes before it is sent: the answer is there to be read.
    answer: Answer | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(_PIECE_BYTES)))
        elif isinstance(event, h11.Response):
            answer = Answer(event.status_code, _retry_after_s(event), b"")
        elif isinstance(event, h11.Data) and answer is not None:
            answer.body += bytes(event.data)
            if len(answer.body) >= NOTIFICATION_ANSWER_BYTES_MAX:
                return answer
        elif answer is not None:
            return answer


def _retry_after_s(response: h11.Response) -> int | None:
    """RFC 9110 §10.2.3, as seconds; a date is left to our own pauses."""
    for name, value in response.headers:
        if name == b"retry-after" and value.isdigit() and len(value) <= 6:
            return int(value)
    return None


def _host_header(parts: SplitResult) -> str:
    """RFC 9110 §7.2: without what `urlsplit` lets through of a user name."""
    return parts.netloc.rpartition("@")[2]


@lru_cache(maxsize=32)
def tls_context(ca_pem: str) -> ssl.SSLContext:
    """A context that trusts these authorities, or without them the machine's. Reads files: for a thread.

    Raises:
        UsageError: `target_invalid`: they can't be read.
    """
    try:
        context = ssl.create_default_context(cadata=ca_pem or None)
    except ssl.SSLError as error:
        raise UsageError(
            f"The target's authorities can't be read: {error}.",
            hint="Give certificates in PEM.",
            code="target_invalid",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
