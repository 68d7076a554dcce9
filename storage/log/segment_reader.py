"""Reading one segment, whatever its state: by sequence, by time, or on from where the last read ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.core.errors import LogDamaged
from appliance.core.limits import FRAME_BYTES_MAX, PAGE_BYTES
from storage.log.block import Block, make_block
from storage.log.disk import Disk
from storage.log.frame import HEADER_BYTES, FrameHeader, check_frame, decode_header
from storage.log.layout import round_to_page
from storage.log.names import SegmentName, State
from storage.log.scan import Position, find_later_frame
from storage.log.seal import read_footer
from storage.log.segment_header import decode_segment_header
from storage.log.segment_index import SegmentIndex
from storage.log.window import Window

DAMAGE_HINT = (
    "Go on at the next sequence; run 'homeport log verify' and fetch the range from a holder of a copy."
)


@dataclass(frozen=True, slots=True)
class Bound:
    """Up to where a segment may be read: the durable head's offset, or the next segment's first sequence."""

    offset: int | None
    seq: int


class SegmentReader:
    """One open segment file.

    Args:
        disk, directory, name: Which file; it may have been renamed since, which `open_segment` takes care of.
        descriptor: Open for reading; owned from here on.
    """

    def __init__(self, disk: Disk, name: SegmentName, descriptor: int) -> None:
        self._disk = disk
        self._descriptor = descriptor
        self.name = name
        header = decode_segment_header(disk.pread(descriptor, PAGE_BYTES, 0))
        self._salt = header.salt if header is not None else None
        start_hash = header.continues_hash if header is not None else b""
        self._start = Position(PAGE_BYTES, name.first_seq, start_hash)
        footer = read_footer(disk, descriptor) if name.state == "seg" else None
        self._frames_end = footer.frames_end if footer is not None else None
        self._index = SegmentIndex(footer.index if footer is not None else ())
        self._index_is_whole = footer is not None
        self._next = self._start

    def close(self) -> None:
        self._disk.close(self._descriptor)

    def read(self, seq: int, bound: Bound, bytes_max: int) -> list[Block]:
        """Blocks from the one that contains `seq`, at least one, then up to `bytes_max` of stored bytes.

        Raises:
            LogDamaged: the block that contains `seq` can't be read.
        """
        at = self._locate(seq, bound)
        blocks: list[Block] = []
        budget = bytes_max
        data, data_start = b"", at.offset
        while at.next_seq < bound.seq:
            relative = at.offset - data_start
            header = decode_header(data[relative : relative + HEADER_BYTES], self._salt)
            size = header.frame_bytes if not isinstance(header, str) else PAGE_BYTES
            if relative + size > len(data):
                data_start, relative = at.offset, 0
                data = self._pread(at.offset, max(size, min(round_to_page(budget), FRAME_BYTES_MAX)), bound)
                header = decode_header(data[:HEADER_BYTES], self._salt)
                if not isinstance(header, str) and header.frame_bytes > len(data):
                    data = self._pread(at.offset, header.frame_bytes, bound)
            problem = self._check_place(header, at, bound)
            if isinstance(header, str) or problem:
                return self._stop(blocks, at, bound, problem or str(header), None)
            view = (
                data[relative : relative + header.frame_bytes]
                if relative or len(data) != header.frame_bytes
                else data
            )
            stored = view[HEADER_BYTES : HEADER_BYTES + header.stored_bytes]
            frame_hash = check_frame(header, view, stored, self._salt)
            if isinstance(frame_hash, str):
                return self._stop(blocks, at, bound, frame_hash, header)
            if at.hash and header.prev_hash != at.hash:
                return self._stop(blocks, at, bound, "the frame does not name the frame before it", header)
            blocks.append(make_block(header, frame_hash, stored))
            self._index_frame(header, at.offset)
            at = Position(at.offset + header.frame_bytes, header.next_seq, frame_hash)
            self._next = at
            budget -= header.frame_bytes
            if budget <= 0:
                break
        return blocks

    def first_at_time(self, time_ms: int, bound: Bound) -> int | None:
        """The first sequence of the first block whose last time is at or after `time_ms`; None: it has none."""
        entry = self._index.for_time(time_ms)
        at = Position(entry.offset, entry.first_seq, b"") if entry else self._start
        while at.next_seq < bound.seq:
            header = self._header_at(at, bound)
            if isinstance(header, str):
                later = self._later(at, bound)
                if later is None:
                    return None
                at = later
                continue
            self._index_frame(header, at.offset)
            if header.last_time_ms >= time_ms:
                return header.first_seq
            at = Position(at.offset + header.frame_bytes, header.next_seq, b"")
        return None

    def _locate(self, seq: int, bound: Bound) -> Position:
        """The place of the frame that contains `seq`."""
        if self._next.next_seq == seq:
            return self._next
        entry = self._index.for_seq(seq)
        at = Position(entry.offset, entry.first_seq, b"") if entry else self._start
        if at.next_seq < self._next.next_seq <= seq:
            at = self._next
        while True:
            header = self._header_at(at, bound)
            if isinstance(header, str):
                later = self._later(at, bound)
                if later is None or seq < later.next_seq:
                    raise self._damaged(at.next_seq, later.next_seq if later else bound.seq, header)
                at = later
                continue
            self._index_frame(header, at.offset)
            if seq < header.next_seq:
                return at
            at = Position(at.offset + header.frame_bytes, header.next_seq, b"")

    def _header_at(self, at: Position, bound: Bound) -> FrameHeader | str:
        header = decode_header(self._pread(at.offset, HEADER_BYTES, bound), self._salt)
        return self._check_place(header, at, bound) or header

    def _check_place(self, header: FrameHeader | str, at: Position, bound: Bound) -> str:
        if isinstance(header, str):
            return header
        if header.first_seq != at.next_seq or header.epoch != self.name.epoch:
            return f"a frame of epoch {header.epoch} with sequence {header.first_seq} is in this place"
        if self._salt is None:
            whole = self._pread(at.offset, header.frame_bytes, bound)
            body = whole[HEADER_BYTES : HEADER_BYTES + header.stored_bytes]
            proved = check_frame(header, whole, body, None)
            return proved if isinstance(proved, str) else ""
        return ""

    def _index_frame(self, header: FrameHeader, offset: int) -> None:
        if not self._index_is_whole:
            self._index.add(header, offset)

    def _pread(self, offset: int, length: int, bound: Bound) -> bytes:
        ends = [end for end in (bound.offset, self._frames_end) if end is not None]
        return self._disk.pread(
            self._descriptor, max(0, min([length, *(end - offset for end in ends)])), offset
        )

    def _later(self, at: Position, bound: Bound) -> Position | None:
        """The next frame that can be recognised after a place where none is."""
        ends = [end for end in (bound.offset, self._frames_end) if end is not None]
        limit = min([self._disk.size(self._descriptor), *ends])
        window = Window(lambda length, offset: self._disk.pread(self._descriptor, length, offset), limit)
        found = find_later_frame(window, at.offset, limit, self._salt, self.name.epoch, at.next_seq)
        if found is None or found[1].first_seq >= bound.seq:
            return None
        return Position(found[0], found[1].first_seq, b"")

    def _stop(
        self, blocks: list[Block], at: Position, bound: Bound, reason: str, header: FrameHeader | None
    ) -> list[Block]:
        """Gives out what came before the damage; it is raised when it is what was asked for."""
        if blocks:
            return blocks
        if header is not None:  # the header holds, so the next frame's place is known
            self._next = Position(at.offset + header.frame_bytes, header.next_seq, b"")
            raise self._damaged(at.next_seq, header.next_seq, reason)
        later = self._later(at, bound)
        if later is not None:
            self._next = later
        raise self._damaged(at.next_seq, later.next_seq if later else bound.seq, reason)

    def _damaged(self, first_seq: int, next_seq: int, reason: str) -> LogDamaged:
        return LogDamaged(
            f"Records {first_seq} to {next_seq - 1} in {self.name} can't be read: {reason}.",
            first_seq=first_seq,
            next_seq=next_seq,
            hint=DAMAGE_HINT,
        )


def open_segment(disk: Disk, directory: Path, name: SegmentName) -> SegmentReader | None:
    """Opens a segment in whatever state it is by now; None when it is gone."""
    states: tuple[State, ...] = (name.state, "open", "seg", "damaged")
    for state in states:
        current = SegmentName(name.epoch, name.first_seq, state)
        try:
            descriptor = disk.open(directory / str(current))
        except FileNotFoundError:
            continue
        return SegmentReader(disk, current, descriptor)
    return None
