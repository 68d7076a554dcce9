"""What peers have and this node lacks, and whether that is a tail or a backlog."""

from __future__ import annotations

import random

from replication.gossip.fleet_view import FleetView
from replication.gossip.lags import LIVE_LAG_MS, TOLD_ALL_MS, Lags
from replication.gossip.state import Core, Held, PeerState
from storage.replicas.streams import StreamHead, StreamId
from tests.gossip_kit import fleet

A, B, C = (f"{n:032x}" for n in (1, 2, 3))
STREAM = StreamId(B, "telemetry")


def head(next_seq: int, at_ms: int) -> StreamHead:
    return StreamHead(1, next_seq, bytes([next_seq]) * 32, 1, 1, at_ms)


def made() -> tuple[Lags, Core, PeerState]:
    core = Core(A, random.Random(1))
    core.fleet = FleetView(A, fleet(3))
    core.held[STREAM] = Held(STREAM, head(5, 1_000_000), is_own=False)
    state = core.peers[C] = PeerState(C, 0)
    return Lags(core), core, state


def say(lags: Lags, state: PeerState, what: StreamHead, now_ms: int) -> None:
    state.heads[STREAM] = what
    lags.heard(state, STREAM, what, now_ms)


def test_who_has_no_more_is_not_lagged_behind() -> None:
    lags, core, state = made()
    say(lags, state, head(5, 1_000_000), 0)
    assert not lags.peers
    say(lags, state, head(7, 1_000_500), 0)
    assert dict(lags.peers) == {STREAM: {C: None}}
    assert lags.lag_ms(STREAM, state) == 500
    lags.appended(STREAM, head(6, 1_000_100))
    assert STREAM in lags.peers
    lags.appended(STREAM, head(7, 1_000_500))
    assert not lags.peers
    say(lags, state, head(9, 1_000_500), 0)
    del core.peers[C]
    lags.left(C)
    assert not lags.peers


def test_own_streams_lag_behind_nobody() -> None:
    lags, core, state = made()
    own = StreamId(A, "telemetry")
    core.held[own] = Held(own, head(1, 0), is_own=True)
    lags.heard(state, own, head(9, 0), 0)
    assert not lags.peers


def test_little_that_is_lacking_is_the_tail_and_hours_are_not() -> None:
    lags, core, state = made()
    say(lags, state, head(7, 1_000_000 + LIVE_LAG_MS), 0)
    assert lags.is_live(STREAM, state, 0)
    say(lags, state, head(9, 1_000_001 + LIVE_LAG_MS), 0)
    assert not lags.is_live(STREAM, state, 0)
    del core.held[STREAM]
    assert not lags.is_live(STREAM, state, 0)


def test_what_is_written_once_an_hour_is_a_tail_too_but_not_if_it_waited_for_the_link() -> None:
    lags, _, state = made()
    say(lags, state, head(7, 4_600_000), TOLD_ALL_MS - 1)
    assert not lags.is_live(STREAM, state, TOLD_ALL_MS)
    lags.appended(STREAM, head(7, 4_600_000))
    say(lags, state, head(8, 8_200_000), 60_000)
    assert lags.is_live(STREAM, state, 60_000 + LIVE_LAG_MS)
    assert not lags.is_live(STREAM, state, 60_001 + LIVE_LAG_MS)
