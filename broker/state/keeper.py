"""Brings the broker's state back at the start, and writes its checkpoint from time to time."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

import structlog
import trio

from appliance.core.believed_time import BelievedTime
from appliance.core.clock import Clock
from appliance.core.errors import CursorExpired, LogDamaged
from appliance.core.limits import MIB
from storage.log.block import Block
from storage.log.head import Head

from .broker_state import BrokerState
from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint

CHECK_S: Final = 1.0
EXPIRY_CHECK_COUNT: Final = 5
"""Every so many checks, retained messages that have expired are forgotten: that looks at all of them."""
CHECKPOINT_INTERVAL_MS: Final = 60_000
"""After a change the file is written within this."""
CHECKPOINT_RECORD_COUNT: Final = 1_000_000
"""And after so many records without any: a start reads about this many a second."""
CHECKPOINT_LOG_BYTES: Final = 128 * MIB
"""And after so much log without any, for messages that are large: a start reads and checks some 300 MiB of it a second."""

log = structlog.get_logger(__name__)


class StateLog(Protocol):
    """What is needed of `storage.log.LogReader`."""

    def head(self) -> Head: ...

    def first_seq(self) -> int: ...

    def read(self, seq: int) -> list[Block]: ...


class Appended(Protocol):
    """What is needed of `storage.log.LogWriterStatistics`."""

    @property
    def frame_bytes_total(self) -> int: ...


class AppendedLog(Protocol):
    """What is needed of `storage.log.LogWriter`."""

    def statistics(self) -> Appended: ...


def recover(path: Path, reader: StateLog, new_state: Callable[[], BrokerState]) -> BrokerState:
    """Read the checkpoint, then what the log says after it. Blocks.

    Args:
        new_state: Makes an empty one.
    """
    head, first_seq = reader.head(), reader.first_seq()
    checkpoint = _usable(path, head)
    state = new_state()
    seq = first_seq
    if checkpoint is not None:
        try:
            state.restore(checkpoint)
        except LogDamaged as error:
            log.error("the broker's state is read from the whole log", error=error.message)
            checkpoint, state = None, new_state()
    if checkpoint is not None:
        seq = checkpoint.next_seq
        if seq < first_seq:
            log.warning(
                "the log no longer holds all records since the broker's checkpoint", skipped=first_seq - seq
            )
            seq = first_seq
    state.next_seq = seq
    state.replayed_count = max(0, head.next_seq - seq)
    while seq < head.next_seq:
        try:
            blocks = reader.read(seq)
            for block in blocks:
                state.apply_block(block)
            seq = blocks[-1].next_seq if blocks else head.next_seq
        except (LogDamaged, CursorExpired) as error:
            after = getattr(error, "next_seq", None) or head.next_seq
            log.error(
                "a range of the log can't be read: retained messages and sessions of it are not known",
                error=error.message, first_seq=seq, next_seq=after,
            )  # fmt: skip
            seq = after
    state.next_seq = head.next_seq
    return state


def _usable(path: Path, head: Head) -> Checkpoint | None:
    try:
        checkpoint = read_checkpoint(path)
    except LogDamaged as error:
        log.error("the broker's state is read from the whole log", error=error.message)
        return None
    if checkpoint is not None and checkpoint.next_seq > head.next_seq:
        log.error(
            "the broker's checkpoint is ahead of the log: the state is read from the whole log",
            checkpoint=checkpoint.next_seq, head=head.next_seq,
        )  # fmt: skip
        return None
    return checkpoint


class StateKeeper:
    """Writes the checkpoint.

    Args:
        state: As `recover` gave it.
        settled: Waits until all that was taken before the call is on disk.
        writer: Of the log, for how much has been appended to it; None where nothing is (tests).
        believed: By which retained messages that expired are forgotten; a clock that is ahead only hides them.
    """

    def __init__(
        self,
        path: Path,
        state: BrokerState,
        clock: Clock,
        settled: Callable[[], Awaitable[None]],
        writer: AppendedLog | None = None,
        believed: BelievedTime | None = None,
    ) -> None:
        self._writer = writer
        self._written_log_bytes = self._log_bytes()
        self._has_replayed = state.replayed_count > 0
        self._believed = believed or BelievedTime(clock)
        self._settled = settled
        self._path = path
        self._state = state
        self._clock = clock
        self._written_mono_ms = clock.mono_ms()
        self._written_changes = state.change_count
        self._written_seq = state.next_seq
        self.checkpoint_count = 0
        self.failure_count = 0
        self.durable_seq = 0
        """What this process's newest checkpoint stands for; 0 before it has written one."""

    async def run(self) -> None:
        """Write when it is time. Runs until cancelled."""
        for number in itertools.count(1):
            await trio.sleep(CHECK_S)
            if number % EXPIRY_CHECK_COUNT == 0:
                self._state.retained.remove_expired(self._believed.look())
            if self._is_due():
                await self.write()

    async def write(self, *, is_drained: bool = False) -> None:
        """Write now; a disk that fails is told and tried again, since the log has everything.

        Args:
            is_drained: All that was taken is on disk, and nothing more is taken.

        Sessions are ahead of the log: a client's packet changes them when it is read. So the file waits until what was
        taken before is on disk; replaying those records over the checkpoint changes nothing.
        """
        state = self._state
        changes, log_bytes = state.change_count, self._log_bytes()
        checkpoint = state.checkpoint()
        if not is_drained:
            await self._settled()
        try:
            await trio.to_thread.run_sync(write_checkpoint, self._path, checkpoint)
        except OSError as error:
            self.failure_count += 1
            log.error("the broker's checkpoint can't be written", error=str(error), hint="Look at the disk.")
        else:
            self.checkpoint_count += 1
            self._written_changes, self._written_seq = changes, checkpoint.next_seq
            self._written_log_bytes, self._has_replayed = log_bytes, False
            self.durable_seq = checkpoint.next_seq
        self._written_mono_ms = self._clock.mono_ms()

    def _log_bytes(self) -> int:
        """Appended to the log since it was opened."""
        return self._writer.statistics().frame_bytes_total if self._writer is not None else 0

    def _is_due(self) -> bool:
        if self._has_replayed:
            return True  # the next start need not read it again, should this one not last
        if self._state.next_seq - self._written_seq >= CHECKPOINT_RECORD_COUNT:
            return True
        if self._log_bytes() - self._written_log_bytes >= CHECKPOINT_LOG_BYTES:
            return True
        is_changed = self._state.change_count != self._written_changes
        return is_changed and self._clock.mono_ms() - self._written_mono_ms >= CHECKPOINT_INTERVAL_MS
