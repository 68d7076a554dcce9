"""The tier's judge bites: each of these bugs, put into the real code, is found within a few worlds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from replication.simulation.runner import run_tier_seed
from replication.tier.auditing import Auditor
from replication.tier.engine import TierAway
from replication.tier.region_calls import RegionCalls
from replication.tier.regions import Regions
from replication.tier.shipping import Shipping
from replication.tier.source import TierSource
from replication.tier.steps import Audited

Patch = Callable[[pytest.MonkeyPatch], None]
WORLD_COUNT = 40


def never_moves(patch: pytest.MonkeyPatch) -> None:
    """The preferred region is the live one for ever, and nobody doubts it."""
    patch.setattr(Regions, "choose", lambda *_: False)
    patch.setattr(Regions, "is_doubtful", lambda *_: False)


def never_audits(patch: pytest.MonkeyPatch) -> None:
    """An audit finds that all is well, without looking."""

    async def audit(*_: object) -> Audited:
        return Audited(looked_count=0, mended_count=0)

    patch.setattr(Auditor, "audit", audit)


def sees_no_beginnings(patch: pytest.MonkeyPatch) -> None:
    """An audit takes the first piece that is there for the first there was."""

    async def look(*_: object) -> None:
        return

    patch.setattr(Auditor, "_look_at_beginnings", look)


def believes_what_it_sent(patch: pytest.MonkeyPatch) -> None:
    """A piece counts as stored once it was sent, whatever the region says."""
    put = RegionCalls.put

    async def send(self: RegionCalls, piece: Any, *, is_mending: bool = False) -> None:
        with suppress(TierAway):
            await put(self, piece, is_mending=is_mending)

    patch.setattr(RegionCalls, "put", send)


def takes_whole_pieces_alone(patch: pytest.MonkeyPatch) -> None:
    """What is lacking is had from another region only where its pieces begin in the same places."""

    async def part(*_: object) -> None:
        return None

    patch.setattr(RegionCalls, "_part", part)


def claims_nothing(patch: pytest.MonkeyPatch) -> None:
    """A restored box goes on in the epoch of the one that was lost."""

    async def claim(_self: TierSource, _node_id: str, _instance: str, known_epoch: int) -> int:
        return known_epoch

    patch.setattr(TierSource, "claim", claim)


def never_fills(patch: pytest.MonkeyPatch) -> None:
    """Regions that aren't live get nothing."""
    pace_ms = Shipping._pace_ms
    patch.setattr(
        Shipping,
        "_pace_ms",
        lambda self, lane, now_ms: pace_ms(self, lane, now_ms) if lane.region == self.regions.live else None,
    )


@pytest.mark.parametrize(
    ("bug", "nodes", "fault", "words"),
    [
        (never_moves, 1, "region_away", "though a region can be reached|which is away"),
        (never_audits, 1, "lost_pieces", "lacks"),
        (sees_no_beginnings, 1, "lost_pieces restarts", "lacks"),
        (believes_what_it_sent, 1, "region_away", "which nobody else has"),
        (takes_whole_pieces_alone, 1, "short_memory region_away", "lacks"),
        (claims_nothing, 1, "box_destroyed cloud_away", "another record|claims epoch"),
        (never_fills, 1, "well", "lacks"),
    ],
)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, bug: Patch, nodes: int, fault: str, words: str
) -> None:
    bug(monkeypatch)
    for seed in range(WORLD_COUNT):
        breaches = run_tier_seed(seed, nodes, fault.split()).breaches
        if any(each in breach for breach in breaches for each in words.split("|")):
            return
    pytest.fail(f"{WORLD_COUNT} worlds didn't show it")
