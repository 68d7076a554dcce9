"""What a writer has done beside it, in one thread: seal what is full, keep the manifest, prepare the next segment, keep
house (housekeeping.py).

Appending never waits for this thread, but for one thing: a roll waits while the spare file that it needs is
just being allocated.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from appliance.core.clock import Clock
from appliance.core.limits import DISK_CHECK_INTERVAL_MS, SEGMENT_BYTES_MIN
from storage.log.disk import NO_SPACE, Disk
from storage.log.housekeeping import Housekeeping, KeepingRules
from storage.log.layout import round_to_page
from storage.log.manifest import SegmentSummary, read_manifest, summary_of, write_manifest
from storage.log.names import SPARE, SegmentName
from storage.log.rewriting import seal_again
from storage.log.scan import DamagedRange
from storage.log.seal import read_footer, seal_segment
from storage.log.signer import Signer

UPKEEP_NICENESS = 10
RESERVE_SHARE = 8
"""Of the ballast's space a segment takes an eighth: enough for the records of sessions, and the rest is for others."""


class Upkeep:
    """One thread and its jobs; at most a handful are ever waiting, one per unsealed segment and one spare."""

    def __init__(
        self,
        disk: Disk,
        directory: Path,
        signer: Signer,
        clock: Clock,
        segment_bytes: int,
        sealed: list[SegmentName],
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._signer = signer
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._jobs: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._closing = False
        self._has_kept_house = False
        self._spare: int | None = None
        self._spare_lock = threading.Lock()
        self._sealing: set[tuple[int, int]] = set()
        self.housekeeping = Housekeeping(disk, directory, clock)
        self.sealed_total = 0
        self.failures_total = 0
        self.last_failure = ""
        self.damaged: tuple[DamagedRange, ...] = ()
        self.summaries = self._load(sealed)
        self._thread = threading.Thread(target=self._work, name="log-upkeep", daemon=True)
        self._thread.start()

    @property
    def newest_sealed(self) -> SegmentSummary | None:
        return self.summaries[-1] if self.summaries else None

    def seal_later(self, name: SegmentName, end_seq: int, end_hash: Callable[[], bytes]) -> None:
        """Seals a segment that isn't written to any more.

        Args:
            end_seq: The sequence after its last record.
            end_hash: Gives the hash of its last frame, in the thread.
        """

        self._sealing.add(name.key)

        def job() -> None:
            now_ms = self._clock.now_ms()
            seal = seal_again if name.state == "seg" else seal_segment
            sealed = seal(self._disk, self._directory, name, end_seq, end_hash(), self._signer, now_ms)
            self._sealing.discard(name.key)
            if isinstance(sealed, list):
                self.damaged = (*self.damaged, *sealed)
                return
            others = [each for each in self.summaries if each.name.key != name.key]
            self.summaries = tuple(sorted((*others, sealed), key=lambda summary: summary.name))
            self.sealed_total += 1
            write_manifest(self._disk, self._directory, self.summaries)

        self._submit(job)

    def prepare_spare_later(self) -> None:
        """Allocates the file of the next segment ahead of its need; a full disk shows when it is needed."""
        self._submit(self._prepare_spare)

    def take_spare(self, size: int, target: Path) -> tuple[int, int]:
        """Gives the spare file its name; of the usual size, or of `size` if that is more.

        The renaming is done here, so that the name `spare` is free before this thread makes the next one. On a full disk
        the ballast gives a smaller one, so that what must be written has room.

        Returns:
            The descriptor of an allocated, fsynced file, all zeros, and its size. The directory isn't fsynced yet.
        Raises:
            OSError: there was none ready, and making one failed.
        """
        with self._spare_lock:
            spare, self._spare = self._spare, None
            limit = max(size, self._segment_bytes)
            if spare is not None and size > self._segment_bytes:
                self._disk.close(spare)
                spare = None
            if spare is None:
                spare, limit = self._make_spare_somehow(size, limit)
            try:
                self._disk.rename(self._directory / SPARE, target)
            except OSError:
                self._disk.close(spare)
                raise
            return spare, limit

    def _make_spare_somehow(self, size: int, limit: int) -> tuple[int, int]:
        seen_total = self.housekeeping.ballast_released_total
        try:
            return self._make_spare(limit), limit
        except OSError as error:
            released = self.housekeeping.release_ballast(seen_total) if error.errno in NO_SPACE else 0
            if not released:
                raise
        limit = min(limit, round_to_page(max(size, released // RESERVE_SHARE, SEGMENT_BYTES_MIN)))
        return self._make_spare(limit), limit

    def wait_idle(self, timeout_s: float | None = None) -> bool:
        """Waits until every job is done; False when time ran out first."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._busy, timeout_s)

    def close(self) -> None:
        """Finishes all jobs, ends the thread and gives the spare's space back."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        with self._spare_lock:
            if self._spare is not None:
                self._disk.close(self._spare)
                self._spare = None
                try:
                    self._disk.unlink(self._directory / SPARE)
                except OSError as error:  # the next start removes it
                    self._note(error)

    def _note(self, error: OSError) -> None:
        self.failures_total += 1
        self.last_failure = str(error)

    def _submit(self, job: Callable[[], None]) -> None:
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def _work(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), UPKEEP_NICENESS)
        while True:
            with self._changed:
                pause_s = DISK_CHECK_INTERVAL_MS / 1000 if self.housekeeping.is_on else None
                self._changed.wait_for(lambda: self._jobs or self._closing or self._house_is_due(), pause_s)
                if not self._jobs and self._closing:
                    return
                job = self._jobs.popleft() if self._jobs else self._keep_house
                self._busy = True
            try:
                job()
            except OSError as error:  # kept for statistics; what was to be sealed is sealed at the next start
                self._note(error)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _house_is_due(self) -> bool:
        """At once when housekeeping begins, then whenever the wait has run out."""
        return self.housekeeping.is_on and not self._has_kept_house

    def _keep_house(self) -> None:
        self._has_kept_house = True
        gone = {name.key for name in self.housekeeping.tick(frozenset(self._sealing))}
        if gone:
            self.summaries = tuple(each for each in self.summaries if each.name.key not in gone)
            write_manifest(self._disk, self._directory, self.summaries)

    def keep_house(self, rules: KeepingRules) -> None:
        """Begins housekeeping; before this the thread only does what it is asked for."""
        self.housekeeping.begin(rules)
        with self._changed:
            self._changed.notify_all()

    def _prepare_spare(self) -> None:
        with self._spare_lock:
            if self._spare is None:
                self._spare = self._make_spare(self._segment_bytes)

    def _make_spare(self, size: int) -> int:
        path = self._directory / SPARE
        descriptor = self._disk.open(path, create=True)
        try:
            self._disk.truncate(descriptor, 0)
            self._disk.allocate(descriptor, size)
            self._disk.fsync(descriptor)
        except OSError:
            self._disk.close(descriptor)
            self._disk.unlink(path)
            raise
        return descriptor

    def _load(self, sealed: list[SegmentName]) -> tuple[SegmentSummary, ...]:
        """What is known of the sealed segments: from the manifest where it agrees, else from their footers."""
        listed = {summary.name: summary for summary in read_manifest(self._disk, self._directory) or ()}
        summaries: list[SegmentSummary] = []
        for name in sealed:
            path = self._directory / str(name)
            size = self._disk.file_size(path)
            summary = listed.get(name)
            if summary is None or summary.bytes != size:
                summary = self._from_footer(path, size)
            if summary is not None:
                summaries.append(summary)
        if summaries != list(listed.values()):
            try:
                write_manifest(self._disk, self._directory, summaries)
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise  # on a full disk the next start reads the footers again
                self._note(error)
        return tuple(summaries)

    def _from_footer(self, path: Path, size: int) -> SegmentSummary | None:
        descriptor = self._disk.open(path)
        try:
            footer = read_footer(self._disk, descriptor)
        finally:
            self._disk.close(descriptor)
        return summary_of(footer, size) if footer else None
