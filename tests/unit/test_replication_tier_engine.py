"""What an engine says when a piece does not fit: somebody else's end is there to go on from, and people are told where to look."""

from __future__ import annotations

from replication.tier.engine import Fenced, TierAway, TierUnfit


def test_who_was_fenced_hears_where_the_tier_is() -> None:
    refused = Fenced("Another piece is there.", last=None)
    assert (refused.code, refused.last) == ("tier_fenced", None)
    assert "peer list" in (refused.hint or "")


def test_away_is_not_unfit() -> None:
    assert not issubclass(TierAway, TierUnfit)
    assert not issubclass(TierUnfit, TierAway)
