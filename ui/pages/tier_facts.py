"""The regions of the cloud tier as the page Sites shows them, and what of them needs attention."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.management.replication_state import ReplicationState, TierRegionState
from ui.pages.format import duration_text, plural, visible
from ui.pages.looks import REGION, Look
from ui.pages.sites_words import FRESH_MS
from ui.pages.views import dom_id

STEADY_TEXT = "five minutes"
"""How long a region that is preferred has to work before it is live again (replication/tier/regions.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionView:
    """A region as a card.

    Attributes:
        outlook: What happens next, "" for nothing to be said.
        problem: What its engine said, nothing hidden in it.
        rows_problem: Why readings don't go there as rows, "" while they do.
    """

    region: TierRegionState
    look: Look
    outlook: str
    problem: str
    rows_problem: str
    dom_id: str


def region_views(state: ReplicationState) -> tuple[RegionView, ...]:
    """All regions, in order of preference."""
    return tuple(_view(region, state) for region in state.tier)


def regions_away(state: ReplicationState) -> str:
    """The regions that take nothing, or else those that take no rows, in a sentence; "" where all do."""
    away = [region.name for region in state.tier if region.problem]
    if not away:
        still = [region.name for region in state.tier if region.rows is not None and region.rows.problem]
        return f"Readings don't go as rows to: {', '.join(still)}." if still else ""
    return f"{plural(len(away), 'region')} of the cloud {'takes' if len(away) == 1 else 'take'} nothing: {', '.join(away)}."


def _view(region: TierRegionState, state: ReplicationState) -> RegionView:
    word = (
        "unfit" if region.is_unfit else "away" if region.problem else "live" if region.is_live else "behind"
    )
    return RegionView(
        region=region,
        look=REGION[word],
        outlook=_outlook(region, state),
        problem=visible(region.problem),
        rows_problem=f"Readings don't go there as rows: {visible(region.rows.problem)}"
        if region.rows and region.rows.problem
        else "",
        dom_id=dom_id("region", region.name),
    )


def _outlook(region: TierRegionState, state: ReplicationState) -> str:
    others = [each for each in state.tier if each.name != region.name and not each.problem]
    if region.is_unfit:
        return "It is tried again by itself; the reason has to be put right first."
    if region.problem:
        meanwhile = f" What is new goes to {others[0].name} meanwhile." if others else ""
        return f"When it is back it gets what it lacks, oldest first; nothing has to be done.{meanwhile}"
    if region.lag_ms is None:
        return "How far it is is asked now."
    if region.lag_ms <= FRESH_MS:
        return ""
    if not region.is_live and region.lag_ms <= 4 * FRESH_MS + 60_000:
        return "It is filled behind the live region, every minute."
    first = state.tier[0]
    if region.name == first.name and not region.is_live:
        return f"It is catching up, and takes what is new first again when it has worked for {STEADY_TEXT}."
    return f"It is catching up with {plural(region.lag_entries or 0, 'record')} of the last {duration_text(region.lag_ms)}."
