"""Where a branch of a fork begins to be something of its own: what is before it is in the stream that it parts from, and read there.

A branch is kept as whole segments (storage/replicas/branching.py), so its first records are in the other history as well. And where a
later epoch has replaced records that were taken already, they are the branch's now: they have their numbers, and get no others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from appliance.core.errors import CursorExpired, StorageError
from storage.log.reader import LogReader
from storage.site.order_format import NO_HASH, Entry

_BRANCH: Final = re.compile(r"(fork-[0-9a-f]{8})\Z")


def histories(names: Collection[str], stream: str, *, with_whole: bool) -> list[str]:
    """Of a folder's names, the branches of a stream that are there, in order; "" is the stream itself.

    Args:
        with_whole: Whether that is wanted.
    """
    found = (
        _BRANCH.match(name.removeprefix(f"{stream}.")) for name in names if name.startswith(f"{stream}.")
    )
    branches = sorted(match[1] for match in found if match is not None)
    return [*([""] if with_whole and stream in names else []), *branches]


def own_from(branch: LogReader, whole: LogReader, taken: Sequence[Entry]) -> int:
    """The first record of a branch that is read nowhere else.

    Args:
        whole: The stream that it is a branch of.
        taken: Ranges of that stream that were taken, oldest first.
    Raises:
        StorageError, Unavailable, OSError: it can't be read now.
    """
    start = _parts_at(branch, whole)
    end = branch.head().next_seq
    for entry in reversed(taken):
        if entry.next_seq <= start:
            break
        if (
            entry.next_seq <= end
            and entry.hash != NO_HASH
            and _hash_before(branch, entry.next_seq) == entry.hash
        ):
            return entry.next_seq
    return start


def begin_of(
    branch: LogReader,
    whole: tuple[int, LogReader] | None,
    begun: Sequence[tuple[int, LogReader]],
    ranges: Sequence[Entry],
) -> int:
    """Where a branch of which nothing was taken is to begin: behind what is read in the stream itself, or in another branch.

    Args:
        whole: The stream that it is a branch of, with its number in the order; None where that isn't here.
        begun: Other branches of it that are read already. One that begins later than this one has to says nothing: what is before its own
            beginning would be read nowhere.
        ranges: What was taken of any stream, oldest first.
    Raises:
        StorageError, Unavailable, OSError: it can't be read now.
    """

    def until(number: int, other: LogReader) -> int:
        return own_from(branch, other, [each for each in ranges if each.stream == number])

    begin = until(*whole) if whole is not None else branch.first_seq()
    for number, other in sorted(begun, key=lambda each: (each[1].first_seq(), each[0])):
        low = max(other.first_seq(), branch.first_seq())
        is_there = other.first_seq() <= begin and low < min(branch.head().next_seq, other.head().next_seq)
        if is_there and _is_same(branch, other, low):
            begin = max(begin, until(number, other))
    return begin


def _parts_at(branch: LogReader, whole: LogReader) -> int:
    """The first record of the first block in which they differ, or where the shorter one ends."""
    low = max(branch.first_seq(), whole.first_seq())
    high = min(branch.head().next_seq, whole.head().next_seq)
    if high <= low:
        return branch.first_seq()
    # Equal hashes prove equal prefixes: up to some place all blocks are the same, and none is after it.
    end = high
    while low < high:
        middle = (low + high) // 2
        if _is_same(branch, whole, middle):
            low = middle + 1
        else:
            high = middle
    return end if low >= end else branch.read(low, bytes_max=1)[0].first_seq


def _is_same(branch: LogReader, whole: LogReader, seq: int) -> bool:
    ours = branch.read(seq, bytes_max=1)[0]
    try:
        theirs = whole.read(seq, bytes_max=1)[0]
    except CursorExpired:
        return True
    except StorageError:
        return False
    return (ours.first_seq, ours.hash) == (theirs.first_seq, theirs.hash)


def _hash_before(branch: LogReader, seq: int) -> bytes:
    """Of the frame that ends before a record; zeros where none ends there."""
    head = branch.head()
    if seq == head.next_seq:
        return head.hash
    block = branch.read(seq, bytes_max=1)[0]
    return block.prev_hash if block.first_seq == seq else NO_HASH
