"""The only writer of a stream: one frame in flight, acknowledged after its fdatasync, never retried.

Theory of operation: `append` is called from one thread at a time. It makes one frame of one block, writes it with
one pwritev into preallocated space, calls fdatasync once, and then publishes the new head. A segment that is full
or old is followed by the next, and sealed beside the appending (upkeep.py).

A write or fsync that fails is never tried again where it failed: after it the kernel may call the same pages clean. The
segment is closed for good, what was acknowledged of it is proved from the disk (failed_segment.py), and the block goes
into a new segment. A second failure within WRITE_FAILURE_APART_MS_MIN, or a proof that fails, ends this writer for good.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

from appliance.core.clock import Clock
from appliance.core.errors import LogBroken, LogFull, UsageError
from appliance.core.limits import (
    FRAME_BYTES_HARD_MAX,
    FRAME_RECORD_COUNT_MAX,
    PAGE_BYTES,
    SEGMENT_BYTES_DEFAULT,
    WRITE_FAILURE_APART_MS_MIN,
)
from storage.log.active_segment import (
    ActiveSegment,
    begin_segment,
    check_room,
    check_segment_bytes,
    hash_before,
    next_header,
    segment_name,
)
from storage.log.body_packer import BodyPacker, Compression
from storage.log.directory_lock import take_lock
from storage.log.disk import Disk, OsDisk, write_all
from storage.log.failed_segment import prove_acknowledged
from storage.log.frame import FrameHeader, encode_frame
from storage.log.head import Head, HeadFile
from storage.log.housekeeping import KeepingRules
from storage.log.names import HEAD
from storage.log.new_epoch import epoch_begun, recover_or_begin
from storage.log.recovery import Recovered, RecoveryReport
from storage.log.retainer import Retainer, finish_removal
from storage.log.rewriting import has_to_be_sealed
from storage.log.scan import Position
from storage.log.seal import set_aside
from storage.log.segment_header import NO_BRANCH, check_stream
from storage.log.signer import Signer
from storage.log.statistics import AppendCounters, LogWriterStatistics
from storage.log.upkeep import Upkeep

SEAL_AFTER_MS_DEFAULT: Final = 3_600_000


class LogWriter:
    """See the module. Made by `LogWriter.open`; `statistics()` may be called from any thread."""

    def __init__(
        self,
        *,
        directory: Path,
        stream: str,
        node_id: bytes,
        clock: Clock,
        disk: Disk,
        lock_descriptor: int,
        head_file: HeadFile,
        recovered: Recovered,
        upkeep: Upkeep,
        segment_bytes: int,
        seal_after_ms: int,
        compression: Compression,
    ) -> None:
        """Use `LogWriter.open`."""
        self._directory = directory
        self._stream = stream
        self._node_id = node_id
        self._clock = clock
        self._disk = disk
        self._lock_descriptor = lock_descriptor
        self._head_file = head_file
        self._upkeep = upkeep
        self.housekeeping = upkeep.housekeeping
        """The disk's level, and who still needs what."""
        self._segment_bytes = segment_bytes
        self._seal_after_ms = seal_after_ms
        self._packer = BodyPacker(compression)
        self._failed_mono_ms: int | None = None
        self._broken: LogBroken | None = None
        self._closed = False
        self._counters = AppendCounters()
        self._epoch, self._branch = recovered.epoch, recovered.branch
        self._position = recovered.position
        self._active: ActiveSegment | None = None
        self._head = Head(
            self._epoch, self._position.next_seq, self._position.hash, self._position.next_seq, PAGE_BYTES
        )
        self.recovery: RecoveryReport = recovered.report
        """What was found when the log was opened."""

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        stream: str,
        node_id: bytes,
        signer: Signer,
        clock: Clock,
        disk: Disk | None = None,
        segment_bytes: int = SEGMENT_BYTES_DEFAULT,
        seal_after_ms: int = SEAL_AFTER_MS_DEFAULT,
        compression: Compression = "auto",
    ) -> LogWriter:
        """Takes the directory, recovers what is in it and is ready to append. Blocks.

        Args:
            directory: Made when it isn't there; belongs to this stream alone.
            stream, node_id: Its name, 1..64 bytes of UTF-8, and 16 bytes.
            signer: Signs sealed segments; called from another thread.
            segment_bytes: 16 KiB..1 GiB; a frame that is larger has a segment of its own size.
            seal_after_ms: A segment older than this is sealed at the next append.
            compression: auto compresses bodies over 4 KiB and up to 64 KiB where that saves a page.
        Raises:
            LogLocked: another process writes this log. StorageError: it belongs to another node or stream.
            LogBroken: the disk failed while recovering.
        """
        check_stream(stream, node_id)
        check_segment_bytes(segment_bytes)
        disk = disk or OsDisk()
        try:
            with ExitStack() as undo:
                lock_descriptor = take_lock(disk, directory)
                undo.callback(disk.close, lock_descriptor)
                head_file = HeadFile(disk, directory / HEAD)
                undo.callback(head_file.close)
                finish_removal(disk, directory, Retainer(disk, directory).dropped)
                recovered = recover_or_begin(
                    disk, directory, stream=stream, node_id=node_id, published=head_file.found
                )
                sealed = [name for name in recovered.segments if name.state == "seg"]
                upkeep = Upkeep(disk, directory, signer, clock, segment_bytes, sealed)
                undo.callback(upkeep.close)
                writer = cls(
                    directory=directory,
                    stream=stream,
                    node_id=node_id,
                    clock=clock,
                    disk=disk,
                    lock_descriptor=lock_descriptor,
                    head_file=head_file,
                    recovered=recovered,
                    upkeep=upkeep,
                    segment_bytes=segment_bytes,
                    seal_after_ms=seal_after_ms,
                    compression=compression,
                )
                writer._start(recovered)
                epoch_begun(disk, directory, is_durable=writer._active is not None)
                undo.pop_all()
        except OSError as error:
            raise LogBroken(
                f"The log in {directory} can't be opened: {error}.",
                hint="Look at the disk's health (homeport doctor, dmesg); nothing was acknowledged.",
            ) from error
        return writer

    @property
    def head(self) -> Head:
        """How far everything is on disk."""
        return self._head

    def append(self, body: bytes, record_count: int, first_time_ms: int, last_time_ms: int) -> Head:
        """Writes one block; when this returns, it is on disk and published. Blocks.

        Args:
            body: The block's columns, 1 byte to 17 MiB (512 KiB unless it holds a single record).
            record_count: 1..65,535; the block takes as many sequences.
            first_time_ms, last_time_ms: Wall times of its records, first <= last.
        Raises:
            LogBroken: the write or the fsync failed; from now on every call raises this.
            LogFull: there is no room for the next segment, or the disk is too full; nothing was written, later is right.
        """
        self._check_usable()
        if not 0 < record_count <= FRAME_RECORD_COUNT_MAX or not 0 < len(body) <= FRAME_BYTES_HARD_MAX:
            raise UsageError(
                f"A block of {record_count} records and {len(body)} bytes is out of bounds.",
                hint="Blocks are closed at 65,535 records and 512 KiB; a single record has at most 17 MiB.",
            )
        self.housekeeping.check_writable()
        flags, stored = self._packer.pack(body)
        next_seq = self._position.next_seq
        header = FrameHeader(
            flags, self._epoch, len(stored), len(body), record_count, next_seq, first_time_ms, last_time_ms, self._position.hash
        )  # fmt: skip
        active = self._room_for(header.frame_bytes)
        try:
            frame_hash = self._write(active, header, stored)
        except OSError as error:
            active, frame_hash = self._write_elsewhere(active, header, stored, error)
        active.offset += header.frame_bytes
        self._position = Position(active.offset, next_seq + record_count, frame_hash)
        self._publish(active)
        if not active.spare_ordered and active.offset * 2 > active.limit:
            active.spare_ordered = True
            self._upkeep.prepare_spare_later()
        return self._head

    def seal_if_due(self) -> bool:
        """Follows the segment with a new one if it is older than `seal_after_ms` and not empty.

        Every append does this by itself; an idle writer may be asked from the same thread.
        """
        self._check_usable()
        active = self._active
        if active is None or active.is_empty or not self._is_due(active):
            return False
        self._roll(0)
        return True

    def keep_house(self, rules: KeepingRules) -> None:
        """Watch the disk and remove what may go, from now on."""
        self._upkeep.keep_house(rules)

    def wait_idle(self, timeout_s: float | None = None) -> bool:
        """Waits until what is full is sealed; False when time ran out first."""
        return self._upkeep.wait_idle(timeout_s)

    def statistics(self) -> LogWriterStatistics:
        """Figures since the log was opened."""
        broken = self._broken.message if self._broken else ""
        return self._counters.statistics(self._head, self._upkeep, self.recovery.damaged, broken)

    def close(self) -> None:
        """Finishes sealing, lets the directory go. The segment stays open for the next writer."""
        if self._closed:
            return
        self._closed = True
        self._upkeep.close()
        if self._active is not None:
            self._disk.close(self._active.descriptor)
        self._head_file.close()
        self._disk.close(self._lock_descriptor)

    def _start(self, recovered: Recovered) -> None:
        """Opens the segment to write on, publishes the head, orders what a crash left unsealed."""
        if recovered.active is not None:
            name, header = recovered.active
            descriptor = self._disk.open(self._directory / str(name), write=True)
            age_ms = max(0, self._clock.now_ms() - header.created_at_ms)
            limit = self._disk.size(descriptor)
            since = self._clock.mono_ms() - age_ms
            self._active = ActiveSegment(name, descriptor, header.salt, limit, since, self._position.offset)
            self._publish(self._active)
        else:
            try:
                self._begin_segment(0)
            except LogFull:
                self._head_file.publish(self._head)  # the first append tries again
        if recovered.set_aside is not None:
            set_aside(self._disk, self._directory, recovered.set_aside)
        aside = recovered.set_aside
        names = [replace(name, state="damaged") if name == aside else name for name in recovered.segments]
        if self._active is not None and self._active.name not in names:
            names.append(self._active.name)
        for name, successor in pairwise(names):
            if has_to_be_sealed(self._disk, self._directory, name, aside):
                end_hash = partial(hash_before, self._disk, self._directory, successor)
                self._upkeep.seal_later(name, successor.first_seq, end_hash)

    def _check_usable(self) -> None:
        if self._broken is not None:
            raise LogBroken(self._broken.message, hint=self._broken.hint)
        if self._closed:
            raise UsageError("The log's writer is closed.", hint="This is a mistake in the caller.")

    def _write(self, active: ActiveSegment, header: FrameHeader, stored: bytes) -> bytes:
        """One pwritev, one fdatasync; gives the frame's hash."""
        buffers, frame_hash = encode_frame(header, stored, active.salt)
        started_ns = time.perf_counter_ns()
        write_all(self._disk, active.descriptor, buffers, active.offset)
        written_ns = time.perf_counter_ns()
        self._disk.fdatasync(active.descriptor)
        synced_ns = time.perf_counter_ns()
        self._counters.count(header, header.frame_bytes, written_ns - started_ns, synced_ns - written_ns)
        return frame_hash

    def _write_elsewhere(
        self, failed: ActiveSegment, header: FrameHeader, stored: bytes, error: OSError
    ) -> tuple[ActiveSegment, bytes]:
        """A write or fsync failed: close its segment for good, prove what was acknowledged, use a new one."""
        self._note_failure(f"Writing to {failed.name} failed: {error}.")
        end = Position(failed.offset, self._position.next_seq, self._position.hash)
        self._active = None
        with suppress(OSError):  # it may report the same failure once more
            self._disk.close(failed.descriptor)
        try:
            problem = prove_acknowledged(self._disk, self._directory, failed.name, end)
        except OSError as unreadable:
            problem = f"What was acknowledged can't be read back: {unreadable}."
        if problem:
            raise self._break(f"Writing to {failed.name} failed: {error}. {problem}")
        active = self._room_for(header.frame_bytes)
        try:
            return active, self._write(active, header, stored)
        except OSError as again:
            raise self._break(
                f"Writing to {failed.name} failed: {error}. Then {active.name} failed too: {again}."
            ) from again

    def _note_failure(self, what: str) -> None:
        """Counts a failure that is survived by going on elsewhere; a second one soon after ends this writer."""
        self._counters.note_failure(what)
        now_ms, before_ms = self._clock.mono_ms(), self._failed_mono_ms
        if before_ms is not None and now_ms - before_ms < WRITE_FAILURE_APART_MS_MIN:
            raise self._break(f"{what} It is the second failure within {(now_ms - before_ms) // 1000 + 1} s.")
        self._failed_mono_ms = now_ms

    def _is_due(self, active: ActiveSegment) -> bool:
        return self._clock.mono_ms() - active.since_mono_ms >= self._seal_after_ms

    def _room_for(self, size: int) -> ActiveSegment:
        """The segment to write on, with `size` bytes of room."""
        active = self._active
        if active is None:
            return self._begin_segment(size)
        if active.offset + size <= active.limit and (active.is_empty or not self._is_due(active)):
            return active
        if active.is_empty:
            self._enlarge(active, size)
            return active
        return self._roll(size)

    def _roll(self, size: int) -> ActiveSegment:
        full, end = self._active, self._position
        active = self._begin_segment(size)
        if full is not None:
            self._disk.close(full.descriptor)
            self._upkeep.seal_later(full.name, end.next_seq, lambda: end.hash)
        return active

    def _begin_segment(self, size: int) -> ActiveSegment:
        """Makes the next segment durable: file, name, header; then publishes that it is the one written to."""
        limit = PAGE_BYTES + size
        header = next_header(
            node_id=self._node_id,
            stream=self._stream,
            epoch=self._epoch,
            next_seq=self._position.next_seq,
            prev_hash=self._position.hash,
            now_ms=self._clock.now_ms(),
            sealed=self._upkeep.newest_sealed,
            branch=self._branch,
        )
        try:
            descriptor, limit = self._upkeep.take_spare(limit, self._directory / str(segment_name(header)))
        except OSError as error:
            check_room(error, limit, self._directory)
            self._note_failure(f"Allocating {limit} bytes failed: {error}.")
            return self._begin_segment(size)
        try:
            active = begin_segment(
                self._disk, self._directory, descriptor, limit, header, self._clock.mono_ms()
            )
        except OSError as error:  # its name is used again: it never held a frame
            self._note_failure(f"Beginning the segment at {header.first_seq} failed: {error}.")
            return self._begin_segment(size)
        self._active, self._branch = active, NO_BRANCH
        self._publish(active)
        return active

    def _enlarge(self, active: ActiveSegment, size: int) -> None:
        """Makes room for a frame that is larger than a whole segment."""
        limit = PAGE_BYTES + size
        try:
            self._disk.allocate(active.descriptor, limit)
            self._disk.fdatasync(active.descriptor)
        except OSError as error:
            check_room(error, limit, self._directory)
            raise self._break(f"Allocating {limit} bytes failed: {error}.") from error
        active.limit = limit

    def _publish(self, active: ActiveSegment) -> None:
        position = self._position
        self._head = Head(self._epoch, position.next_seq, position.hash, active.name.first_seq, active.offset)
        self._head_file.publish(self._head)

    def _break(self, message: str) -> LogBroken:
        self._broken = LogBroken(
            message,
            hint="Nothing more is written or acknowledged: restart homeport, which verifies the log from disk.",
        )
        return self._broken
