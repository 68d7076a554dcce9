"""Follows the copy of one other node's log: what this node's subscribers want of it becomes records of the own log.

So everything that holds for a message of the own clients holds for it, too: the queue of a client that is away, QoS, shared
subscriptions, the cursor of one that is slow, and a restart. The copy is read no further than it is durable, by any reader's
rules; a copy that isn't there yet, or is behind, holds nobody up.

How far it was followed is a cursor file beside the copy, moved when the records are on disk: after a SIGKILL between
the two, some messages are told once more, of QoS 2 as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import CursorBeyondHead, CursorExpired, LogDamaged, StorageError, Unavailable
from appliance.core.limits import READ_BYTES_DEFAULT
from storage.log.block import Block
from storage.log.columns import Columns
from storage.log.cursor_file import CursorFile, read_cursor
from storage.log.disk import OsDisk
from storage.log.names import CURSORS
from storage.log.reader import LogReader

from ..open_block import PendingRecord
from ..state.retained import RetainedMessages
from .wanted import wanted_records

POLL_S: Final = 0.1
"""How often a copy's head is looked at; a look is a read of mapped memory."""
FAILURE_POLL_S: Final = 5.0
TOLD_COUNT: Final = 1_000
"""Records handed to the data plane before their way to the disk is waited for."""
_log = structlog.get_logger(__name__)


class Plane(Protocol):
    """What is needed of the data plane."""

    def record(self, pending: PendingRecord) -> None: ...
    def wake(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowerStatistics:
    """Attributes:
    behind_records: In the copy, and not looked at yet.
    messages: Told here since the start.
    skipped_records: The copy had lost or damaged them.
    error: Why nothing is read now; empty where it is.
    """

    behind_records: int
    messages: int
    skipped_records: int
    error: str


class Follower:
    """See the module's docstring.

    Args:
        directory: Of the copy; it need not be there yet.
        node_id: Whose log it is, for messages.
        is_subscribed: Whether somebody has a subscription for a topic.
        is_held: Whether the disk is too full for messages from outside now.
    """

    def __init__(
        self,
        directory: Path,
        *,
        node_id: str,
        plane: Plane,
        is_subscribed: Callable[[bytes], bool],
        retained: RetainedMessages,
        clock: Clock,
        is_held: Callable[[], bool],
    ) -> None:
        self._directory = directory
        self._node_id = node_id
        self._plane = plane
        self._is_subscribed = is_subscribed
        self._retained = retained
        self._clock = clock
        self._is_held = is_held
        self._reader = LogReader(directory, stream="telemetry")
        self._limiter = trio.CapacityLimiter(1)
        self._next_seq = 0
        self._since_ms = 0
        self._messages = self._skipped = 0
        self._error = ""

    def statistics(self) -> FollowerStatistics:
        return FollowerStatistics(
            behind_records=self._behind(),
            messages=self._messages,
            skipped_records=self._skipped,
            error=self._error,
        )

    async def run(self) -> None:
        """Follow until cancelled."""
        cursor: CursorFile | None = None
        try:
            while True:
                try:
                    if cursor is None:
                        cursor = await self._begin()
                    elif not self._is_held() and await self._step():
                        await trio.to_thread.run_sync(cursor.publish, self._next_seq, limiter=self._limiter)
                        self._error = ""
                        continue
                except (StorageError, Unavailable, OSError) as error:
                    self._failed(str(error))
                    await trio.sleep(FAILURE_POLL_S)
                await trio.sleep(POLL_S)
        finally:
            self._reader.close()
            if cursor is not None:
                cursor.close()

    async def _begin(self) -> CursorFile | None:
        """Open the cursor, once there is a copy; what the other node received before the first time is history."""
        if self._reader.head().epoch == 0:
            return None
        folder, disk = self._directory / CURSORS, OsDisk()
        since = CursorFile(disk, folder / "site-since")
        try:
            self._since_ms = read_cursor(disk, folder / "site-since")
            if not self._since_ms:
                # A cursor's file is a number that outlives the process: here it is when following began, wall ms.
                self._since_ms = self._clock.now_ms()
                since.publish(self._since_ms)
        finally:
            since.close()
        cursor = CursorFile(disk, folder / "site")
        self._next_seq = max(read_cursor(disk, folder / "site"), self._reader.first_seq())
        return cursor

    async def _step(self) -> bool:
        """Look at one read of the copy. False when there is nothing new."""
        if self._reader.head().next_seq == self._next_seq:
            return False
        try:
            found = await trio.to_thread.run_sync(self._read, self._next_seq, limiter=self._limiter)
        except (CursorExpired, LogDamaged) as error:
            after = max(error.next_seq, self._next_seq + 1)
            self._skip(after, error.message)
            return True
        except CursorBeyondHead as error:
            # The copy was begun anew: its head is where everybody else goes on, too.
            self._failed(error.message)
            self._next_seq = self._reader.head().next_seq
            return True
        for block, columns in found:
            await self._take(block, columns)
        return bool(found)

    def _read(self, seq: int) -> list[tuple[Block, Columns]]:
        return [(block, block.columns()) for block in self._reader.read(seq, bytes_max=READ_BYTES_DEFAULT)]

    async def _take(self, block: Block, columns: Columns) -> None:
        wanted = wanted_records(
            block,
            columns,
            first_seq=self._next_seq,
            is_subscribed=self._is_subscribed,
            retained=self._retained,
            history_before_ms=self._since_ms,
        )
        for start in range(0, len(wanted), TOLD_COUNT):
            part = wanted[start : start + TOLD_COUNT]
            written = trio.Event()
            part[-1].then = lambda _seq, written=written: written.set()
            for record in part:
                self._plane.record(record)
            self._plane.wake()
            await written.wait()
            self._messages += len(part)
        self._next_seq = block.next_seq

    def _behind(self) -> int:
        try:
            return max(self._reader.head().next_seq - self._next_seq, 0) if self._next_seq else 0
        except (StorageError, OSError):
            return 0

    def _skip(self, after: int, why: str) -> None:
        self._skipped += after - self._next_seq
        _log.error(
            "records of another node were skipped on the way to subscribers",
            node=self._node_id, first_seq=self._next_seq, next_seq=after, error=why,
        )  # fmt: skip
        self._next_seq = after

    def _failed(self, why: str) -> None:
        if why != self._error:
            _log.warning("another node's log can't be followed now", node=self._node_id, error=why)
        self._error = why
