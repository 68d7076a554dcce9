"""How long copies are kept: which of their segments may go, and by which rule. Pure.

Segments go oldest first and without a gap, each with a rule that has a name in the copy's `dropped` file:

    copy_days    the copy's newest record is so much younger that nobody asks for these any more
    copy_share   all copies together are larger than their share of the disk
    disk_low     the disk is filling up: copies go before this node's own log does

Never removed: the newest sealed segment of a copy and what comes after it; the stream `catalog`, which has no end by age; a stream of
which two histories are known; what this node itself has still to read.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from appliance.core.config_replication import ReplicationConfig
from storage.replicas.streams import StreamId

DAY_MS: Final = 86_400_000


class CopyRule(enum.StrEnum):
    """Why a segment of a copy went."""

    DAYS = "copy_days"
    SHARE = "copy_share"
    DISK_LOW = "disk_low"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyBounds:
    """What copies may take; 0 is no bound.

    Args:
        share_percent: Of the file system, all copies together.
        days: By the times in the copy itself, so that no clock that jumps removes anything.
    """

    share_percent: int = 50
    days: int = 0


def copy_bounds(config: ReplicationConfig) -> CopyBounds:
    """As the section [replication] says."""
    return CopyBounds(share_percent=config.keep_percent, days=config.keep_days)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPart:
    """A sealed segment of a copy that isn't its newest one: records before `next_seq`, times of the writer."""

    next_seq: int
    bytes: int
    last_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySize:
    """One copy.

    Args:
        parts: Oldest first.
        bytes: Of all its files.
        needed_seq: This node itself reads on from there; what ends before it may go, and the rest only where the disk is filling up.
        is_kept: Nothing of it may go.
    """

    stream: StreamId
    parts: tuple[SealedPart, ...]
    bytes: int
    last_at_ms: int
    needed_seq: int
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """Everything before `next_seq` goes from a copy, by one rule."""

    stream: StreamId
    next_seq: int
    rule: CopyRule


def choose_removals(
    copies: Iterable[CopySize], *, total_bytes: int, excess_bytes: int, bounds: CopyBounds
) -> list[Removal]:
    """What goes now, in the order in which it is to go; of each copy one entry a rule at most.

    Args:
        total_bytes: Of the file system.
        excess_bytes: What is to be freed because the disk is filling up.
    """
    copies = list(copies)
    held_bytes = sum(copy.bytes for copy in copies)
    share_bytes = total_bytes * bounds.share_percent // 100 if bounds.share_percent else held_bytes
    may_go = [copy for copy in copies if not copy.is_kept and copy.stream.name != "catalog"]
    left = {copy.stream: [part for part in copy.parts if part.next_seq <= copy.needed_seq] for copy in may_go}
    last_at_ms = {copy.stream: copy.last_at_ms for copy in copies}
    found: dict[tuple[StreamId, CopyRule], Removal] = {}
    freed = 0

    def remove(stream: StreamId, rule: CopyRule) -> None:
        nonlocal freed
        part = left[stream].pop(0)
        freed += part.bytes
        found[(stream, rule)] = Removal(stream, part.next_seq, rule)

    if bounds.days:
        for stream, parts in left.items():
            while parts and parts[0].last_at_ms < last_at_ms[stream] - bounds.days * DAY_MS:
                remove(stream, CopyRule.DAYS)
    while held_bytes - freed > share_bytes or freed < excess_bytes:
        # By how old they are for their own stream, so that a busy one doesn't push out a quiet one's years.
        oldest = max(
            (stream for stream, parts in left.items() if parts),
            key=lambda stream: last_at_ms[stream] - left[stream][0].last_at_ms,
            default=None,
        )
        if oldest is None:
            break
        remove(oldest, CopyRule.SHARE if held_bytes - freed > share_bytes else CopyRule.DISK_LOW)
    # A disk that is full takes no records of this node's own devices any more; of what is still to be read here others have a copy.
    left = {copy.stream: [part for part in copy.parts if part.next_seq > copy.needed_seq] for copy in may_go}
    while freed < excess_bytes and any(left.values()):
        oldest = max(
            (stream for stream, parts in left.items() if parts),
            key=lambda stream: last_at_ms[stream] - left[stream][0].last_at_ms,
        )
        remove(oldest, CopyRule.DISK_LOW)
    return list(found.values())
