"""Bounds of the cloud tier's NATS JetStream engine (replication/tier/engines/jetstream*)."""

from __future__ import annotations

from typing import Final

from appliance.core.limits import KIB, MIB
from appliance.core.limits_replication import TIER_PIECE_UNPACKED_BYTES_MAX

NATS_LINE_BYTES_MAX: Final = 64 * KIB
"""Of one line of the protocol. The longest is INFO with the addresses of a cluster's servers: 1,000 of them are 32 KiB."""
NATS_MESSAGE_BYTES_MAX: Final = 64 * MIB
"""Of one message that comes in: the most that a server may be set to carry."""
NATS_RECEIVE_BYTES: Final = 256 * KIB
NATS_SEND_BYTES: Final = 64 * KIB
"""What is given to the kernel at once, first: each is progress, and a line of 50 kbit/s moves it in 10 s. As long as one goes within
NATS_SEND_S the next one is twice as large, up to NATS_SEND_BYTES_MAX."""
NATS_SEND_BYTES_MAX: Final = 1 * MIB
NATS_SEND_S: Final = 0.25
NATS_UNSENT_BYTES: Final = 128 * KIB
"""What the kernel holds of it before it takes more, so that what was sent is nearly what arrived."""
NATS_CONNECTION_COUNT_MAX: Final = 8
"""Of one engine: a call has one for itself, and more calls wait. The streams of a large site are shipped a few at a time."""
NATS_IDLE_S: Final = 60
"""A connection that was not used for so long is not used again: the server asks each two minutes whether somebody is there."""
NATS_CONNECT_S: Final = 5
"""For TCP, TLS and the greeting; then the next server is tried."""
NATS_ANSWER_S: Final = 5
"""For an answer after a question was sent; longer by what sending took, up to NATS_ANSWER_S_MAX: the line may be slow."""
NATS_ANSWER_S_MAX: Final = 60
NATS_CALL_S: Final = 30
"""Without any progress a call ends as TierAway. Electing a leader takes the servers 4 to 10 s."""
NATS_UNREACHABLE_COUNT_MAX: Final = 3
"""So often all servers are tried within one call when none can be connected to."""
NATS_RETRY_S: Final = 0.25
NATS_RETRY_S_MAX: Final = 2.0
NATS_LOOK_S: Final = 600
"""How often the servers are asked again whether they still sync before they acknowledge: one may have been started with other settings."""
NATS_LOOK_ANSWER_S: Final = 2
"""How long is waited for those that don't answer, after the last that did."""
NATS_LOOK_COUNT_MAX: Final = 256
"""Answers of servers of one cluster."""
NATS_NEEDED_PAYLOAD_BYTES: Final = TIER_PIECE_UNPACKED_BYTES_MAX + MIB
"""What a server must take as one message: the largest piece, which may not pack at all, with its head and the message's headers."""
NATS_PIECE_BYTES: Final = 2 * MIB
"""Of frames in one piece. With 1 to 2 MiB a cluster of three took twice the bytes per second that it did with 64 KiB or 8 MiB."""
NATS_PAGE_COUNT: Final = 500
"""Names of pieces that are asked for at once: some 300 bytes each."""
NATS_KNOWN_EPOCH_COUNT_MAX: Final = 1_024
"""Epochs of streams of which it is remembered where their pieces lie; others are looked up again."""
NATS_KNOWN_PLACE_COUNT_MAX: Final = 4_096
"""Places remembered of one epoch, 16 bytes each: of more every other one is forgotten, and found again in a step or two."""
NATS_PROBE_COUNT_MAX: Final = 128
"""Steps of a search for a piece. Halving alone needs 63; every other step halves."""
NATS_LAG_S: Final = 0.1
"""After which a server that lacks what its leader acknowledged is asked again."""
NATS_CONSUMER_S: Final = 60
"""After which the servers forget a listing that nobody goes on with."""
NATS_SUBJECT_COUNT_MAX: Final = 1_000_000
"""Names of objects, or of epochs, that one listing gives; 100,000 come at a time."""
