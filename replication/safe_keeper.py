"""What is safe elsewhere, kept over restarts of this process. For trio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog
import trio

from appliance.core.clock import Clock
from replication.gossip.saving import SavedState, restore, save
from replication.gossip.watermark import SafeBook
from storage.fleet.safe_file import write_safe

INTERVAL_S: Final = 5
"""What a process that is killed forgets at most."""
log = structlog.get_logger(__name__)


class SafeKeeper:
    """See the module.

    Args:
        saved: The file's bytes, as they were found.
    """

    def __init__(self, node_id: str, data_dir: Path, saved: bytes | None, *, clock: Clock) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self.book = SafeBook()
        self.away_ms = 0
        """How long nobody kept it; 0 where that isn't known."""
        if saved is None:
            return
        try:
            state = msgspec.json.decode(saved, type=SavedState)
        except msgspec.DecodeError as error:
            log.warning("what was known to be safe can't be read", error=str(error))
            return
        at_ms = clock.now_ms()
        self.book = restore(state, node_id, now_ms=clock.mono_ms(), at_ms=at_ms)
        self.away_ms = max(0, at_ms - state.at_ms)

    async def run(
        self, one_writes: trio.CapacityLimiter, unsafe_from: Callable[[], dict[str, int]] = dict
    ) -> None:
        """Keep it, until cancelled.

        Args:
            unsafe_from: By own stream, the first sequence that isn't safe.
        """
        error_before = ""
        while True:
            await trio.sleep(INTERVAL_S)
            state = save(self.book, unsafe_from(), now_ms=self._clock.mono_ms(), at_ms=self._clock.now_ms())
            data = msgspec.json.encode(state)
            try:
                await trio.to_thread.run_sync(write_safe, self._data_dir, data, limiter=one_writes)
                error_before = ""
            except OSError as error:
                if str(error) != error_before:
                    log.error("what is known to be safe is not kept", error=str(error))
                error_before = str(error)
