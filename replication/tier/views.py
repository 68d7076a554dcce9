"""What the shipping machine shows of itself, for the page and metrics. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from storage.replicas.streams import StreamId


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """One stream on its way to one region.

    Attributes:
        is_known: The region has said how far it has the stream since it last failed.
        lacks: Records that are held here and not there.
        lag_ms: How long the oldest of those has been waiting.
        gap_count: Times that something was passed over since nobody had it.
        problem: Why it stands still; "" where it doesn't.
    """

    region: str
    stream: StreamId
    is_known: bool
    lacks: int
    lag_ms: int
    gap_count: int
    problem: str


@dataclass(slots=True)
class Counts:
    """Of one region, since the start.

    Attributes:
        pieces, bytes: Put, as they went over the network.
        fenced: Times that another piece was there already.
        failed: Attempts that came to nothing.
        lost_ends: Times that a region had less than it had said.
        audits, mended, lost: Listings looked at, pieces put again, records that are gone and had by nobody.
    """

    pieces: int = 0
    bytes: int = 0
    fenced: int = 0
    failed: int = 0
    lost_ends: int = 0
    audits: int = 0
    mended: int = 0
    lost: int = 0
