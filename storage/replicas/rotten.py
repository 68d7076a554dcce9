"""What of a stream's files isn't whole any more, as parts that another holder can give: of a log of one's own or of a copy, it makes no difference.

A scrub says which segments to look at; each is looked at again first, since it may have been mended meanwhile.

    segment                              part                       proved by
    ───────────────────────────────────  ─────────────────────────  ─────────────────────────────────────────────────────────────
    sealed, its footer whole             a leaf of 1 MiB            the hash in the signed footer
    sealed, its footer not               the footer                 signature and key, and the end of the frames
    not sealed, or no leaf can be had    frames, as many as follow  hashes: of the frame before, and what comes after them names
    not sealed, both headers not whole   the header's page          the checksum of a frame here, which the salt in it seeds
    not sealed, one header, or padding   nothing: it is known here  the other copy of the header; padding is zeros
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from appliance.core.errors import LogDamaged
from appliance.core.limits import LEAF_BYTES, MIB, PAGE_BYTES
from storage.log.disk import Disk
from storage.log.footer import Footer
from storage.log.frame import HEADER_BYTES, decode_header
from storage.log.head import Head, read_head
from storage.log.layout import ZERO_HASH, sha256
from storage.log.names import SegmentName, live_segments, parse_segment_name, segments_in_order
from storage.log.scan import DamagedRange, Position
from storage.log.scrub_state import read_scrub_state
from storage.log.segment_header import decode_segment_header, encode_segment_header
from storage.log.segment_verify import is_signature_valid, verify_segment
from storage.replicas.places import OpenSegment, find_place, open_segment_file

PART_COUNT_MAX: Final = 256
"""That are asked for at once: 256 MiB of rot is a disk to be replaced."""
FRAMES_BYTES_MAX: Final = 64 * MIB
"""Frames that are put together in memory until what follows them proves them: a whole segment of the usual size."""


@dataclass(frozen=True, slots=True, order=True)
class RottenLeaf:
    """Bytes [number MiB, number + 1 MiB) of a sealed segment that are not what was sealed."""

    epoch: int
    segment_first_seq: int
    number: int


@dataclass(frozen=True, slots=True, order=True)
class RottenFrames:
    """Frames with the records [first_seq, next_seq) of a segment.

    Args:
        prev_hash: Of the frame before them; b"" where it can't be told: then they can't be mended.
        end_hash: Of the last of them, as what follows names it; b"" where nothing says it: then they can't be mended.
        offset, end_offset: Where they lie in the file; `end_offset` 0 where nothing follows them in it.
    """

    epoch: int
    segment_first_seq: int
    first_seq: int
    next_seq: int
    prev_hash: bytes
    end_hash: bytes
    offset: int
    end_offset: int


@dataclass(frozen=True, slots=True, order=True)
class RottenPage:
    """The first page of a segment that isn't sealed, or the footer of one that is.

    Args:
        end_seq, end_hash: Of a footer: where the segment's frames end.
    """

    epoch: int
    segment_first_seq: int
    what: Literal["header", "footer"]
    end_seq: int = 0
    end_hash: bytes = b""


@dataclass(frozen=True, slots=True, order=True)
class RottenBlemish:
    """Bytes of a segment that isn't sealed which hold no record, and are known here: a copy of its header, or padding."""

    epoch: int
    segment_first_seq: int
    offset: int
    end_offset: int


RottenPart: TypeAlias = RottenLeaf | RottenFrames | RottenPage | RottenBlemish


def rotten_parts(disk: Disk, directory: Path) -> list[RottenPart]:
    """What the last scrubs of a stream found, and is still so; in order, at most PART_COUNT_MAX. Reads those parts, and what isn't sealed as a whole.

    Raises:
        OSError: the directory can't be read. A part that can't be is rotten.
    """
    found: list[RottenPart] = []
    live = live_segments(segments_in_order(disk.names(directory)))
    wanted = _named(directory)
    for at, name in enumerate(live):
        if name.key not in wanted or len(found) >= PART_COUNT_MAX:
            continue
        after = live[at + 1] if at + 1 < len(live) else None
        segment = open_segment_file(disk, directory, name)
        if segment is None:
            continue  # removed since
        try:
            if segment.name.state == "seg" and is_footer_good(segment.footer):
                assert segment.footer is not None
                found += _leaves(disk, segment, segment.footer, wanted[name.key])
            else:
                found += _others(disk, directory, segment, after)
        finally:
            disk.close(segment.descriptor)
    return found[:PART_COUNT_MAX]


def rotten_frames(disk: Disk, directory: Path, leaf: RottenLeaf) -> list[RottenFrames]:
    """The frames that make a leaf of a sealed segment rotten; also where no holder has the leaf some may have the frames.

    Raises:
        OSError: the directory can't be read.
    """
    live = live_segments(segments_in_order(disk.names(directory)))
    at = next((n for n, name in enumerate(live) if name.key == (leaf.epoch, leaf.segment_first_seq)), None)
    segment = open_segment_file(disk, directory, live[at]) if at is not None else None
    if segment is None or at is None:
        return []
    start, end = leaf.number * LEAF_BYTES, (leaf.number + 1) * LEAF_BYTES
    try:
        parts = _others(disk, directory, segment, live[at + 1] if at + 1 < len(live) else None)
    finally:
        disk.close(segment.descriptor)
    return [
        each
        for each in parts
        if isinstance(each, RottenFrames)
        and (each.offset < end and (each.end_offset > start or not each.end_offset))
    ]


def is_footer_good(footer: Footer | None) -> bool:
    """Whether leaves can be proved by it."""
    return footer is not None and is_signature_valid(footer)


def read_leaf(disk: Disk, descriptor: int, footer: Footer, number: int) -> bytes | None:
    """A leaf's bytes; None where they are not what was sealed, or can't be read."""
    offset = number * LEAF_BYTES
    try:
        data = disk.pread(descriptor, min(LEAF_BYTES, footer.frames_end - offset), offset)
    except OSError:
        return None
    return data if sha256(data) == footer.leaves[number] else None


def _named(directory: Path) -> dict[tuple[int, int], list[DamagedRange]]:
    """The segments that scrubs found something in, and what."""
    state = read_scrub_state(directory)
    found: dict[tuple[int, int], list[DamagedRange]] = {}
    for damaged in (*state.last.damaged, *state.now.damaged):
        name = parse_segment_name(damaged.segment)
        if name is not None:
            found.setdefault(name.key, []).append(damaged)
    return found


def _leaves(
    disk: Disk, segment: OpenSegment, footer: Footer, damaged: list[DamagedRange]
) -> list[RottenPart]:
    numbers: set[int] = set()
    for each in damaged:
        end = max(each.end_offset, each.offset + 1)
        numbers.update(range(each.offset // LEAF_BYTES, -(-end // LEAF_BYTES)))
    return [
        RottenLeaf(*segment.name.key, number)
        for number in sorted(numbers)
        if number < len(footer.leaves) and read_leaf(disk, segment.descriptor, footer, number) is None
    ]


def _others(disk: Disk, directory: Path, segment: OpenSegment, after: SegmentName | None) -> list[RottenPart]:
    """What isn't whole of a segment without a footer that proves it, or besides that."""
    name, found = segment.name, list[RottenPart]()
    head = read_head(disk, directory)
    is_newest = name.key == (head.epoch, head.segment_first_seq) and segment.footer is None
    end_seq, end_hash = _end(disk, directory, segment, after, head)
    try:
        end = verify_segment(
            disk, directory, name, end_offset=head.offset if is_newest else None, end_seq=end_seq or None
        )
    except FileNotFoundError:
        return []  # it has another name by now: it is looked at the next time
    if name.state == "seg" and not is_footer_good(segment.footer):
        found.append(RottenPage(*name.key, "footer", end_seq or end.position.next_seq, end_hash or end.position.hash))  # fmt: skip
    if segment.header is None:
        return [*found, RottenPage(*name.key, "header")]  # frames can be proved once the salt is known
    for each in end.verdict.damaged:
        if each.next_seq > each.first_seq:
            found.append(_frames(disk, segment, each, end_hash))
        elif name.state != "seg" and _is_blemish(disk, segment, each):
            found.append(RottenBlemish(*name.key, each.offset, each.end_offset))
    return found


def _end(
    disk: Disk, directory: Path, segment: OpenSegment, after: SegmentName | None, head: Head
) -> tuple[int, bytes]:
    """The sequence after a segment's last record, and the last frame's hash, as others say them; (0, b"") where nobody does."""
    if segment.footer is not None:
        return segment.footer.last_seq + 1, segment.footer.last_hash
    if after is not None:
        following = open_segment_file(disk, directory, after)
        if following is None:
            return after.first_seq, b""
        disk.close(following.descriptor)
        header = following.header
        return after.first_seq, header.continues_hash if header is not None else b""
    if head.epoch == segment.name.epoch and head.segment_first_seq <= segment.name.first_seq <= head.next_seq:
        return head.next_seq, head.hash
    return 0, b""


def _frames(disk: Disk, segment: OpenSegment, damaged: DamagedRange, segment_end_hash: bytes) -> RottenFrames:
    """Damaged frames with what proves them."""
    try:
        before = find_place(disk, segment, damaged.first_seq, end_offset=None)
    except LogDamaged:
        before = Position(damaged.offset, damaged.first_seq, b"")
    header = decode_header(disk.pread(segment.descriptor, HEADER_BYTES, damaged.end_offset), segment.salt)
    is_followed = not isinstance(header, str) and header.first_seq == damaged.next_seq
    end_hash = header.prev_hash if is_followed and not isinstance(header, str) else segment_end_hash
    return RottenFrames(
        *segment.name.key,
        damaged.first_seq,
        damaged.next_seq,
        before.hash,
        b"" if end_hash == ZERO_HASH else end_hash,
        before.offset,
        damaged.end_offset if is_followed else 0,
    )


def _is_blemish(disk: Disk, segment: OpenSegment, damaged: DamagedRange) -> bool:
    """Whether it is known here what these bytes were."""
    if damaged.offset or damaged.end_offset != PAGE_BYTES:
        return True
    page = disk.pread(segment.descriptor, PAGE_BYTES, 0)
    header = decode_segment_header(page)
    is_named = header is not None and (header.epoch, header.first_seq) == segment.name.key
    return header is not None and is_named and page != encode_segment_header(header)
