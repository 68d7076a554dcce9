"""The messages of membership. All are short, so that none of them delays a heartbeat on a slow link.

Kinds 10 to 19 (replication/messages.py). Whoever decodes a message refuses one that breaks a bound before anything is kept of it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from appliance.core.limits_replication import (
    ANSWER_WAIT_MS_MAX,
    CLAIMS_CARRIED_MAX,
    CLAIMS_TOLD_MAX,
    TABLE_DIGEST_BYTES,
)
from storage.replicas.streams import NodeId

from .claims import Claim

Nonce = Annotated[int, msgspec.Meta(ge=0, le=(1 << 48) - 1)]
WaitMs = Annotated[int, msgspec.Meta(ge=0, le=ANSWER_WAIT_MS_MAX)]
CarriedClaims = Annotated[tuple[Claim, ...], msgspec.Meta(max_length=CLAIMS_CARRIED_MAX)]
ToldClaims = Annotated[tuple[Claim, ...], msgspec.Meta(max_length=CLAIMS_TOLD_MAX)]
TableDigestBytes = Annotated[
    bytes, msgspec.Meta(min_length=TABLE_DIGEST_BYTES, max_length=TABLE_DIGEST_BYTES)
]


class Probe(msgspec.Struct, array_like=True, frozen=True, tag=10):
    """Are you there? The link's other end is asked."""

    nonce: Nonce
    claims: CarriedClaims


class ProbeFor(msgspec.Struct, array_like=True, frozen=True, tag=11):
    """Ask another node for me whether it is there; I don't get through to it."""

    nonce: Nonce
    target: NodeId


class ProbeAnswer(msgspec.Struct, array_like=True, frozen=True, tag=12):
    """I am here; or, from a relay, the node that you asked me to probe is.

    Args:
        wait_ms: How long the sender waits for an answer on its slowest link: as a relay it may take so long. Of a release that knows no
            such field, 0.
    """

    nonce: Nonce
    claims: CarriedClaims
    wait_ms: WaitMs = 0


class ProbeMissed(msgspec.Struct, array_like=True, frozen=True, tag=13):
    """A relay's word that it got no answer. It shows that the asker and the relay can talk (Lifeguard's nack).

    Args:
        was_tried: False: the relay has no link to the target, or too much to do, and nothing follows from it.
    """

    nonce: Nonce
    was_tried: bool


class Rumours(msgspec.Struct, array_like=True, frozen=True, tag=14):
    """Claims on their way through the fleet, or a page of the table."""

    claims: ToldClaims


class TableDigest(msgspec.Struct, array_like=True, frozen=True, tag=15):
    """Four bytes for each of 16 parts of the table, by the first digit of the node id; equal ones need no talk.

    Args:
        is_answer: The other end compared already, and wants no digest back.
    """

    buckets: TableDigestBytes
    is_answer: bool


MembershipMessage = Probe | ProbeFor | ProbeAnswer | ProbeMissed | Rumours | TableDigest
