"""Reading a stream, also from another process: never beyond the durable head, never bytes that don't verify.

Theory of operation: the head file says up to where the log is fsynced; file names say which segment a sequence is
in; a segment's footer, or an index built while walking, says where. Reading on from the last block costs one pread
per 512 KiB. A segment may be sealed and renamed at any time: an open descriptor stays good, because what lies
before its last frame never changes, and a missing name makes the directory be listed anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path

from appliance.core.errors import CursorBeyondHead, CursorExpired, LogDamaged, Unavailable
from appliance.core.limits import READ_BYTES_DEFAULT, READER_SEGMENT_COUNT_MAX
from storage.log.block import Block
from storage.log.disk import Disk, OsDisk, SharedMap
from storage.log.head import HEAD_FILE_BYTES, NOTHING_YET, SLOTS_END, Head, read_slot
from storage.log.lost import told_lost
from storage.log.manifest import read_manifest
from storage.log.names import HEAD, SegmentName, live_segments, segments_in_order
from storage.log.segment_reader import Bound, SegmentReader, open_segment


class LogReader:
    """Reads one stream. For one thread at a time; readers share nothing, so take one for each cursor.

    Args:
        directory: The stream's. It need not exist yet: then the log is empty.
        stream: The stream's name, for messages.
    """

    def __init__(self, directory: Path, *, stream: str = "telemetry", disk: Disk | None = None) -> None:
        self._directory = directory
        self._stream = stream
        self._disk = disk or OsDisk()
        self._head_descriptor: int | None = None
        self._head_map: SharedMap | None = None
        self._head_raw = b""
        self._head = NOTHING_YET
        self._segments: list[SegmentName] = []
        self._open: OrderedDict[tuple[int, int], SegmentReader] = OrderedDict()

    def head(self) -> Head:
        """How far the log is on disk, as its writer published it; epoch 0 before it ever did.

        Raises:
            LogDamaged: the head file is damaged, and no writer has repaired it yet.
        """
        mapped = self._map_head()
        if mapped is None:
            return NOTHING_YET
        # A log is looked at a hundred times a second, and has seldom grown: the same bytes say the same, so nothing is checked twice.
        raw = mapped[:SLOTS_END]
        if raw != self._head_raw:
            self._head = read_slot(mapped, self._directory / HEAD).head
            self._head_raw = raw
        return self._head

    def first_seq(self) -> int:
        """The oldest sequence that is kept; 1 for an empty log."""
        self._list()
        return self._segments[0].first_seq if self._segments else 1

    def read(self, seq: int, *, bytes_max: int = READ_BYTES_DEFAULT) -> list[Block]:
        """Whole blocks in order, from the one that contains `seq` on.

        Args:
            seq: A sequence from first_seq() to head().next_seq.
            bytes_max: Stored bytes after which no further block is begun.
        Returns:
            At least one block, or [] when `seq` is the head's next sequence. Fewer blocks than there are, at the
            end of a segment or before damage; ask again from the last one's next_seq.
        Raises:
            CursorBeyondHead: `seq` is past the head.
            Unavailable: it is, but the writer has not yet recovered since the machine started: try again.
            CursorExpired: `seq` is before the oldest record kept.
            LogDamaged: the block can't be read; `first_seq` and `next_seq` are the range, go on at next_seq.
        """
        head = self.head()
        if seq == head.next_seq:
            return []
        if seq > head.next_seq:
            if not self._is_recovered():
                raise Unavailable(
                    f"The log of {self._stream!r} was not opened by its writer since this machine started.",
                    hint="It is once the broker runs; until then its end isn't known.",
                    code="log_not_recovered",
                )
            raise CursorBeyondHead(
                f"The cursor is at {seq}, the log of {self._stream!r} ends at {head.next_seq}.",
                hint="The log was replaced or the disk lost data: see 'homeport doctor' before resetting the cursor.",
            )
        at = self._segment_for(seq, head)
        segment, bound = self._reader_for(at, seq, head)
        if seq >= bound.seq:
            raise LogDamaged(
                f"The log of {self._stream!r} has no segment with record {seq}.",
                first_seq=seq,
                next_seq=head.next_seq,
                hint="A file of the log is missing: restore it from a holder of a copy.",
            )
        try:
            return segment.read(seq, bound, bytes_max)
        except LogDamaged as error:
            if segment.name.state == "seg":  # should it be mended, it is another file by then
                self._open.pop(segment.name.key).close()
            raise told_lost(self._directory, error) from error

    def seq_at_time(self, time_ms: int) -> int:
        """The first sequence of the first block that has a record at or after a wall time, ms.

        Clocks jump: this is the earliest such block in the order of the log. head().next_seq when there is none.
        """
        head = self.head()
        self._list()
        latest = {
            summary.name.key: summary.last_time_ms
            for summary in read_manifest(self._disk, self._directory) or ()
        }
        for at, name in enumerate(list(self._segments)):
            if name.first_seq >= head.next_seq:
                break
            if name.state == "seg" and latest.get(name.key, time_ms) < time_ms:
                continue
            segment, bound = self._reader_for(at, name.first_seq, head)
            found = segment.first_at_time(time_ms, bound)
            if found is not None:
                return found
        return head.next_seq

    def close(self) -> None:
        for segment in self._open.values():
            segment.close()
        self._open.clear()
        if self._head_map is not None:
            self._head_map.close()
            self._head_map = None
        if self._head_descriptor is not None:
            self._disk.close(self._head_descriptor)
            self._head_descriptor = None

    def _is_recovered(self) -> bool:
        """Whether the head was published since the machine started: only then is it the log's true end."""
        mapped = self._map_head()
        return (
            mapped is not None and read_slot(mapped, self._directory / HEAD).boot_id == self._disk.boot_id()
        )

    def _map_head(self) -> SharedMap | None:
        if self._head_map is None:
            try:
                descriptor = self._disk.open(self._directory / HEAD)
            except FileNotFoundError:
                return None
            if self._disk.size(descriptor) < HEAD_FILE_BYTES:
                self._disk.close(descriptor)
                return None
            self._head_descriptor = descriptor
            self._head_map = self._disk.map_shared(descriptor, HEAD_FILE_BYTES, write=False)
        return self._head_map

    def _list(self) -> None:
        try:
            self._segments = live_segments(segments_in_order(self._disk.names(self._directory)))
        except FileNotFoundError:
            self._segments = []
        kept = {name.key for name in self._segments}
        for key in [key for key in self._open if key not in kept]:
            self._open.pop(key).close()  # an open descriptor would keep the space of a removed file

    def _segment_for(self, seq: int, head: Head) -> int:
        """Where in the list the segment with `seq` is; lists the directory again if it may have grown."""
        if not self._segments or (self._segments[-1].epoch, self._segments[-1].first_seq) < (
            head.epoch,
            head.segment_first_seq,
        ):
            self._list()
        at = bisect_right(self._segments, seq, key=lambda name: name.first_seq) - 1
        if at < 0:
            raise self._expired(seq, head)
        return at

    def _reader_for(self, at: int, seq: int, head: Head) -> tuple[SegmentReader, Bound]:
        name = self._segments[at]
        bound = self._bound(at, head)
        segment = self._open.get(name.key)
        if segment is None:
            segment = open_segment(self._disk, self._directory, name)
            if segment is None:
                self._list()
                if seq < self._first_kept(head):
                    raise self._expired(seq, head)
                raise LogDamaged(
                    f"{name} is gone from the log of {self._stream!r}.",
                    first_seq=seq,
                    next_seq=bound.seq,
                    hint="A file of the log is missing: restore it from a holder of a copy.",
                )
            self._open[name.key] = segment
            while len(self._open) > READER_SEGMENT_COUNT_MAX:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(name.key)
        return segment, bound

    def _first_kept(self, head: Head) -> int:
        return self._segments[0].first_seq if self._segments else head.next_seq

    def _expired(self, seq: int, head: Head) -> CursorExpired:
        first = self._first_kept(head)
        return CursorExpired(
            f"Record {seq} of {self._stream!r} is no longer kept; the oldest is {first}.",
            next_seq=first,
            hint=f"Go on at {first} and count what was skipped.",
        )

    def _bound(self, at: int, head: Head) -> Bound:
        name = self._segments[at]
        if name.key == (head.epoch, head.segment_first_seq):
            return Bound(head.offset, head.next_seq)
        if at + 1 < len(self._segments):
            return Bound(None, min(self._segments[at + 1].first_seq, head.next_seq))
        return Bound(None, head.next_seq)
