"""Names of the files in a stream's directory, and the order of segments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["open", "seg", "damaged"]

LOCK: Final = "lock"
HEAD: Final = "head"
MANIFEST: Final = "manifest"
MANIFEST_NEW: Final = "manifest.new"
DROPPED: Final = "dropped"
DROPPED_NEW: Final = "dropped.new"
SCRUB: Final = "scrub"
SCRUB_NEW: Final = "scrub.new"
BALLAST: Final = "ballast"
CURSORS: Final = "cursors"
NEW_EPOCH: Final = "new-epoch"
LOST: Final = "lost"
LOST_NEW: Final = "lost.new"
SPARE: Final = "spare"
TORN: Final = "torn"

_STATES: Final[dict[str, State]] = {"open": "open", "seg": "seg", "damaged": "damaged"}
_SEGMENT = re.compile(r"([0-9a-f]{8})-([0-9]{20})\.(open|seg|damaged)\Z")


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """`{epoch:08x}-{first_seq:020d}.{state}`; sorts in the order of the stream.

    open: written, or not sealed yet. seg: sealed, never changes. damaged: set aside by recovery; its good
    frames are read, nothing is ever written to it again but by a repair.
    """

    epoch: int
    first_seq: int
    state: State

    def __str__(self) -> str:
        return f"{self.epoch:08x}-{self.first_seq:020d}.{self.state}"

    @property
    def key(self) -> tuple[int, int]:
        return (self.epoch, self.first_seq)


def parse_segment_name(name: str) -> SegmentName | None:
    """The segment that a file's name stands for; None for any other file."""
    match = _SEGMENT.match(name)
    if match is None:
        return None
    return SegmentName(int(match[1], 16), int(match[2]), _STATES[match[3]])


def segments_in_order(names: Iterable[str]) -> list[SegmentName]:
    """All segments among the names of a directory, oldest first; one per (epoch, first sequence).

    A sealed one wins over an unsealed one of the same position.
    """
    best: dict[tuple[int, int], SegmentName] = {}
    for name in names:
        segment = parse_segment_name(name)
        if segment is None:
            continue
        other = best.get(segment.key)
        if other is None or segment.state == "seg":
            best[segment.key] = segment
    return [best[key] for key in sorted(best)]


def live_segments(segments: list[SegmentName]) -> list[SegmentName]:
    """Of segments in order, those that the stream consists of.

    A segment of a later epoch that begins at or before an earlier one's first sequence replaces it.
    """
    live: list[SegmentName] = []
    for segment in reversed(segments):
        if not live or segment.first_seq < live[-1].first_seq:
            live.append(segment)
    live.reverse()
    return live
