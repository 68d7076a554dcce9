"""A stream as a holder has it, in memory: segments of frames that are chained by hashes, and what of them a power cut leaves.

With log_reading.py and log_appending.py it gives and takes what `Reading` and `Writing` (replication/disk_work.py) give and take over
the real log and copy: tests/properties/test_simulation_log_contract.py drives both with the same history. What counts is
which frame is where, not what it says.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from replication.effects import Place
from storage.replicas.streams import StreamHead, StreamId

from .frames import NOTHING, Footer, Frame, end_of, frame_hash, genesis

SEGMENT_FRAME_COUNT: Final = 8
"""Frames of a segment: few, so that short histories have several."""


@dataclass(slots=True)
class Segment:
    """Frames from `at` in the log's list on. One that a later epoch cut short keeps its footer, as the file does."""

    epoch: int
    first_seq: int
    continues: bytes
    at: int
    footer: Footer | None = None

    @property
    def key(self) -> tuple[int, int]:
        return (self.epoch, self.first_seq)


class LogModel:
    """See the module's docstring.

    Args:
        stream: Whose.
        is_own: Written here; a copy begins wherever its first chunk does.
        base: Where an own stream goes on whose beginning was lost; None: it begins with the first record.
    """

    def __init__(self, stream: StreamId, *, is_own: bool = False, base: Place | None = None) -> None:
        self.stream = stream
        self.is_own = is_own
        self.base = base or Place(epoch=0, next_seq=1, hash=genesis(stream))
        self.segments: list[Segment] = []
        self.frames: list[Frame] = []
        """Durable ones, all segments'."""
        self.pending: list[Frame] = []
        """Written and not synced."""
        self._sealed_count = 0
        self.dropped_seq = 1
        """What a rule removed lies before."""
        self.recent_seq = 1
        """Hashes of frames that end after this are known by heart, as since a copy was opened."""

    def copy(self) -> LogModel:
        """What an image of the disk holds."""
        made = LogModel(self.stream, is_own=self.is_own, base=self.base)
        made.segments = [replace(segment) for segment in self.segments]
        made.frames = self.frames[:]
        made.dropped_seq = self.dropped_seq
        made.recent_seq = made.end.next_seq
        return made

    def sealed_count(self) -> int:
        """How many segments from the oldest on have their footers, which nobody takes away: a log of hours isn't looked through each time."""
        at = min(self._sealed_count, len(self.segments))
        while at and self.segments[at - 1].footer is None:
            at -= 1  # some were cut off, and others followed
        while at < len(self.segments) and self.segments[at].footer is not None:
            at += 1
        self._sealed_count = at
        return at

    @property
    def start(self) -> Place:
        """Where the first frame begins, or would."""
        if self.segments:
            first = self.segments[0]
            return Place(epoch=first.epoch, next_seq=first.first_seq, hash=first.continues)
        return self.base

    @property
    def end(self) -> Place:
        """Where the durable frames end."""
        if not self.segments:
            return self.base
        newest = self.segments[-1]
        if newest.at == len(self.frames):
            return Place(epoch=newest.epoch, next_seq=newest.first_seq, hash=newest.continues)
        last = self.frames[-1]
        return Place(epoch=newest.epoch, next_seq=last.next_seq, hash=last.hash)

    @property
    def last(self) -> Place:
        """Where the next frame begins, durable or not."""
        return end_of(self.pending[-1]) if self.pending else self.end

    def head(self) -> StreamHead:
        """How far it is held durably."""
        end = self.end
        if not self.segments:
            return StreamHead(0, end.next_seq, end.hash) if self.is_own else NOTHING
        at = self.sealed_count()
        unsealed = self.segments[at].first_seq if at < len(self.segments) else end.next_seq
        return StreamHead(
            end.epoch,
            end.next_seq,
            end.hash,
            self.segments[0].first_seq,
            min(end.next_seq, unsealed),
            self.frames[-1].at_ms if self.frames else 0,
        )

    def hash_at(self, epoch: int, next_seq: int) -> bytes | None:
        """The hash of the durable frame that ends before a sequence; None: no frame ends there, or of another epoch."""
        at = self.index(next_seq)
        return self.frames[at].hash if at is not None and self.frames[at].epoch == epoch else None

    def index(self, next_seq: int) -> int | None:
        """Of the frame that ends before a sequence."""
        at = bisect_left(self.frames, next_seq, key=lambda frame: frame.next_seq)
        return at if at < len(self.frames) and self.frames[at].next_seq == next_seq else None

    def segment_at(self, seq: int) -> int:
        """Of the segment that holds a sequence; -1: it is before the oldest."""
        return bisect_right(self.segments, seq, key=lambda segment: segment.first_seq) - 1

    def hash_before(self, seq: int) -> bytes | None:
        """What the frame that begins with a sequence goes on from; None: no frame ends there."""
        segment = self.segments[self.segment_at(seq)]
        if segment.first_seq == seq:
            return segment.continues
        at = self.index(seq)
        return self.frames[at].hash if at is not None else None

    # --- Its writer -----------------------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:
        """The writer goes on in a segment of a later epoch, which is durable though nothing is in it yet."""
        assert not self.pending
        end = self.end
        if self.segments and self.segments[-1].epoch >= epoch:
            return
        if self.segments and self.segments[-1].at == len(self.frames):
            self.segments.pop()
        self.segments.append(Segment(epoch, end.next_seq, end.hash, len(self.frames)))

    def make_frame(self, count: int, at_ms: int, body: bytes) -> Frame:
        """The next frame, of so many records."""
        last, epoch = self.last, self.segments[-1].epoch
        next_seq = last.next_seq + count
        made = frame_hash(epoch, last.next_seq, next_seq, last.hash, at_ms, body)
        return Frame(epoch, last.next_seq, next_seq, last.hash, at_ms, body, made)

    def write(self, frame: Frame) -> None:
        """The stream's own writer appends; `sync` makes it durable."""
        assert frame.prev_hash == self.last.hash
        self.pending.append(frame)

    def sync(self) -> None:
        """All that was written is durable; a segment that is full was followed by the next."""
        for frame in self.pending:
            if len(self.frames) - self.segments[-1].at >= SEGMENT_FRAME_COUNT:
                self.segments.append(Segment(frame.epoch, frame.first_seq, frame.prev_hash, len(self.frames)))
            self.frames.append(frame)
        self.pending.clear()

    @property
    def is_sealing_due(self) -> bool:
        return self.sealed_count() < len(self.segments) - 1

    def seal(self) -> bool:
        """Gives all segments but the newest their footers; whether there were any without."""
        is_any = False
        begins = self.sealed_count()
        for segment, after in pairwise(self.segments[begins:]):
            if segment.footer is None:
                last = self.frames[after.at - 1]
                segment.footer = Footer(
                    segment.epoch, segment.first_seq, last.next_seq, last.hash, last.at_ms
                )
                is_any = True
        return is_any

    def crash(self) -> None:
        """What was not synced is gone, and what was known by heart."""
        self.pending.clear()
        self.recent_seq = self.end.next_seq

    def drop_before(self, seq: int) -> bool:
        """Removes whole segments that end at or before a sequence, never the newest sealed one."""
        newest = max((number for number, each in enumerate(self.segments) if each.footer), default=-1)
        count = 0
        for number, after in enumerate(self.segments[1:]):
            if after.first_seq > seq or number == newest:
                break
            count += 1
        if not count:
            return False
        gone = self.segments[count].at
        del self.segments[:count], self.frames[:gone]
        self._sealed_count = max(0, self._sealed_count - count)
        for segment in self.segments:
            segment.at -= gone
        self.dropped_seq = self.segments[0].first_seq
        return True
