"""What the shipping machine wants done, and what it is told came of it. Pure.

As in replication/effects.py: whoever drives (the replicator's process, a simulation) does what a step says and hands the outcome back, late, or never
if the process dies.
"""

from __future__ import annotations

from dataclasses import dataclass

from replication.effects import Place
from replication.tier.pieces import PieceName
from storage.replicas.streams import StreamHead, StreamId

EMPTY: Place = Place(epoch=0, next_seq=0, hash=b"")
"""Where a tier is that has nothing of a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindEnd:
    """Ask how far a region has a stream; the answer is `found(this, its last piece, None or Failed)`."""

    number: int
    region: str
    stream: StreamId


@dataclass(frozen=True, slots=True, kw_only=True)
class Ship:
    """Put the piece that begins at a place; the answer is `shipped(this, outcome)`.

    Args:
        place: Where the region is. EMPTY: begin with the oldest that is kept here.
        bytes_max: Of frames; a single frame that is larger is a piece of its own.
        from_region: Not from what is held here, but from this region's piece that begins at the place.
        skips_gap: What should come at the place is kept nowhere: begin with the oldest after it that is.
    """

    number: int
    region: str
    stream: StreamId
    place: Place
    bytes_max: int
    from_region: str = ""
    skips_gap: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Compare what a region lists of a stream with what was put there, and put again what is gone; the answer is `audited(this, outcome)`."""

    number: int
    region: str
    stream: StreamId


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """A region has a stream up to here, by an answer of its own: for gossip, with `tier_holder(region)` as the holder.

    Args:
        is_less: It has less than was told before: it lost something.
    """

    region: str
    stream: StreamId
    head: StreamHead
    is_less: bool = False


Step = FindEnd | Ship | Audit | Tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """A piece is there.

    Args:
        is_cut: It ends where `bytes_max` did, and there is more.
        sent_bytes: Of the piece as it went over the network.
    """

    name: PieceName
    is_cut: bool
    sent_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """There is nothing to ship at that place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Another piece is there, or more than was known: somebody else ships this stream too. `last` is the newest one."""

    last: PieceName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """What should come at that place is not kept here (any more), or not where it was to be copied from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parted:
    """The region has another history of the stream than is held here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The region could not be asked, or did not take it; or what is held here could not be read (`is_here`)."""

    reason: str
    is_unfit: bool = False
    is_here: bool = False


Outcome = Shipped | Nothing | Refused | Gone | Parted | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What an audit found.

    Args:
        looked_count: Pieces that should be there.
        mended_count: Pieces that were gone and are there again.
        lost_count: Records that are gone and kept nowhere else, from `lost_first_seq` on.
    """

    looked_count: int
    mended_count: int
    lost_count: int = 0
    lost_first_seq: int = 0
