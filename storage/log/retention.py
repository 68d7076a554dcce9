"""Which segments may go. Pure: what is kept, what is needed and what is full are arguments.

Segments go oldest first and without a gap. Three rules, each with its name in the `dropped` file:

    keep       the log is larger than it is to be, and every cursor is past the segment
    disk_low   the disk is at level low or above, and every cursor is past the segment
    quota      the log is larger than it may ever be: it goes although somebody has not read it yet
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from storage.log.names import SegmentName


class Rule(enum.StrEnum):
    """Why a segment went."""

    KEEP = "keep"
    DISK_LOW = "disk_low"
    QUOTA = "quota"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A segment that isn't written to any more: records [first_seq, next_seq), its file's size."""

    name: SegmentName
    first_seq: int
    next_seq: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How large the log may be, bytes; 0 is no bound.

    Args:
        keep_bytes: Beyond it goes what nobody needs.
        quota_bytes: Beyond it goes the oldest, needed or not.
    """

    keep_bytes: int = 0
    quota_bytes: int = 0


def choose(
    candidates: Sequence[Candidate], *, log_bytes: int, needed_seq: int, excess_bytes: int, bounds: Bounds
) -> list[tuple[Candidate, Rule]]:
    """The segments to remove now, and why each.

    Args:
        candidates: Oldest first, without a gap.
        log_bytes: Of all segments, those written to among them.
        needed_seq: Some cursor is here: what ends before is needed by nobody.
        excess_bytes: What is to be freed because the disk is filling up; 0 while it isn't.
    """
    chosen: list[tuple[Candidate, Rule]] = []
    freed = 0
    for candidate in candidates:
        left = log_bytes - freed
        is_unneeded = candidate.next_seq <= needed_seq
        if is_unneeded and bounds.keep_bytes and left > bounds.keep_bytes:
            rule = Rule.KEEP
        elif is_unneeded and freed < excess_bytes:
            rule = Rule.DISK_LOW
        elif bounds.quota_bytes and left > bounds.quota_bytes:
            rule = Rule.QUOTA
        else:
            break
        chosen.append((candidate, rule))
        freed += candidate.bytes
    return chosen
