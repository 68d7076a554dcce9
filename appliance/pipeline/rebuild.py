"""A store that was begun anew gets the newest state that its log goes on from; and the log is told what that takes.

A rebuild is: a copy of the state (storage/telemetry/snapshot.py), the archive's days, and the log from the copy's position on.
Records before it may go from the log, so what is published is the position of the copy that a rebuild would begin with: the
newest that is not beyond the first record with a reading that only the store has. Everything here runs in the pipeline's
thread; files are few and small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from appliance.core.clock import Clock
from appliance.core.errors import StorageError
from appliance.core.limits import SNAPSHOT_COUNT_MAX
from storage.telemetry.batch import DAY_MS, Cursor
from storage.telemetry.recovery import needed_seq, put_back, take_copy
from storage.telemetry.snapshot import SnapshotName, forget_snapshots, read_snapshot, snapshots
from storage.telemetry.store import TelemetryStore

RETRY_MS: Final = 600_000
"""After a copy that could not be written, the next attempt."""


class Rebuild:
    """Copies of the state, and what they are for.

    Args:
        folder: Where the copies lie.
        published: What was last published as needed of the log, 0 for never: durable, so it outlives the store.
        register: Tells a store that was begun anew what the archive has; gives what of that can't be used.
    Attributes:
        damaged: What a rebuild found that it could not use, the last one; None for nothing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        published: Callable[[], int],
        clock: Clock,
        register: Callable[[TelemetryStore], Sequence[StorageError]] = lambda _store: (),
    ) -> None:
        self._folder = folder
        self._published = published
        self._clock = clock
        self._register = register
        self._newest_day: int | None = None
        self._retry_at_ms = 0
        self.damaged: StorageError | None = None
        self.snapshots_total = 0

    def begin(self, store: TelemetryStore, head_seq: int, links: Callable[[Cursor], bool]) -> bool:
        """If the store was begun anew and the log was not, put back the state that the log goes on from.

        Args:
            links: Whether the log goes on from a cursor.
        Returns:
            Whether a rebuild begins.
        Raises:
            StorageError: the store doesn't take it; it is as before.
        """
        if store.read_cursor().next_seq != 1 or head_seq <= 1:
            return False
        self.damaged = None
        for problem in self._register(store):
            self.damaged = problem
        for name in self._candidates():
            if self._put_back(store, name, links):
                break
        return True

    def _candidates(self) -> list[SnapshotName]:
        """The copies that a rebuild may begin with, the best first."""
        found, needed_seq = snapshots(self._folder), self._published()
        if not needed_seq:
            # A box out of a backup has none published. Of the copies the oldest is the one that was needed: the others before
            # it were removed.
            return found
        return [name for name in reversed(found) if name.next_seq <= needed_seq]

    def _put_back(self, store: TelemetryStore, name: SnapshotName, links: Callable[[Cursor], bool]) -> bool:
        try:
            snapshot = read_snapshot(self._folder, name)
        except StorageError as error:
            self.damaged = error
            return False
        if not links(Cursor(*snapshot.cursor)):
            return False
        put_back(store, snapshot)
        return True

    def say_needed(
        self, store: TelemetryStore, publish: Callable[[int], StorageError | None]
    ) -> StorageError | None:
        """Make a copy if one is due, remove those that nobody needs, and publish what a rebuild would read.

        Returns:
            None, or what went wrong; the log then keeps more than it must.
        Raises:
            StorageError: the store can't say.
        """
        try:
            self._make(store)
            first = forget_snapshots(self._folder, needed_seq(store), count_max=SNAPSHOT_COUNT_MAX)
        except OSError as error:
            self._retry_at_ms = self._clock.now_ms() + RETRY_MS
            return StorageError(
                f"The copy of the store's state can't be written to {self._folder}: {error.strerror}.",
                hint="Look at the disk: the log keeps more than it must until it can.",
                code="snapshot_unwritten",
            )
        return publish(first.next_seq if first else needed_seq(store))

    def _make(self, store: TelemetryStore) -> None:
        """One when a UTC day begins, and the first at once."""
        now_ms = self._clock.now_ms()
        if self._newest_day is None:
            found = snapshots(self._folder)
            if found:
                self._newest_day = int((self._folder / str(found[-1])).stat().st_mtime * 1_000) // DAY_MS
        if now_ms // DAY_MS == self._newest_day or now_ms < self._retry_at_ms:
            return
        if take_copy(store, self._folder) is not None:
            self._newest_day = now_ms // DAY_MS
            self.snapshots_total += 1
