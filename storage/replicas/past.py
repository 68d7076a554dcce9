"""A log that goes on where it ended elsewhere, without its past.

A box that has lost its disk may serve its devices before a large log is copied: the log begins, in a new epoch, with the sequence and the hash at which
the copies end. `dropped` says that the past is with peers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.log.disk import Disk
from storage.log.dropped import read_dropped, write_dropped
from storage.log.head import Head, HeadFile
from storage.log.layout import round_to_page
from storage.log.lost import keep_lost, lost_of
from storage.log.names import HEAD, segments_in_order
from storage.replicas.beginning import tell_missing
from storage.replicas.streams import StreamHead

TO_COME: Final = "to_come"
"""The rule of records that are with peers and not here."""


def begin_without_past(disk: Disk, directory: Path, head: StreamHead) -> None:
    """Makes a log's folder as if everything before `head.next_seq` had been there; `new-epoch` is for the caller to ask for.

    Raises:
        OSError: the disk failed.
    """
    disk.make_directory(directory)
    tell_missing(
        disk,
        directory,
        rule=TO_COME,
        epoch=head.epoch,
        first_seq=head.next_seq,
        before=head.hash,
        now_ms=head.last_at_ms,
    )
    file = HeadFile(disk, directory / HEAD)
    try:
        file.publish(Head(head.epoch, head.next_seq, head.hash, head.next_seq, round_to_page(1)))
    finally:
        file.close()
    descriptor = disk.open(directory / HEAD)
    try:
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)
    disk.fsync_directory(directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastWanted:
    """A log's past that is elsewhere: everything before `next_seq`, which ends with the frame of this hash in this epoch."""

    epoch: int
    next_seq: int
    hash: bytes


def past_wanted(disk: Disk, directory: Path) -> PastWanted | None:
    """What of a log's past is still to come; None where nothing is.

    Raises:
        LogDamaged: the list of what is not here can't be read. OSError: the disk failed.
    """
    dropped = read_dropped(disk, directory)
    if not dropped.ranges or dropped.ranges[0].rule != TO_COME:
        return None
    first = dropped.ranges[0]
    if len(dropped.ranges) > 1:
        return None  # retention has removed what came after it: there is nothing any more that it would join
    return PastWanted(epoch=first.epoch, next_seq=first.next_seq, hash=bytes.fromhex(dropped.last_hash))


def join_past(disk: Disk, directory: Path, past: Path) -> int:
    """Puts a copied past in its place, before the log's own segments; nothing may have the log open. Doing it again goes on.

    Args:
        past: A copy that ends where the log begins.
    Returns:
        How many segments were put there.
    Raises:
        LogDamaged: a list of what is not here can't be read. LimitExceeded: `lost_count`. OSError: the disk failed.
    """
    before = read_dropped(disk, past)
    for lost in lost_of(past):
        keep_lost(disk, directory, lost)
    names = segments_in_order(disk.names(past))
    for name in names:
        disk.rename(past / str(name), directory / str(name))
    disk.fsync_directory(past)
    disk.fsync_directory(directory)
    # Last: until then the log says that these aren't there, and whoever opens it would remove them.
    write_dropped(disk, directory, before)
    return len(names)
