"""Where in a stream's directory a sequence is: the segment, the offset and the hash of what comes before it.

Only headers of frames are read, from the nearest entry of a sealed segment's index on; whoever then sends or copies the frames
has their checksums looked at.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.errors import CursorExpired, LogDamaged
from appliance.core.limits import PAGE_BYTES
from storage.log.disk import Disk
from storage.log.footer import Footer
from storage.log.frame import HEADER_BYTES, FrameHeader, check_frame, decode_header
from storage.log.layout import HASH_BYTES, ZERO_HASH, crc32c
from storage.log.names import SegmentName, State
from storage.log.scan import Position, find_later_frame
from storage.log.seal import read_footer
from storage.log.segment_header import SegmentHeader, decode_segment_header
from storage.log.segment_index import SegmentIndex
from storage.log.window import Window

HINT: Final = "The range is mended from another holder, or asked of one; 'homeport log verify' says more."


class NoFrameHere(LogDamaged):
    """A sequence lies within a frame: whoever asks for it to begin there knows another history."""


@dataclass(slots=True)
class OpenSegment:
    """A segment's file, open for reading, and what its ends say.

    Args:
        name: As it was when it was opened; a descriptor stays good when the file is sealed.
        header: None where both copies are damaged.
        footer: None of a segment that isn't sealed.
    """

    name: SegmentName
    descriptor: int
    header: SegmentHeader | None
    footer: Footer | None

    @property
    def salt(self) -> int | None:
        return self.header.salt if self.header is not None else None

    @property
    def start(self) -> Position:
        before = self.header.continues_hash if self.header is not None else b""
        return Position(PAGE_BYTES, self.name.first_seq, before)


def open_segment_file(disk: Disk, directory: Path, name: SegmentName) -> OpenSegment | None:
    """Opens a segment in whatever state it is by now; None when it is gone.

    Raises:
        OSError: it can't be read.
    """
    states: tuple[State, ...] = (name.state, "open", "seg", "damaged")
    for state in states:
        current = SegmentName(name.epoch, name.first_seq, state)
        try:
            descriptor = disk.open(directory / str(current))
        except FileNotFoundError:
            continue
        try:
            header = decode_segment_header(disk.pread(descriptor, PAGE_BYTES, 0))
            footer = read_footer(disk, descriptor) if state == "seg" else None
        except BaseException:
            disk.close(descriptor)
            raise
        return OpenSegment(current, descriptor, header, footer)
    return None


def segment_at(segments: list[SegmentName], seq: int) -> int:
    """Where in a list of live segments the one that holds `seq` is.

    Raises:
        CursorExpired: it is before the oldest.
    """
    at = bisect_right(segments, seq, key=lambda name: name.first_seq) - 1
    if at < 0:
        first = segments[0].first_seq if segments else 1
        raise CursorExpired(
            f"Record {seq} is no longer kept; the oldest is {first}.",
            next_seq=first,
            hint=f"Begin a copy at {first}.",
        )
    return at


def find_place(disk: Disk, segment: OpenSegment, seq: int, *, end_offset: int | None) -> Position:
    """The place of the frame that begins with `seq`, or where a segment ends that holds everything before it.

    Args:
        end_offset: No frame begins there or beyond; None: as far as the footer, or the file, says.
    Raises:
        LogDamaged: a header on the way there can't be read, or no frame begins with that sequence.
    """
    if end_offset is None:
        end_offset = segment.footer.frames_end if segment.footer else disk.size(segment.descriptor)
    at = segment.start
    if segment.footer is not None and segment.footer.index:
        # The last frame before the one that is looked for says its hash, so the walk begins one entry earlier at most.
        entry = SegmentIndex(segment.footer.index).for_seq(max(seq - 1, at.next_seq))
        if entry is not None and entry.first_seq > at.next_seq:
            at = Position(entry.offset, entry.first_seq, b"")
    while at.next_seq < seq:
        try:
            at = frame_at(disk, segment, at, end_offset)
        except LogDamaged:
            beyond = _beyond_damage(disk, segment, at, seq, end_offset)
            if beyond is None:
                raise
            at = beyond
    if at.next_seq != seq:
        raise NoFrameHere(
            f"No frame of {segment.name} begins with record {seq}.", first_seq=seq, next_seq=seq, hint=HINT
        )
    return at


def _beyond_damage(
    disk: Disk, segment: OpenSegment, at: Position, seq: int, end_offset: int
) -> Position | None:
    """The first place after damage from which `seq` can still be walked to; None when there is none."""
    window = Window(lambda length, offset: disk.pread(segment.descriptor, length, offset), end_offset)
    found = find_later_frame(window, at.offset, end_offset, segment.salt, segment.name.epoch, at.next_seq)
    if found is None or found[1].first_seq > seq:
        return None
    return Position(found[0], found[1].first_seq, found[1].prev_hash)


def frame_at(disk: Disk, segment: OpenSegment, at: Position, end_offset: int | None = None) -> Position:
    """The place after the frame at a place: its hash is that frame's.

    Raises:
        LogDamaged: no such frame is there.
    """
    reason = "the segment ends there"
    if end_offset is None or at.offset < end_offset:
        header = decode_header(disk.pread(segment.descriptor, HEADER_BYTES, at.offset), segment.salt)
        if not isinstance(header, str):
            if header.first_seq == at.next_seq and header.epoch == segment.name.epoch:
                hash_at = at.offset + HEADER_BYTES + header.stored_bytes
                frame_hash = disk.pread(segment.descriptor, HASH_BYTES, hash_at)
                return Position(at.offset + header.frame_bytes, header.next_seq, frame_hash)
            reason = f"a frame of epoch {header.epoch} with sequence {header.first_seq} is in this place"
        else:
            reason = header
    raise LogDamaged(
        f"Record {at.next_seq} in {segment.name} can't be read: {reason}.",
        first_seq=at.next_seq,
        next_seq=at.next_seq,
        hint=HINT,
    )


def place_in_file(disk: Disk, directory: Path, name: SegmentName, seq: int) -> Position:
    """As `find_place`, in a segment that isn't open yet.

    Raises:
        LogDamaged: likewise, or the file is gone.
    """
    segment = open_segment_file(disk, directory, name)
    if segment is None:
        raise LogDamaged(f"{name} is gone.", first_seq=seq, next_seq=seq, hint=HINT)
    try:
        return find_place(disk, segment, seq, end_offset=None)
    finally:
        disk.close(segment.descriptor)


def hash_in_file(disk: Disk, directory: Path, name: SegmentName, seq: int) -> bytes:
    """The hash of the frame before a sequence; zeros where no frame ends there, so that it is another history.

    Raises:
        As `place_in_file`.
    """
    try:
        return place_in_file(disk, directory, name, seq).hash
    except NoFrameHere:
        return ZERO_HASH


def damaged_range(name: SegmentName, first_seq: int, next_seq: int, reason: str) -> LogDamaged:
    """That a range can't be given out."""
    return LogDamaged(
        f"Records {first_seq} to {next_seq - 1} in {name} can't be read: {reason}.",
        first_seq=first_seq,
        next_seq=next_seq,
        hint=HINT,
    )


def check_raw(
    header: FrameHeader | str, data: bytes, at: int, segment: OpenSegment, before: Position
) -> tuple[FrameHeader, bytes] | str:
    """The frame at a place and its hash; or what is wrong with it."""
    if isinstance(header, str):
        return header
    if header.first_seq != before.next_seq or header.epoch != segment.name.epoch:
        return f"a frame of epoch {header.epoch} with sequence {header.first_seq} is in this place"
    if before.hash and header.prev_hash != before.hash:
        return "the frame does not name the frame before it"
    content_end = at + HEADER_BYTES + header.stored_bytes + HASH_BYTES
    frame_hash = data[content_end - HASH_BYTES : content_end]
    if segment.salt is None:
        frame = data[at : at + header.frame_bytes]
        checked = check_frame(header, frame, frame[HEADER_BYTES : HEADER_BYTES + header.stored_bytes], None)
        return checked if isinstance(checked, str) and checked else (header, frame_hash)
    checksum = crc32c(segment.salt, data[at:content_end]).to_bytes(4, "little")
    if data[content_end : content_end + 4] != checksum:
        return "the frame's checksum is wrong"
    return header, frame_hash
