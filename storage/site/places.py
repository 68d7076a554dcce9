"""Where a record of the site is: questions to an order's file, and nothing of how it grows."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

from appliance.core.errors import LogDamaged
from storage.log.head import Head
from storage.site.order_file import OrderFile
from storage.site.order_format import NO_HASH, Entry

OWN: Final = 0
"""Number of the own stream."""


class Place(NamedTuple):
    """Where a record of the site is.

    Args:
        stream: Its stream's number. first, after: The site's numbers of the range; `after` is None for the open end.
        seq: In its stream, what `first` is called. epoch: Of all its records; None at the open end.
        site_epoch: What that is called on the site; at the open end what is added to each block's.
        before_hash: Of what comes before the range on the site, zeros where that isn't known; end_hash: with which it ends.
    """

    stream: int
    first: int
    after: int | None
    seq: int
    epoch: int | None
    site_epoch: int
    before_hash: bytes
    end_hash: bytes


def open_end(file: OrderFile) -> tuple[int, int]:
    """(the site's number at which the own stream is open, what that is called there)."""
    taken = file.taken.get(OWN)
    return (file.last.site_next_seq if file.last is not None else 1), taken.next_seq if taken else 1


def head_of(file: OrderFile, own: Head) -> Head:
    """The site's head, where the own stream's is `own`."""
    last = file.last
    end, own_next = open_end(file)
    epoch = max(own.epoch + file.header.epoch_shift, last.site_epoch if last is not None else 0)
    behind, frame_hash = max(0, own.next_seq - own_next), own.hash
    if not behind and last is not None:
        frame_hash = last.hash
    return Head(epoch, end + behind, frame_hash, own.segment_first_seq, own.offset)


def place_of(file: OrderFile, site_seq: int) -> Place:
    """Where a record is, or would be. Raises LogDamaged: its entry is; OSError."""
    end, own_next = open_end(file)
    if site_seq >= end:
        before = file.last.hash if file.last is not None else NO_HASH
        return Place(OWN, end, None, own_next, None, file.header.epoch_shift, before, NO_HASH)
    at = bisect_right(file.site_seqs, site_seq) - 1
    entry = file.entry(at) if at >= 0 else None
    if entry is None or site_seq >= entry.site_next_seq:
        raise _hole(file, at, site_seq)
    ahead = file.entry(at - 1) if at else None
    follows = ahead is not None and ahead.site_next_seq == entry.site_seq
    return Place(
        entry.stream,
        entry.site_seq,
        entry.site_next_seq,
        entry.seq,
        entry.epoch,
        entry.site_epoch,
        ahead.hash if follows and ahead is not None else NO_HASH,
        entry.hash,
    )


def positions_of(file: OrderFile, site_seq: int) -> dict[int, int]:
    """By number, the first record of each stream that is not before a place of the site. Raises OSError."""
    found: dict[int, int] = {}
    wanted = {number for number, taken in file.taken.items() if taken.site_next_seq > site_seq}
    for entry in file.ranges(max(0, bisect_right(file.site_seqs, site_seq) - 1)) if wanted else ():
        if entry.stream in wanted and entry.site_next_seq > site_seq:
            found[entry.stream] = entry.seq + max(0, site_seq - entry.site_seq)
            wanted.discard(entry.stream)
            if not wanted:
                break
    end, own_next = open_end(file)
    for number, taken in file.taken.items():
        found.setdefault(number, taken.next_seq)
    if site_seq >= end:
        found[OWN] = own_next + site_seq - end
    return found


def kept_from(file: OrderFile, first_seqs: dict[int, int]) -> int:
    """The site's number of the oldest record that its stream still has. Raises OSError.

    Args:
        first_seqs: By stream number, the oldest record that it has.
    """
    for entry in file.ranges(0):
        first_seq = first_seqs.get(entry.stream, 1)
        if entry.next_seq > first_seq:
            return entry.site_seq + max(0, first_seq - entry.seq)
    end, own_next = open_end(file)
    return end + max(0, first_seqs.get(OWN, 1) - own_next)


def _hole(file: OrderFile, at: int, site_seq: int) -> LogDamaged:
    after: Entry | None = next(iter(file.ranges(at + 1)), None)
    next_seq = after.site_seq if after is not None else open_end(file)[0]
    return LogDamaged(
        f"The order of the site has no place for records {site_seq} to {next_seq - 1}.",
        first_seq=site_seq,
        next_seq=max(next_seq, site_seq + 1),
        hint="A part of its file is damaged. The records are in the logs; look at the disk.",
    )
