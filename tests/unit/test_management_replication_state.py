"""What the replicator says of itself goes over its socket and back."""

from __future__ import annotations

import msgspec

from appliance.management.replication_state import (
    BlobState,
    BlobTraffic,
    ForkState,
    HeldState,
    PeerState,
    ReplicationState,
    TierRegionState,
)

A, B, SITE = "a" * 32, "b" * 32, "1" * 32
STATE = ReplicationState(
    at_ms=5,
    node_id=A,
    name="cellar",
    site_id=SITE,
    region="north",
    authority="c" * 64,
    safe_at="node",
    rpo_ms=None,
    rpo_worst_ms=3,
    peers=(
        PeerState(
            node_id=B,
            name="roof",
            site_id=SITE,
            region="",
            is_of_this_site=True,
            state="admitted",
            link="up",
            since_ms=1,
            rtt_ms=1.5,
            certificate_ends_at_ms=9,
        ),
    ),
    held=(HeldState(node_id=B, name="telemetry", epoch=1, first_seq=1, next_seq=7, bytes=4096),),
    forks=(ForkState(node_id=B, name="telemetry", epoch=1, seq=3, holders=(A, B), found_at_ms=2),),
    blobs=(BlobState(kind="day", count=3, safe_count=2, unsafe_bytes=9, oldest_unsafe_at_ms=4),),
    blob_traffic=BlobTraffic(fetched_count=1, fetched_bytes=2, served_bytes=3, wrong_count=0),
    tier=(TierRegionState(name="eu", holder=B, is_live=True, lag_ms=None, lag_entries=None),),
)


def test_there_and_back() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(STATE), type=ReplicationState) == STATE


def test_what_a_later_release_adds_is_passed_over() -> None:
    fields = msgspec.to_builtins(STATE) | {"weather": "fine"}
    assert msgspec.convert(fields, ReplicationState) == STATE
