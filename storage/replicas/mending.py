"""Mending what rots in a segment from another holder's bytes: of a log of one's own or of a copy, it makes no difference.

Nobody who sent bytes has to be trusted: rotten.py says what proves each part. A sealed segment is written anew beside the old one and
renamed over it (storage/log/rewriting.py). In one that isn't sealed, which its writer may have open, damaged bytes are written over in their place: frames
fill whole pages, so nothing that is whole is touched, and a crash in between leaves damaged what was.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from appliance.core.limits import LEAF_BYTES, PAGE_BYTES
from storage.log.disk import Disk, write_all
from storage.log.frame import decode_header
from storage.log.layout import sha256
from storage.log.names import SegmentName, live_segments, segments_in_order
from storage.log.rewriting import bytes_of, write_anew, write_footer_anew
from storage.log.scan import Position, find_later_frame
from storage.log.seal import leaf_hashes
from storage.log.segment_header import decode_segment_header, encode_segment_header
from storage.log.window import Window
from storage.replicas.checking import check_frames
from storage.replicas.places import OpenSegment, open_segment_file
from storage.replicas.rotten import (
    RottenBlemish,
    RottenFrames,
    RottenLeaf,
    RottenPage,
    RottenPart,
    is_footer_good,
    read_leaf,
)
from storage.replicas.sealing import check_footer, pinned_keys


def mend(disk: Disk, directory: Path, part: RottenPart, data: bytes = b"") -> str:
    """Puts a part in its place; gives what is wrong, one sentence, where it isn't what belongs there or nothing can be mended.

    Args:
        data: As another holder gave it; none for a blemish.
    Raises:
        OSError: the disk failed, or is full; the segment is as it was.
    """
    if isinstance(part, RottenLeaf):
        return mend_leaf(disk, directory, part, data)
    name = SegmentName(part.epoch, part.segment_first_seq, "open")
    segment = open_segment_file(disk, directory, name)
    if segment is None:
        return f"{name} is not here any more"
    try:
        match part:
            case RottenFrames():
                return _mend_frames(disk, directory, segment, part, data)
            case RottenPage(what="footer"):
                return _mend_footer(disk, directory, segment, part, data)
            case RottenPage():
                return _mend_header(disk, directory, segment, data)
            case RottenBlemish():
                return _mend_blemish(disk, directory, segment, part)
    finally:
        disk.close(segment.descriptor)


def mend_leaf(disk: Disk, directory: Path, leaf: RottenLeaf, data: bytes) -> str:
    """As `mend`, of a leaf.

    Args:
        data: As ChunkSource.leaf of another holder gave it.
    Raises:
        OSError: the disk failed, or is full; the segment is as it was.
    """
    name = SegmentName(leaf.epoch, leaf.segment_first_seq, "seg")
    segment = open_segment_file(disk, directory, name)
    if segment is None:
        return f"{name} is not here any more"
    try:
        footer = segment.footer
        if footer is None or not is_footer_good(footer):
            return f"the footer of {name} is damaged itself"
        if not 0 <= leaf.number < len(footer.leaves) or sha256(data) != footer.leaves[leaf.number]:
            return f"these are not the bytes of leaf {leaf.number} that was sealed in {name}"
        if read_leaf(disk, segment.descriptor, footer, leaf.number) is None:
            _patch(disk, directory, segment, leaf.number * LEAF_BYTES, data)
        return ""
    finally:
        disk.close(segment.descriptor)


def _mend_frames(disk: Disk, directory: Path, segment: OpenSegment, part: RottenFrames, data: bytes) -> str:
    header = segment.header
    if header is None:
        return f"both copies of the header of {segment.name} are damaged"
    if not part.end_hash:
        return f"nothing says any more what the records {part.first_seq} to {part.next_seq - 1} of {segment.name} were"
    start = Position(part.offset, part.first_seq, part.prev_hash)
    checked = check_frames(data, epoch=part.epoch, salt=header.salt, start=start)
    if isinstance(checked, str):
        return checked
    if (checked.end.next_seq, checked.end.hash) != (part.next_seq, part.end_hash):
        return f"these are not the records {part.first_seq} to {part.next_seq - 1} that {segment.name} had"
    if part.end_offset and checked.end.offset != part.end_offset:
        return f"these frames are of another size than those that {segment.name} had"
    _patch(disk, directory, segment, part.offset, data)
    return ""


def _mend_footer(disk: Disk, directory: Path, segment: OpenSegment, part: RottenPage, data: bytes) -> str:
    name = segment.name
    if is_footer_good(segment.footer):
        return ""  # it was mended before
    if name.state != "seg":
        return f"{name} is not sealed"
    live = live_segments(segments_in_order(disk.names(directory)))
    keys = pinned_keys(disk, directory, live, live.index(name)) if name in live else None
    footer = check_footer(data, name, keys)
    if isinstance(footer, str):
        return footer
    if (footer.last_seq + 1, footer.last_hash) != (part.end_seq, part.end_hash):
        return f"the footer ends somewhere else than the frames of {name}"
    if keys is None and leaf_hashes(disk, segment.descriptor, footer.frames_end) != footer.leaves:
        return "the footer's hashes are not those of the bytes here, and nothing says whose key signed it"
    write_footer_anew(disk, directory, name, segment.descriptor, footer, data)
    return ""


def _mend_header(disk: Disk, directory: Path, segment: OpenSegment, data: bytes) -> str:
    name = segment.name
    if segment.header is not None:
        return ""  # it was mended before
    header = decode_segment_header(data)
    if header is None or encode_segment_header(header) != data:
        return "the header's page is not whole"
    if (header.epoch, header.first_seq) != name.key:
        return "the header is that of another segment"
    size = disk.size(segment.descriptor)
    window = Window(lambda length, offset: disk.pread(segment.descriptor, length, offset), size)
    first = decode_header(window.get(PAGE_BYTES, PAGE_BYTES), header.salt)
    if isinstance(first, str):
        if find_later_frame(window, PAGE_BYTES, size, header.salt, name.epoch, name.first_seq) is None:
            return f"no frame of {name} is one by this header"
    elif (first.first_seq, first.prev_hash) != (name.first_seq, header.continues_hash):
        return f"the first frame of {name} is not what the header says"
    _patch(disk, directory, segment, 0, data)
    return ""


def _mend_blemish(disk: Disk, directory: Path, segment: OpenSegment, part: RottenBlemish) -> str:
    if segment.header is None:
        return f"both copies of the header of {segment.name} are damaged"
    data = bytes(part.end_offset - part.offset) if part.offset else encode_segment_header(segment.header)
    _patch(disk, directory, segment, part.offset, data)
    return ""


def _patch(disk: Disk, directory: Path, segment: OpenSegment, offset: int, data: bytes) -> None:
    """Has these bytes at a place of a segment's file, durably."""
    name, descriptor = segment.name, segment.descriptor
    if name.state == "seg":
        size = disk.size(descriptor)
        write_anew(disk, directory, name, _patched(disk, descriptor, size, offset, data), size)
        return
    writing = disk.open(directory / str(name), write=True)
    try:
        write_all(disk, writing, [data], offset)
        disk.fdatasync(writing)
    finally:
        disk.close(writing)


def _patched(disk: Disk, descriptor: int, size: int, offset: int, data: bytes) -> Iterable[bytes]:
    yield from _readable(disk, descriptor, 0, offset)
    yield data
    yield from _readable(disk, descriptor, offset + len(data), size)


def _readable(disk: Disk, descriptor: int, start: int, end: int) -> Iterable[bytes]:
    """Bytes of the old file; what can't be read stays rotten, as zeros, until it is mended too."""
    while start < end:
        stop = min(end, start - start % LEAF_BYTES + LEAF_BYTES)
        try:
            yield b"".join(bytes_of(disk, descriptor, start, stop))
        except OSError:
            yield bytes(stop - start)
        start = stop
