"""What an order of a site says of itself: for pages, metrics and the support bundle."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatistics:
    """One of the others. `waiting` records were not read yet; `stopped` says why nothing more is taken, "" for nothing."""

    node_id: str
    branch: str
    next_seq: int
    waiting: int
    skipped: int
    stopped: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatistics:
    """What the order says of itself. Without others everything is 0."""

    entries: int = 0
    damaged: int = 0
    turns_total: int = 0
    failures_total: int = 0
    waiting: int = 0
    incident: str = ""
    streams: tuple[StreamStatistics, ...] = ()
