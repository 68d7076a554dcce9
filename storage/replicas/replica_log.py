"""A copy of another node's stream: the same segments, byte for byte, appended to by whatever holder sends the next piece.

Theory of operation: `append` takes a chunk only at the copy's own end (same sequence, same hash). All of it is verified before
anything is written; then one write into allocated space, one fdatasync, then the head file, then the caller may say that it is
stored. Whatever fails leaves the copy as it was, or broken until it is opened again, which proves from the disk what there is.
Readers (`LogReader`) and scrubbing work on the directory at any time, from any process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from pathlib import Path

from appliance.core.clock import Clock
from appliance.core.errors import LogBroken
from appliance.core.limits import PAGE_BYTES
from storage.log.directory_lock import take_lock
from storage.log.disk import Disk, OsDisk, write_all
from storage.log.dropped import read_dropped
from storage.log.head import Head, HeadFile
from storage.log.names import HEAD, SegmentName, live_segments, segments_in_order
from storage.log.retainer import finish_removal
from storage.log.scan import Position
from storage.log.segment_header import SegmentHeader
from storage.replicas.acceptance import (
    Rejected,
    begins_otherwise,
    check_goes_on,
    check_header,
    check_words,
    fork,
    fork_of,
    gap,
    rest_of,
)
from storage.replicas.beginning import NOT_COPIED, tell_missing_before
from storage.replicas.branching import keep_branch, remove_leftovers, remove_replaced
from storage.replicas.checking import Checked, check_frames
from storage.replicas.dropping import drop_segments
from storage.replicas.errors import Refusal, ReplicaRefused
from storage.replicas.gaps import take_gap
from storage.replicas.opening import Opened, open_copy
from storage.replicas.places import hash_in_file, segment_at
from storage.replicas.recent import RecentHashes
from storage.replicas.sealing import check_footer, pinned_keys, seal_copy, seal_older
from storage.replicas.segment_file import ReplicaSegment, make_room, make_segment, open_active
from storage.replicas.statistics import ReplicaStatistics
from storage.replicas.streams import Chunk, StreamHead, StreamId


class ReplicaLog:
    """See the module. Made by `ReplicaLog.open`; for one thread at a time."""

    def __init__(
        self,
        directory: Path,
        stream: StreamId,
        *,
        disk: Disk,
        clock: Clock,
        keys: Callable[[], Collection[bytes]] | None,
        lock_descriptor: int,
        head_file: HeadFile,
        opened: Opened,
    ) -> None:
        self.directory = directory
        self.stream = stream
        self._disk = disk
        self._clock = clock
        self._keys = keys
        self._lock_descriptor = lock_descriptor
        self._head_file = head_file
        self._epoch = opened.epoch
        self._position = opened.position
        self._last_at_ms = opened.last_at_ms
        self._live = live_segments(list(opened.segments))
        self._active: ReplicaSegment | None = None
        self._recent = RecentHashes()
        self._broken: LogBroken | None = None
        self._closed = False
        self._numbers = ReplicaStatistics()
        self.recovery = opened.report
        """What was found when it was opened, damage among it."""
        self.lost_count = opened.lost_count
        """Records that were stored once and were not there any more when it was opened."""

    @classmethod
    def open(
        cls,
        directory: Path,
        stream: StreamId,
        *,
        clock: Clock,
        disk: Disk | None = None,
        keys: Callable[[], Collection[bytes]] | None = None,
    ) -> ReplicaLog:
        """Takes the directory, finds out what is in it and is ready to append. Blocks.

        Args:
            directory: Made when it isn't there; belongs to this copy alone.
            keys: Gives the raw Ed25519 public keys that may have signed the stream's footers; None takes for an epoch the one that
                signed the first of its segments here.
        Raises:
            LogLocked: another process writes this copy. StorageError: it is one of another stream.
            LogDamaged: the list of what was removed is.
            LogBroken: the disk failed.
        """
        disk = disk or OsDisk()
        try:
            with ExitStack() as undo:
                lock_descriptor = take_lock(disk, directory)
                undo.callback(disk.close, lock_descriptor)
                head_file = HeadFile(disk, directory / HEAD)
                undo.callback(head_file.close)
                dropped = read_dropped(disk, directory)
                finish_removal(disk, directory, dropped)
                opened = open_copy(
                    disk,
                    directory,
                    stream=stream.name,
                    node_id=bytes.fromhex(stream.node_id),
                    published=head_file.found,
                )
                log = cls(
                    directory,
                    stream,
                    disk=disk,
                    clock=clock,
                    keys=keys,
                    lock_descriptor=lock_descriptor,
                    head_file=head_file,
                    opened=opened,
                )
                remove_leftovers(disk, directory, log._live)
                if opened.active is not None:
                    name, header = opened.active
                    log._active = open_active(disk, directory, name, header, opened.position.offset)
                log._publish()
                undo.pop_all()
        except OSError as error:
            raise LogBroken(
                f"The copy in {directory} can't be opened: {error}.",
                hint="Look at the disk's health (homeport doctor, dmesg); what is not in the copy is asked for again.",
            ) from error
        return log

    def head(self) -> StreamHead:
        """How far the stream is held, durably."""
        first = self._live[0].first_seq if self._live else self._position.next_seq
        unsealed = next((name for name in self._live if name.state != "seg"), None)
        return StreamHead(
            epoch=self._epoch,
            next_seq=self._position.next_seq,
            hash=self._position.hash,
            first_seq=first,
            sealed_seq=unsealed.first_seq if unsealed else self._position.next_seq,
            last_at_ms=self._last_at_ms,
        )

    @property
    def is_empty(self) -> bool:
        return not self._live

    @property
    def is_broken(self) -> bool:
        return self._broken is not None

    def unsealed(self) -> list[SegmentName]:
        """Segments whose footer isn't there yet, oldest first; the one that is appended to among them."""
        return [name for name in self._live if name.state != "seg"]

    def statistics(self) -> ReplicaStatistics:
        return self._numbers

    def begin(self, chunk: Chunk, *, rule: str = NOT_COPIED) -> StreamHead:
        """Begins an empty copy with the first piece that can still be had: what comes before is told as not copied. Raises as `append`."""
        return self._begin_at(chunk, rule)

    def pass_over(self, chunk: Chunk) -> StreamHead:
        """Goes on with a later segment's first piece, since nobody gives what lies between; readers find the gap as damage with a known end.

        Raises as `append`; `gap`: the copy is empty, or that piece belongs to what is held.
        """
        return self._begin_at(chunk, None)

    def _begin_at(self, chunk: Chunk, rule: str | None) -> StreamHead:
        """Begins the first segment (by a rule), or one after a gap (None)."""
        self._check_usable()
        before, live = self._position, self._live
        try:
            check_words(chunk, self.stream)
            if rule is not None and live:
                raise Rejected(Refusal.NOT_EMPTY, f"The copy of {self.stream} has records already.")
            header = check_header(chunk, self.stream)
            is_next = chunk.epoch >= self._epoch and header.first_seq >= before.next_seq
            if rule is None and not (live and is_next):
                raise self._gap(header.first_seq)
            self._check_all(chunk, header)
            if rule is not None:
                tell_missing_before(self._disk, self.directory, header, rule, self._clock.now_ms())
            self._position = Position(PAGE_BYTES, header.first_seq, header.continues_hash)
            return self.append(chunk)
        except Rejected as rejected:
            raise self._refused(rejected) from rejected
        except OSError as error:
            raise self._failed(error) from error
        finally:
            if self._live is live:  # no segment was begun
                self._position = before

    def append(self, chunk: Chunk) -> StreamHead:
        """Appends a piece; when this returns, it is on disk and published. Blocks.

        A piece that is held already changes nothing; of one that is held in part, the rest is appended.

        Raises:
            ReplicaRefused: it isn't the next piece of this stream, by name; nothing was written.
            LogFull: there is no room; nothing was written, later is right.
            LogBroken: the disk failed; open the copy again.
        """
        self._check_usable()
        try:
            check_words(chunk, self.stream)
            if chunk.frames or chunk.header_page is not None:
                self._append_frames(chunk)
            if chunk.footer is not None:
                self._seal(chunk.epoch, chunk.segment_first_seq, chunk.footer)
        except Rejected as rejected:
            raise self._refused(rejected) from rejected
        except OSError as error:
            raise self._failed(error) from error
        return self.head()

    def drop_before(self, seq: int, rule: str) -> list[SegmentName]:
        """Removes whole segments that end at or before a sequence, never the newest sealed one; gives their names.

        Raises:
            LogDamaged: the list of what was removed before is. LogBroken: the disk failed.
        """
        self._check_usable()
        at_ms, live = self._clock.now_ms(), self._live
        try:
            gone = drop_segments(self._disk, self.directory, live, seq=seq, rule=rule, now_ms=at_ms)
        except OSError as error:
            raise self._failed(error) from error
        self._live = self._live[len(gone) :]
        return gone

    def close(self) -> None:
        """Lets the directory go."""
        if self._closed:
            return
        self._closed = True
        if self._active is not None:
            with suppress(OSError):
                self._disk.close(self._active.descriptor)
        self._head_file.close()
        self._disk.close(self._lock_descriptor)

    def _append_frames(self, chunk: Chunk) -> None:
        active, place = self._active, self._position
        key = (chunk.epoch, chunk.segment_first_seq)
        is_anew = active is not None and active.is_empty and begins_otherwise(chunk, active.header)
        if active is not None and active.name.key == key and not is_anew:
            if frames := rest_of(chunk, active.header, place, self._recent):
                self._write(active, frames, self._checked(chunk, frames, active.header, place))
            return
        header = check_header(chunk, self.stream) if chunk.header_page is not None else None
        if chunk.epoch <= self._epoch and chunk.segment_first_seq < place.next_seq:
            check_goes_on(self._live, chunk, place.next_seq)
            self._check_known(chunk)
            return
        if chunk.epoch < self._epoch:
            raise fork(self.stream, chunk.next_seq, place.hash, chunk.hash)
        if chunk.first_seq > place.next_seq:
            raise self._gap(chunk.first_seq)
        if chunk.first_seq > chunk.segment_first_seq or header is None:
            raise Rejected(Refusal.NO_HEADER, f"The page of segment {chunk.segment_first_seq} is missing.")
        if header.first_seq > place.next_seq:
            raise self._gap(header.first_seq)
        self._begin_segment(chunk, header)

    def _begin_segment(self, chunk: Chunk, header: SegmentHeader) -> None:
        """A new segment, of this epoch at our end, or of a later one anywhere in what we have."""
        place = self._position
        replaces = header.first_seq < place.next_seq
        before = self._hash_before(header.first_seq) if replaces else place.hash
        if header.continues_hash != before:
            raise fork(self.stream, header.first_seq, before, header.continues_hash)
        start = Position(PAGE_BYTES, header.first_seq, header.continues_hash)
        checked = self._check_all(chunk, header)
        if replaces:  # what the writer lost when it began anew is kept as a history of its own
            keep_branch(self._disk, self.directory, self._live, self.head(), header.first_seq)
        assert chunk.header_page is not None
        segment = make_segment(self._disk, self.directory, header, chunk.header_page, len(chunk.frames))
        if self._active is not None:
            self._disk.close(self._active.descriptor)
        self._active, self._epoch, self._position = segment, header.epoch, start
        self._live = live_segments(segments_in_order(self._disk.names(self.directory)))
        self._recent.cut(start.next_seq)
        self._publish()
        if replaces:
            remove_replaced(self._disk, self.directory, segment.name)
        if chunk.frames:
            self._write(segment, chunk.frames, checked)

    def _write(self, active: ReplicaSegment, frames: bytes, checked: Checked) -> None:
        make_room(self._disk, self.directory, active, len(frames))
        write_all(self._disk, active.descriptor, [frames], active.offset)
        self._disk.fdatasync(active.descriptor)
        active.offset = checked.end.offset
        self._numbers.count(checked.frame_count, checked.end.next_seq - self._position.next_seq, len(frames))
        self._position = checked.end
        self._last_at_ms = checked.last_at_ms
        self._publish()
        self._recent.add(checked.hashes)

    def _seal(self, epoch: int, segment_first_seq: int, data: bytes) -> None:
        at = next((n for n, name in enumerate(self._live) if name.key == (epoch, segment_first_seq)), None)
        if at is None:
            raise self._gap(segment_first_seq)
        name = self._live[at]
        if name.state == "seg":
            return  # it was there before
        keys = self._keys() if self._keys else pinned_keys(self._disk, self.directory, self._live, at)
        footer = check_footer(data, name, keys)
        if isinstance(footer, str):
            raise Rejected(Refusal.NOT_SEALED, f"Segment {name} is not sealed: {footer}.")
        active = self._active if self._active is not None and self._active.name == name else None
        if active is not None:
            end = self._position
            problem = seal_copy(self._disk, self.directory, name, active.descriptor, data, footer, end)
        else:
            problem = seal_older(self._disk, self.directory, name, data, footer)
        if problem:
            raise Rejected(Refusal.NOT_SEALED, f"Segment {name} is not sealed: {problem}.")
        self._live[at] = SegmentName(epoch, segment_first_seq, "seg")
        self._numbers.sealed_total += 1
        if active is not None:
            self._disk.close(active.descriptor)
            self._active = None

    def _check_all(self, chunk: Chunk, header: SegmentHeader) -> Checked:
        """The frames of a chunk that begins with its segment."""
        start = Position(PAGE_BYTES, header.first_seq, header.continues_hash)
        return self._checked(chunk, chunk.frames, header, start)

    def _checked(self, chunk: Chunk, frames: bytes, header: SegmentHeader, start: Position) -> Checked:
        if chunk.lost is not None:
            return take_gap(self._disk, self.directory, chunk, start)
        checked = check_frames(frames, epoch=header.epoch, salt=header.salt, start=start)
        if isinstance(checked, str):
            raise Rejected(Refusal.DAMAGED, f"A piece of {self.stream} is refused: {checked}.")
        return checked

    def _check_known(self, chunk: Chunk) -> None:
        """A piece of a segment that ended before ours: known already, unless it is of another history."""
        known = self._recent.get(chunk.next_seq)
        if known is not None and known != chunk.hash:
            raise fork(self.stream, chunk.next_seq, known, chunk.hash)

    def _hash_before(self, seq: int) -> bytes:
        if not self._live or seq < self._live[0].first_seq:
            raise self._gap(seq)
        return hash_in_file(self._disk, self.directory, self._live[segment_at(self._live, seq)], seq)

    def _publish(self) -> None:
        active, place = self._active, self._position
        newest = self._live[-1].first_seq if self._live else place.next_seq
        at = active.name.first_seq if active is not None else newest
        self._head_file.publish(Head(self._epoch, place.next_seq, place.hash, at, place.offset))

    def _gap(self, seq: int) -> Rejected:
        return gap(self.stream, self._position.next_seq, seq)

    def _refused(self, rejected: Rejected) -> ReplicaRefused:
        self._numbers.refuse(rejected.reason)
        evidence = fork_of(rejected, self.stream, self._epoch, self._live)
        return ReplicaRefused(rejected.reason, rejected.message, head=self.head(), fork=evidence)

    def _check_usable(self) -> None:
        if self._broken is not None:
            raise LogBroken(self._broken.message, hint=self._broken.hint)
        assert not self._closed, "a copy is used after it was closed"

    def _failed(self, error: OSError) -> LogBroken:
        """Whatever failed is never tried again on the same descriptor: opening proves from the disk what there is."""
        self._broken = LogBroken(
            f"Writing to the copy in {self.directory} failed: {error}.",
            hint="It is opened again, and what is not on disk is asked for again.",
        )
        return self._broken
