"""Keeping what a later epoch replaces: a history that the stream's writer lost, and that somebody may still want.

A writer that was restored from an old copy begins its next epoch before records that others hold. They are copied into a directory of
their own, a whole log that `LogReader` and `homeport log verify` read, before the later epoch's first segment gets its name.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

from appliance.core.limits import MIB
from storage.log.disk import Disk, write_all
from storage.log.head import Head, HeadFile
from storage.log.layout import sha256
from storage.log.names import HEAD, SegmentName, segments_in_order
from storage.replicas.beginning import REPLACED, tell_missing
from storage.replicas.places import find_place, frame_at, open_segment_file, segment_at
from storage.replicas.streams import StreamHead

COPY_BYTES: Final = 1 * MIB


def branch_directory(directory: Path, frame_hash: bytes) -> Path:
    """Where the history is kept whose first frame that differs has this hash; what parts from a branch is a branch of the same stream."""
    whole = directory.name.partition(".fork-")[0]
    return directory.with_name(f"{whole}.fork-{frame_hash.hex()[:8]}")


def move_branches(disk: Disk, directory: Path, into: Path) -> list[Path]:
    """Moves the histories that were kept of a stream from beside it to where others look for them; gives where they are now.

    One that is there already stays where it was.

    Raises:
        OSError: the disk failed.
    """
    moved = []
    for branch in sorted(directory.parent.glob(f"{directory.name}.fork-*")):
        target = into / branch.name
        if target.exists():
            continue
        disk.make_directory(into)
        disk.rename(branch, target)
        moved.append(target)
    if moved:
        disk.fsync_directory(into)
        disk.fsync_directory(directory.parent)
    return moved


def keep_branch(
    disk: Disk, directory: Path, live: list[SegmentName], head: StreamHead, first_seq: int
) -> Path:
    """Copies the segments that hold [first_seq, head.next_seq) into a directory of their own, durably.

    Raises:
        OSError: the disk failed, or is full; nothing of the stream itself has changed.
    """
    at = segment_at(live, first_seq)
    kept = live[at:]
    target, is_there = _target(disk, directory, kept, head, first_seq)
    if is_there:
        return target
    disk.make_directory(target)
    begin = kept[0].first_seq
    for name in kept:
        _copy(disk, directory / str(name), target / str(name), read_only=name.state == "seg")
    if begin > 1:
        before = _continues(disk, directory, kept[0])
        tell_missing(
            disk, target, rule=REPLACED, epoch=kept[0].epoch, first_seq=begin, before=before, now_ms=0
        )
    newest = open_segment_file(disk, target, kept[-1])
    assert newest is not None
    try:
        end = find_place(disk, newest, head.next_seq, end_offset=None)
    finally:
        disk.close(newest.descriptor)
    head_file = HeadFile(disk, target / HEAD)
    try:
        head_file.publish(Head(kept[-1].epoch, head.next_seq, head.hash, kept[-1].first_seq, end.offset))
    finally:
        head_file.close()
    _sync(disk, target / HEAD)  # nobody publishes it again: it has to be there after a power cut
    disk.fsync_directory(target)
    disk.fsync_directory(target.parent)
    return target


def _target(
    disk: Disk, directory: Path, kept: list[SegmentName], head: StreamHead, first_seq: int
) -> tuple[Path, bool]:
    """A directory that is free, or one in which all of this is kept already (a crash came between keeping and replacing).

    Where a branch is cut at the frame that it is named after, or two histories at the same frame, the first name is taken: it never
    is written over.
    """
    name = _first_hash(disk, directory, kept[0], first_seq)
    following = head.hash
    while True:
        target = branch_directory(directory, name)
        found = _published(disk, target)
        if found is None:
            return target, False
        segments = set(disk.names(target))
        if found.hash == head.hash and all(str(each) in segments for each in kept) and target != directory:
            return target, True
        name, following = following, sha256(following)


def _published(disk: Disk, directory: Path) -> Head | None:
    """What the head file in a directory says; None: nothing is kept there, or it was never finished."""
    try:
        if HEAD not in disk.names(directory):
            return None
    except FileNotFoundError:
        return None
    head_file = HeadFile(disk, directory / HEAD)
    head_file.close()
    return head_file.found


def remove_replaced(disk: Disk, directory: Path, begun: SegmentName) -> list[SegmentName]:
    """Removes segments that a segment of a later epoch replaces as a whole; they were kept as a branch before."""
    gone = [
        name
        for name in segments_in_order(disk.names(directory))
        if name.epoch < begun.epoch and name.first_seq >= begun.first_seq
    ]
    for name in gone:
        disk.unlink(directory / str(name))
    if gone:
        disk.fsync_directory(directory)
    return gone


def remove_leftovers(disk: Disk, directory: Path, live: list[SegmentName]) -> None:
    """What a later epoch replaced and a crash left; it was kept as a branch before that epoch's segment had a name."""
    for before, begun in pairwise(live):
        if before.epoch < begun.epoch:
            remove_replaced(disk, directory, begun)


def _first_hash(disk: Disk, directory: Path, name: SegmentName, seq: int) -> bytes:
    """The hash of the frame that begins with a sequence."""
    segment = open_segment_file(disk, directory, name)
    assert segment is not None
    try:
        return frame_at(disk, segment, find_place(disk, segment, seq, end_offset=None)).hash
    finally:
        disk.close(segment.descriptor)


def _continues(disk: Disk, directory: Path, name: SegmentName) -> bytes:
    segment = open_segment_file(disk, directory, name)
    assert segment is not None
    disk.close(segment.descriptor)
    return segment.start.hash


def _sync(disk: Disk, path: Path) -> None:
    descriptor = disk.open(path)
    try:
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)


def _copy(disk: Disk, source: Path, target: Path, *, read_only: bool) -> None:
    reading = disk.open(source)
    try:
        writing = disk.open(target, create=True)
        try:
            disk.truncate(writing, 0)
            size = disk.size(reading)
            for offset in range(0, size, COPY_BYTES):
                data = disk.pread(reading, min(COPY_BYTES, size - offset), offset)
                write_all(disk, writing, [data], offset)
            disk.fsync(writing)
            if read_only:
                disk.make_read_only(writing)
        finally:
            disk.close(writing)
    finally:
        disk.close(reading)
