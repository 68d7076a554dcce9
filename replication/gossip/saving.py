"""What is worth keeping over a restart: who has how much of our own streams, how old the rest is, and the worst of the day. Pure.

Without it a node that begins anew while its peers are away would take its oldest unsafe frame for as young as its newest one.
Ages are kept, and not times: a process's clock begins anew, and wall clocks jump. How long the process was away is for whoever restores to say.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from appliance.core.limits_replication import ROSTER_NODE_COUNT_MAX
from replication.gossip.fleet_view import Domain
from replication.gossip.watermark import HISTORY_BUCKET_MS, SafeBook, Watermark
from storage.replicas.streams import STREAM_NAMES, NodeId, Sequence, StreamId

POINT_COUNT_MAX: Final = 64
"""Of when which sequence was reached: ages come out too old by a 64th of the backlog at most, and never too young."""
Ms = Annotated[int, Meta(ge=0, le=2**53)]


class SavedMark(msgspec.Struct, frozen=True):
    """Of one own stream.

    Args:
        holders: The first sequence that each lacks.
        reached: Sequences that the log had reached, and how long ago that was, ms; oldest first.
    """

    next_seq: Sequence
    holders: Annotated[dict[NodeId, Sequence], Meta(max_length=ROSTER_NODE_COUNT_MAX)]
    reached: Annotated[list[tuple[Sequence, Ms]], Meta(max_length=POINT_COUNT_MAX)]


class SavedState(msgspec.Struct, frozen=True):
    """All of it, as of `at_ms` (wall time).

    Args:
        worst: By domain, the worst age of each hour, and how many hours ago that was.
        unsafe_from: By own stream, the first sequence that isn't safe; the log keeps what follows while there is room. Without a stream where nobody is
            there on whom a copy would be safe.
    """

    at_ms: Ms
    marks: dict[str, SavedMark]
    worst: dict[Domain, list[tuple[int, Ms]]]
    unsafe_from: dict[str, Sequence] = {}


def save(book: SafeBook, unsafe_from: dict[str, int], *, now_ms: int, at_ms: int) -> SavedState:
    """What there is now.

    Args:
        now_ms: Monotonic.
        at_ms: Wall time.
    """
    return SavedState(
        at_ms=at_ms,
        marks={stream.name: _mark(mark, now_ms) for stream, mark in book.marks.items()},
        worst=book.history.hours(now_ms),
        unsafe_from=unsafe_from,
    )


def _mark(mark: Watermark, now_ms: int) -> SavedMark:
    points = mark.points(now_ms)
    step = -(-len(points) // POINT_COUNT_MAX) or 1
    # Of each group the last sequence with the greatest age.
    reached = [
        (points[min(at + step, len(points)) - 1][0], points[at][1]) for at in range(0, len(points), step)
    ]
    return SavedMark(next_seq=mark.next_seq, holders=dict(mark.stored), reached=reached)


def restore(saved: SavedState, node_id: str, *, now_ms: int, at_ms: int) -> SafeBook:
    """The book as it was, and older by as long as nobody kept it. A wall clock that went back adds nothing.

    Args:
        node_id: Whose own streams they are.
    """
    away_ms = max(0, at_ms - saved.at_ms)
    book = SafeBook()
    for stream in (StreamId(node_id, name) for name in STREAM_NAMES):
        mark = saved.marks.get(stream.name)
        if mark is not None:
            book.marks[stream] = Watermark(node_id)
            points = [(seq, age_ms + away_ms) for seq, age_ms in mark.reached]
            book.marks[stream].restore(mark.next_seq, mark.holders, points, now_ms)
    away_hours = away_ms // HISTORY_BUCKET_MS
    hours = {
        domain: [(ago + away_hours, worst) for ago, worst in buckets]
        for domain, buckets in saved.worst.items()
    }
    book.history.restore(hours, now_ms)
    return book
