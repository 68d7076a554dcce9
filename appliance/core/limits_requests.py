"""Limits of what devices ask over MQTT and of what is pushed to them (broker/requests.py, broker/pushes.py): each with its arithmetic.

The services differ: enrolling is asked a few times a year and written each time, blocks of a file many times a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """Of one service.

    Attributes:
        bytes_max: Of a request's payload.
        waiting_count_max: Sent to the node and not answered yet.
        per_connection_count_max: Of one connection among them.
        burst_count_max: Of one connection at once; then one more every `refill_ms`.
        answering_count_max: That the node works on at once; the others wait there.
        timeout_ms: How long the node may take.
        answer_bytes_max: Payloads of all messages of an answer together.
        message_bytes_max: Of each of them.
        is_called_off: Where the connection of who asked has ended, the node is told to stop: nothing is changed by these requests,
            and what would be sent is lost.
    """

    bytes_max: int
    waiting_count_max: int
    per_connection_count_max: int
    burst_count_max: int
    refill_ms: int
    answering_count_max: int
    timeout_ms: int
    answer_bytes_max: int
    message_bytes_max: int
    is_called_off: bool = False


REQUEST_BYTES_MAX: Final = 32 * KIB
"""A twin's update with all that a twin may hold; a CSR with an RSA key of 4,096 bits is 1.7 KiB of PEM."""
STREAM_REQUEST_BYTES_MAX: Final = 24 * KIB
"""A bitmap of 98,304 blocks is 12 KiB, in base64 16 KiB: 96 GiB of blocks of 1 MiB, or 24 MiB of the smallest."""
REQUEST_WAITING_COUNT_MAX: Final = 2_048
"""Of one service: two of each of a thousand devices that come back at once. About 0.3 KiB each here and a task of 10 KiB in the node."""
REQUEST_WAITING_BYTES_MAX: Final = 16 * MIB
"""Payloads of all that wait: 2,048 requests of 8 KiB."""
REQUEST_UNTOLD_COUNT_MAX: Final = 8_192
"""Of all services, that a node has not been sent because it does not read; who has asked is told meanwhile and asks again."""
REQUEST_PER_CONNECTION_COUNT_MAX: Final = 8
"""A device with eight named twins asks for them together."""
REQUEST_BURST_COUNT_MAX: Final = 20
"""Of one connection at once; then five a second: what a device says while it installs."""
REQUEST_REFILL_MS: Final = 200
REQUEST_TURNED_AWAY_COUNT_MAX: Final = 16
"""Beyond that, in one read of a connection's bytes: it does not wait for its answers, and is closed."""
REQUEST_TIMEOUT_MS: Final = 10_000
"""How long the node may take: the catalog's queue 2 s, a write 5 s, and a signature."""
REQUEST_ANSWER_BYTES_MAX: Final = 128 * KIB
"""Of an answer: a twin with its metadata, or a job with its manifest and signatures; three certificates are 3 KiB of PEM."""
STREAM_TIMEOUT_MS: Final = 60_000
"""Blocks wait for the bandwidth budget."""
STREAM_MESSAGE_BYTES_MAX: Final = 176 * KIB
"""A block of 128 KiB in base64 is 171 KiB, and the names around it."""
STREAM_ANSWER_BYTES_MAX: Final = 704 * KIB
"""512 KiB of blocks in base64 are 683 KiB, and the names around them."""
REQUEST_ANSWER_MESSAGE_COUNT_MAX: Final = 2_049
"""512 KiB in blocks of 256 bytes, and what may be said besides."""
REQUEST_ANSWERS_UNSENT_BYTES_MAX: Final = 64 * MIB
"""Answers that their clients have not taken yet, of all: with a hundred slow links each may have one answer of the largest waiting.
Beyond that an answer is not sent and counted; blocks are asked for again with the bitmap of what is missing."""

PROVISION_WAITING_COUNT_MAX: Final = 256
"""At one fsync each 2 s of the catalog's work."""
PROVISION_PER_CONNECTION_COUNT_MAX: Final = 4
PROVISION_BURST_COUNT_MAX: Final = 10
"""A device asks a few times a year, and again when an answer gets lost."""
PROVISION_REFILL_MS: Final = 1_000
PROVISION_ANSWERING_COUNT_MAX: Final = 32
"""An eighth of the catalog's queue, so that people's changes go on beside ten thousand new devices."""
REQUEST_REFUSALS_LOGGED_MAX: Final = 120
"""Lines a minute about requests that were refused, of all devices: at 300 bytes 52 MB a day. Metrics count them all."""
REQUEST_REFUSALS_LOGGED_PER_DEVICE_MAX: Final = 6
"""Of them, of one device, which may be refused five times a second by each service."""
REQUEST_REFUSALS_DEVICE_COUNT_MAX: Final = 1_024
"""Devices for which that is remembered, 0.3 KiB each."""
REQUEST_ANSWERING_COUNT_MAX: Final = 64
"""Of each service; with enrolling and the look-ups of blocks (DELIVERY_LOOKING_COUNT_MAX) 480 at once, fewer than may wait for the catalog's readers (512): nobody is turned away
there. Writes are put together: 64 for each fsync of 4 ms are 16,000 a second."""
STREAM_ANSWERING_COUNT_MAX: Final = REQUEST_WAITING_COUNT_MAX
"""Most of them wait in line or for a bandwidth budget, and hold nothing but their request meanwhile. Those that wait must not keep those waiting who are served."""
STREAM_BURST_COUNT_MAX: Final = 20
STREAM_REFILL_MS: Final = 50
"""Twenty a second: with blocks of 4 KiB, 8 at a time, 640 KiB/s."""
STREAM_PER_CONNECTION_COUNT_MAX: Final = 4

REQUEST_LIMITS: Final[Mapping[str, RequestLimits]] = {
    "provision": RequestLimits(
        bytes_max=REQUEST_BYTES_MAX,
        waiting_count_max=PROVISION_WAITING_COUNT_MAX,
        per_connection_count_max=PROVISION_PER_CONNECTION_COUNT_MAX,
        burst_count_max=PROVISION_BURST_COUNT_MAX,
        refill_ms=PROVISION_REFILL_MS,
        answering_count_max=PROVISION_ANSWERING_COUNT_MAX,
        timeout_ms=REQUEST_TIMEOUT_MS,
        answer_bytes_max=REQUEST_ANSWER_BYTES_MAX,
        message_bytes_max=REQUEST_ANSWER_BYTES_MAX,
    ),
    **{
        service: RequestLimits(
            bytes_max=REQUEST_BYTES_MAX,
            waiting_count_max=REQUEST_WAITING_COUNT_MAX,
            per_connection_count_max=REQUEST_PER_CONNECTION_COUNT_MAX,
            burst_count_max=REQUEST_BURST_COUNT_MAX,
            refill_ms=REQUEST_REFILL_MS,
            answering_count_max=REQUEST_ANSWERING_COUNT_MAX,
            timeout_ms=REQUEST_TIMEOUT_MS,
            answer_bytes_max=REQUEST_ANSWER_BYTES_MAX,
            message_bytes_max=REQUEST_ANSWER_BYTES_MAX,
        )
        for service in ("shadow", "jobs", "cmd")
    },
    "streams": RequestLimits(
        bytes_max=STREAM_REQUEST_BYTES_MAX,
        waiting_count_max=REQUEST_WAITING_COUNT_MAX,
        per_connection_count_max=STREAM_PER_CONNECTION_COUNT_MAX,
        burst_count_max=STREAM_BURST_COUNT_MAX,
        refill_ms=STREAM_REFILL_MS,
        answering_count_max=STREAM_ANSWERING_COUNT_MAX,
        timeout_ms=STREAM_TIMEOUT_MS,
        answer_bytes_max=STREAM_ANSWER_BYTES_MAX,
        message_bytes_max=STREAM_MESSAGE_BYTES_MAX,
        is_called_off=True,
    ),
}
"""By service (management/request_topics.py)."""

# --- What the node says unasked (broker/pushes.py, broker/listening.py) ---------------------------------------
PUSH_MESSAGE_COUNT_MAX: Final = 64
"""Messages of one push: commands that waited, a delta of each named twin, the next job."""
PUSH_BYTES_MAX: Final = 512 * KIB
"""Of one push; and of pushes that go to the broker together, unless one alone is larger."""
PUSH_TOGETHER_COUNT_MAX: Final = 256
"""Pushes that go to the broker in one question."""
PUSH_WAITING_COUNT_MAX: Final = 4_096
"""Pushes that wait for the broker; whoever wants to push more is told so, and does it again later."""
SESSION_EVENT_COUNT_MAX: Final = 1_000
"""In one message: 150 bytes each, 150 KiB."""
SESSION_EVENTS_WAITING_COUNT_MAX: Final = 20_000
"""That a node has not been told; beyond it, it is told anew who listens."""
