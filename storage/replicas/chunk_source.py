"""Pieces of a stream, raw, from the log itself or from a copy: whoever has it may give it to whoever asks.

Theory of operation: reading on from the last piece costs one pread per MiB. Headers are walked to find where frames end, and each
frame's checksum is looked at (it covers header, body and hash as they lie there), so that rotten bytes are found here and not blamed on
us by the receiver; nothing is decoded and no hash is computed. Nothing beyond the durable head is given. Segments are sealed and renamed
by another process meanwhile: an open descriptor stays good, a name that is gone makes the directory be listed anew.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Final

from appliance.core.errors import CursorExpired, LogDamaged
from appliance.core.limits import LEAF_BYTES, PAGE_BYTES
from storage.log.disk import Disk, OsDisk
from storage.log.frame import HEADER_BYTES, FrameHeader, decode_header
from storage.log.head import Head
from storage.log.layout import ZERO_HASH, genesis_hash, sha256
from storage.log.lost import LostRange
from storage.log.names import SegmentName, live_segments, segments_in_order
from storage.log.reader import LogReader
from storage.log.scan import Position, find_later_frame
from storage.log.segment_header import SegmentHeader, encode_segment_header
from storage.log.window import Window
from storage.replicas.errors import Fork, OtherHistory
from storage.replicas.gaps import gap_at
from storage.replicas.places import (
    HINT,
    NoFrameHere,
    OpenSegment,
    check_raw,
    damaged_range,
    find_place,
    open_segment_file,
    segment_at,
)
from storage.replicas.streams import CHUNK_BYTES_DEFAULT, SEQUENCE_MAX, Chunk, SealedEnd, StreamHead, StreamId

OPEN_SEGMENT_COUNT_MAX: Final = 4
PLACE_COUNT_MAX: Final = 16
"""Places at which somebody is expected to read on: a few peers, each at the tail or in a backlog."""


class ChunkSource:
    """One stream's directory. For one thread at a time.

    Args:
        directory: The stream's. It need not exist yet.
    """

    def __init__(self, directory: Path, stream: StreamId, *, disk: Disk | None = None) -> None:
        self.directory = directory
        self.stream = stream
        self._disk = disk or OsDisk()
        self._reader = LogReader(directory, stream=stream.name, disk=self._disk)
        self._segments: list[SegmentName] = []
        self._open: OrderedDict[tuple[int, int], OpenSegment] = OrderedDict()
        self._places: OrderedDict[tuple[tuple[int, int], int, bytes], int] = OrderedDict()
        self._tail = ((0, 0), Position(PAGE_BYTES, 1, b""), 0)
        self._names: list[str] = []

    def head(self) -> StreamHead:
        """How far the stream is held, durably.

        Raises:
            LogDamaged: the head file is damaged, and whoever writes it has not repaired it yet.
        """
        head = self._reader.head()
        self._list()
        start = genesis_hash(bytes.fromhex(self.stream.node_id), self.stream.name)
        if head.epoch == 0 or not self._segments:
            return StreamHead(head.epoch, head.next_seq, start if head.next_seq == 1 else head.hash)
        unsealed = next((name for name in self._segments if name.state != "seg"), None)
        return StreamHead(
            epoch=head.epoch,
            next_seq=head.next_seq,
            hash=head.hash,
            first_seq=self._segments[0].first_seq,
            sealed_seq=min(head.next_seq, unsealed.first_seq if unsealed else head.next_seq),
            last_at_ms=self._last_at_ms(head),
        )

    def after(
        self,
        epoch: int,
        next_seq: int,
        frame_hash: bytes,
        *,
        bytes_max: int = CHUNK_BYTES_DEFAULT,
        upto_seq: int = SEQUENCE_MAX,
    ) -> Chunk | None:
        """The piece that somebody needs who has everything before `next_seq`, up to a frame with this hash.

        Args:
            epoch: In which the asker is. A later one that has begun here without a record yet is given with its first page alone.
            bytes_max: Of frames; a single one that is larger is given as a whole.
            upto_seq: Frames that begin there or later are left out.
        Returns:
            Whole frames of one segment, with its first page where they begin it and its footer where they end it; None when
            there is nothing more.
        Raises:
            OtherHistory: what was asked for was never in this history, or a later epoch replaced it; it says where to go on.
            CursorExpired: it is no longer kept here.
            LogDamaged: the bytes here are rotten; `first_seq` and `next_seq` name the range. Another holder may have it.
        """
        head = self._reader.head()
        self._list()
        later = next((name for name in self._segments if name.epoch > epoch), None)
        if later is not None and later.first_seq < next_seq and epoch:
            segment = self._segment(segment_at(self._segments, later.first_seq), head)
            raise OtherHistory(
                f"The writer of {self.stream} began epoch {later.epoch} at {later.first_seq}, before what was asked for.",
                place=(later.epoch, later.first_seq, self._header_of(segment).continues_hash),
                fork=None,
            )
        if next_seq > head.next_seq or not self._segments:
            return None
        at = segment_at(self._segments, next_seq)
        name = self._segments[at]
        if next_seq == head.next_seq and (name.epoch <= epoch or name.first_seq != next_seq):
            self._check_end(head, next_seq, frame_hash)
            return None
        segment = self._segment(at, head)
        end_offset, end_seq = self._bound(at, segment, head)
        place = self._place(head, segment, next_seq, frame_hash, end_offset)
        frames, end, last_at_ms, lost = self._frames(
            segment, place, end_offset, min(end_seq, upto_seq), bytes_max
        )
        footer = None
        if segment.footer is not None and end.next_seq == segment.footer.last_seq + 1:
            footer = self._footer_bytes(segment)
        self._remember(segment, end)
        begins = next_seq == segment.name.first_seq
        return Chunk(
            stream=self.stream,
            epoch=segment.name.epoch,
            segment_first_seq=segment.name.first_seq,
            header_page=encode_segment_header(self._header_of(segment)) if begins else None,
            first_seq=next_seq,
            prev_hash=frame_hash,
            next_seq=end.next_seq,
            hash=end.hash,
            last_at_ms=last_at_ms,
            frames=frames,
            footer=footer,
            lost=lost,
        )

    def begin(self, seq: int = 0, *, bytes_max: int = CHUNK_BYTES_DEFAULT) -> Chunk | None:
        """The first piece of the segment that holds `seq`, or of the oldest one kept: what an empty copy begins with.

        Raises:
            LogDamaged: as `after`.
        """
        head = self._reader.head()
        self._list()
        if not self._segments:
            return None
        at = segment_at(self._segments, max(seq, self._segments[0].first_seq))
        segment = self._segment(at, head)
        continues = self._header_of(segment).continues_hash
        return self.after(0, segment.name.first_seq, continues, bytes_max=bytes_max)

    def begins_after(self, epoch: int) -> int | None:
        """The first sequence of a later epoch's first segment; None where there is none."""
        self._list()
        return next((name.first_seq for name in self._segments if name.epoch > epoch), None)

    def footer_after(self, sealed_seq: int) -> Chunk | None:
        """The signed end of the first sealed segment that begins at or after a sequence; None when there is none.

        A head's `sealed_seq` says which one its holder lacks first.
        """
        head = self._reader.head()
        self._list()
        for at, name in enumerate(self._segments):
            if name.first_seq < sealed_seq or name.state != "seg":
                continue
            segment = self._segment(at, head)
            if segment.footer is None:
                continue  # rotten: another holder has it
            footer = segment.footer
            return Chunk(
                stream=self.stream,
                epoch=name.epoch,
                segment_first_seq=name.first_seq,
                header_page=None,
                first_seq=footer.last_seq + 1,
                prev_hash=footer.last_hash,
                next_seq=footer.last_seq + 1,
                hash=footer.last_hash,
                last_at_ms=footer.last_time_ms,
                frames=b"",
                footer=self._footer_bytes(segment),
            )
        return None

    def end_before(self, seq: int, frame_hash: bytes) -> SealedEnd | None:
        """The signed end of the sealed segment whose last record is the one before `seq`, with this hash; None: none is sealed there."""
        self._list()
        at = (
            next((at for at, name in enumerate(self._segments) if name.first_seq >= seq), len(self._segments))
            - 1
        )
        if at < 0 or self._segments[at].state != "seg":
            return None
        try:
            segment = self._segment(at, self._reader.head())
        except CursorExpired:
            return None  # let go meanwhile
        footer = segment.footer  # None: rotten
        if footer is None or (footer.last_seq + 1, footer.last_hash) != (seq, frame_hash):
            return None
        return SealedEnd(segment.name.epoch, segment.name.first_seq, self._footer_bytes(segment))

    def leaf(self, epoch: int, segment_first_seq: int, number: int) -> bytes | None:
        """Bytes [n MiB, n + 1 MiB) of a sealed segment, as far as its frames go; None when it isn't sealed here, or not here.

        Raises:
            LogDamaged: they are not what the footer says.
        """
        head = self._reader.head()
        self._list()
        for at, name in enumerate(self._segments):
            if name.key != (epoch, segment_first_seq):
                continue
            segment = self._segment(at, head)
            footer = segment.footer
            if footer is None or not 0 <= number < len(footer.leaves):
                return None
            offset = number * LEAF_BYTES
            data = self._disk.pread(segment.descriptor, min(LEAF_BYTES, footer.frames_end - offset), offset)
            if sha256(data) != footer.leaves[number]:
                raise LogDamaged(f"Leaf {number} of {name} is not what was sealed.", hint=HINT)
            return data
        return None

    def close(self) -> None:
        for segment in self._open.values():
            self._disk.close(segment.descriptor)
        self._open.clear()
        self._reader.close()

    def _frames(
        self, segment: OpenSegment, place: Position, end_offset: int, end_seq: int, bytes_max: int
    ) -> tuple[bytes, Position, int, LostRange | None]:
        """Whole frames from a place on, where they end, the last time in them; and what a gap is marked lost by, which has zeros instead."""
        wanted = max(PAGE_BYTES, min(bytes_max, end_offset - place.offset))
        data = self._disk.pread(segment.descriptor, wanted, place.offset) if place.next_seq < end_seq else b""
        at, end, last_at_ms, problem = 0, place, 0, ""
        while end.next_seq < end_seq:
            header = decode_header(data[at : at + HEADER_BYTES], segment.salt)
            if not isinstance(header, str) and at + header.frame_bytes > len(data):
                if at:
                    break
                data = self._disk.pread(segment.descriptor, header.frame_bytes, place.offset)
            elif isinstance(header, str) and at and at + HEADER_BYTES > len(data):
                break
            found = check_raw(header, data, at, segment, end)
            if isinstance(found, str):
                problem = found
                break
            frame, frame_hash = found
            at += frame.frame_bytes
            end = Position(end.offset + frame.frame_bytes, frame.next_seq, frame_hash)
            last_at_ms = frame.last_time_ms
        if problem and not at:
            self._open.pop(segment.name.key, None)  # should the file have been made anew, it is opened anew
            later = self._later(segment, place, end_offset)
            gap = gap_at(self.directory, segment.name.epoch, place, later) if later else None
            self._disk.close(segment.descriptor)
            if gap is not None:
                return bytes(gap[1].offset - place.offset), gap[1], 0, gap[0]
            next_seq = min(later[1].first_seq, end_seq) if later else end_seq
            raise damaged_range(segment.name, place.next_seq, next_seq, problem)
        return data if at == len(data) else data[:at], end, last_at_ms, None

    def _later(self, segment: OpenSegment, at: Position, end_offset: int) -> tuple[int, FrameHeader] | None:
        read_at = lambda length, offset: self._disk.pread(segment.descriptor, length, offset)  # noqa: E731
        window = Window(read_at, end_offset)
        return find_later_frame(window, at.offset, end_offset, segment.salt, segment.name.epoch, at.next_seq)

    def _place(
        self, head: Head, segment: OpenSegment, seq: int, frame_hash: bytes, end_offset: int
    ) -> Position:
        key = (segment.name.key, seq, frame_hash)
        offset = self._places.get(key)
        if offset is not None:
            return Position(offset, seq, frame_hash)
        try:
            place = find_place(self._disk, segment, seq, end_offset=end_offset)
        except NoFrameHere as error:
            raise self._other(head, seq, ZERO_HASH, frame_hash) from error
        if place.hash and place.hash != frame_hash:
            raise self._other(head, seq, place.hash, frame_hash)
        return place

    def _check_end(self, head: Head, seq: int, frame_hash: bytes) -> None:
        if head.hash != frame_hash:
            raise self._other(head, seq, head.hash, frame_hash)

    def _other(self, head: Head, seq: int, ours: bytes, theirs: bytes) -> OtherHistory:
        """What was asked for is not here: the evidence, and the beginning of the segment before as a place to go on from."""
        at = segment_at(self._segments, max(self._segments[0].first_seq, seq - 1))
        segment, name = self._segment(at, head), self._segments[at]
        place = (name.epoch, name.first_seq, self._header_of(segment).continues_hash)
        return OtherHistory(
            f"Before record {seq}, {self.stream} has {ours.hex()[:8]} here, and {theirs.hex()[:8]} where it was asked from.",
            place=place,
            fork=Fork(self.stream, name.epoch, seq, ours, theirs, name.first_seq),
        )

    def _remember(self, segment: OpenSegment, end: Position) -> None:
        self._places[(segment.name.key, end.next_seq, end.hash)] = end.offset
        self._places.move_to_end((segment.name.key, end.next_seq, end.hash))
        while len(self._places) > PLACE_COUNT_MAX:
            self._places.popitem(last=False)

    def _last_at_ms(self, head: Head) -> int:
        """The last time in the last frame; 0 where it can't be told."""
        segment = self._segment(len(self._segments) - 1, head)
        if segment.footer is not None:
            return segment.footer.last_time_ms
        key, at, last_at_ms = self._tail
        if key != segment.name.key or at.next_seq > head.next_seq:
            at, last_at_ms = segment.start, 0
        while at.next_seq < head.next_seq and at.offset < head.offset:
            header = decode_header(
                self._disk.pread(segment.descriptor, HEADER_BYTES, at.offset), segment.salt
            )
            if isinstance(header, str):
                return 0
            at = Position(at.offset + header.frame_bytes, header.next_seq, b"")
            last_at_ms = header.last_time_ms
        self._tail = (segment.name.key, at, last_at_ms)
        return last_at_ms

    def _bound(self, at: int, segment: OpenSegment, head: Head) -> tuple[int, int]:
        """(offset, sequence) up to which a segment may be given out."""
        whole = segment.footer.frames_end if segment.footer else self._disk.size(segment.descriptor)
        if segment.name.key == (head.epoch, head.segment_first_seq) and segment.footer is None:
            return min(whole, head.offset), head.next_seq
        if at + 1 < len(self._segments):
            return whole, min(self._segments[at + 1].first_seq, head.next_seq)
        return whole, head.next_seq

    def _segment(self, at: int, head: Head) -> OpenSegment:
        name = self._segments[at]
        segment = self._open.get(name.key)
        if segment and (segment.header is None or (segment.footer is None and name.state == "seg")):
            self._disk.close(self._open.pop(name.key).descriptor)  # sealed or mended: it has one by now
            segment = None
        if segment is None:
            segment = open_segment_file(self._disk, self.directory, name)
            if segment is None:
                self._list()
                first = self._segments[0].first_seq if self._segments else head.next_seq
                raise CursorExpired(
                    f"{name} is no longer kept; the oldest record is {first}.",
                    next_seq=first,
                    hint=f"Begin a copy at {first}.",
                )
            self._open[name.key] = segment
            while len(self._open) > OPEN_SEGMENT_COUNT_MAX:
                self._disk.close(self._open.popitem(last=False)[1].descriptor)
        self._open.move_to_end(name.key)
        return segment

    def _header_of(self, segment: OpenSegment) -> SegmentHeader:
        if segment.header is None:
            raise LogDamaged(
                f"Both copies of the header of {segment.name} are damaged.",
                first_seq=segment.name.first_seq,
                next_seq=segment.name.first_seq,
                hint=HINT,
            )
        return segment.header

    def _footer_bytes(self, segment: OpenSegment) -> bytes:
        assert segment.footer is not None
        end = segment.footer.frames_end
        return self._disk.pread(segment.descriptor, self._disk.size(segment.descriptor) - end, end)

    def _list(self) -> None:
        try:
            names = self._disk.names(self.directory)
        except FileNotFoundError:
            names = []
        if names == self._names:
            return
        self._names = names
        self._segments = live_segments(segments_in_order(names))
        kept = {name.key for name in self._segments}
        for key in [key for key in self._open if key not in kept]:
            # An open descriptor would keep a removed file's space.
            self._disk.close(self._open.pop(key).descriptor)
