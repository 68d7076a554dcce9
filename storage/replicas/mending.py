"""Mending a sealed segment from another holder's bytes: of a log of one's own or of a copy, it makes no difference.

The footer says by a signature what each MiB was, so whoever sent the bytes need not be trusted. The file is written anew beside the
old one, fsynced and renamed over it: at no moment is there a file that is half of each, and what was good is read as ever. What a
scrub found is the list of what is wanted; it is looked at again first, because a leaf may have been mended since.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.limits import LEAF_BYTES
from storage.log.disk import Disk, write_all
from storage.log.footer import Footer
from storage.log.layout import sha256
from storage.log.names import SegmentName, parse_segment_name
from storage.log.scrub import read_scrub_state
from storage.log.seal import read_footer
from storage.log.segment_verify import is_signature_valid

MENDED: Final = "mended"
"""The file that is being made; one at a time in a stream's directory."""
LEAF_COUNT_MAX: Final = 256
"""That are asked for at once: 256 MiB of rot is a disk to be replaced."""


@dataclass(frozen=True, slots=True, order=True)
class RottenLeaf:
    """Bytes [number MiB, number + 1 MiB) of a sealed segment that are not what was sealed."""

    epoch: int
    segment_first_seq: int
    number: int


def rotten_leaves(disk: Disk, directory: Path) -> list[RottenLeaf]:
    """What the last scrubs of a stream found, and is still so; in order, at most LEAF_COUNT_MAX. Reads those leaves.

    Raises:
        OSError: the directory can't be read. A leaf that can't be is rotten.
    """
    state = read_scrub_state(directory)
    names: dict[SegmentName, set[int]] = {}
    for damaged in (*state.last.damaged, *state.now.damaged):
        name = parse_segment_name(damaged.segment)
        if name is not None and name.state == "seg":
            end = max(damaged.end_offset, damaged.offset + 1)
            names.setdefault(name, set()).update(range(damaged.offset // LEAF_BYTES, -(-end // LEAF_BYTES)))
    found: list[RottenLeaf] = []
    for name, numbers in sorted(names.items()):
        try:
            descriptor = disk.open(directory / str(name))
        except FileNotFoundError:
            continue  # removed since
        try:
            footer = read_footer(disk, descriptor)
            if footer is not None:
                found += [
                    RottenLeaf(name.epoch, name.first_seq, number)
                    for number in sorted(numbers)
                    if number < len(footer.leaves) and _read(disk, descriptor, footer, number) is None
                ]
        finally:
            disk.close(descriptor)
    return found[:LEAF_COUNT_MAX]


def mend_leaf(disk: Disk, directory: Path, leaf: RottenLeaf, data: bytes) -> str:
    """Puts a leaf in its place; gives what is wrong, one sentence, where it isn't the one that was sealed or nothing can be mended.

    Args:
        data: As ChunkSource.leaf of another holder gave it.
    Raises:
        OSError: the disk failed, or is full; the segment is as it was.
    """
    name = SegmentName(leaf.epoch, leaf.segment_first_seq, "seg")
    try:
        descriptor = disk.open(directory / str(name))
    except FileNotFoundError:
        return f"{name} is not here any more"
    try:
        footer = read_footer(disk, descriptor)
        if footer is None or not is_signature_valid(footer):
            return f"the footer of {name} is damaged itself"
        if not 0 <= leaf.number < len(footer.leaves) or sha256(data) != footer.leaves[leaf.number]:
            return f"these are not the bytes of leaf {leaf.number} that was sealed in {name}"
        if _read(disk, descriptor, footer, leaf.number) is not None:
            return ""  # it was mended before
        _write_anew(disk, directory, name, descriptor, footer, leaf.number, data)
    finally:
        disk.close(descriptor)
    return ""


def _read(disk: Disk, descriptor: int, footer: Footer, number: int) -> bytes | None:
    """A leaf's bytes; None where they are not what was sealed, or can't be read."""
    offset = number * LEAF_BYTES
    try:
        data = disk.pread(descriptor, min(LEAF_BYTES, footer.frames_end - offset), offset)
    except OSError:
        return None
    return data if sha256(data) == footer.leaves[number] else None


def _write_anew(
    disk: Disk, directory: Path, name: SegmentName, descriptor: int, footer: Footer, number: int, data: bytes
) -> None:
    size, frames_end = disk.size(descriptor), footer.frames_end
    path = directory / MENDED
    with suppress(FileNotFoundError):
        disk.unlink(path)  # of a crash: it may be read-only already
    writing = disk.open(path, create=True)
    try:
        disk.allocate(writing, size)
        for leaf in range(len(footer.leaves)):
            offset = leaf * LEAF_BYTES
            length = min(LEAF_BYTES, frames_end - offset)
            part = data if leaf == number else _part(disk, descriptor, offset, length)
            write_all(disk, writing, [part], offset)
        write_all(disk, writing, [disk.pread(descriptor, size - frames_end, frames_end)], frames_end)
        disk.fsync(writing)
        disk.make_read_only(writing)
        disk.rename(path, directory / str(name))
        disk.fsync_directory(directory)
    except OSError:
        with suppress(FileNotFoundError):
            disk.unlink(path)
        raise
    finally:
        disk.close(writing)


def _part(disk: Disk, descriptor: int, offset: int, length: int) -> bytes:
    """Bytes of the old file; another leaf that can't be read stays rotten, as zeros, until it is mended too."""
    try:
        return disk.pread(descriptor, length, offset)
    except OSError:
        return bytes(length)
