"""What a bridge knows from one connection, and from one life of the process, to the next; saved when it must be."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import trio

from appliance.core.errors import StorageError

from .incoming_ids import IncomingIds
from .scan import Log
from .state_file import BridgeState, read_state, write_state
from .window import OutgoingWindow


class Memory:
    """See the module's docstring.

    Args:
        path: Of the state file.
        state: As it is on disk, or the one a new bridge begins with.
    Attributes:
        epoch: Of the log, when it was last looked at.
        subscribed: Topic filters, with QoS, that the session at the remote has.
    """

    def __init__(self, path: Path, state: BridgeState, *, in_flight_max: int) -> None:
        self._path = path
        self._saving = trio.Lock()
        self._saved: BridgeState | None = state
        self.epoch = state.epoch
        self.subscribed = state.subscribed
        self.outgoing = OutgoingWindow(state.next_seq, state.outgoing, entry_count_max=in_flight_max)
        self.incoming = IncomingIds(state.taken, dict(state.begun))

    @classmethod
    def load(cls, path: Path, log: Log, *, begin: Literal["now", "oldest"], in_flight_max: int) -> Memory:
        """What was saved; for a new bridge a cursor at the end or the beginning of the log, saved at once. Blocks.

        Raises:
            StorageError: the file can't be read or written, or the log can't be read.
        """
        state = read_state(path)
        if state is None:
            head = log.head()
            next_seq = head.next_seq if begin == "now" else min(log.first_seq(), head.next_seq)
            state = BridgeState(next_seq=next_seq, epoch=head.epoch)
            write_state(path, state)
        return cls(path, state, in_flight_max=in_flight_max)

    def state(self) -> BridgeState:
        """All of it as it is now."""
        return BridgeState(
            next_seq=self.outgoing.position,
            epoch=self.epoch,
            outgoing=tuple(self.outgoing.saved()),
            taken=tuple(self.incoming.taken),
            begun=tuple(self.incoming.begun.items()),
            subscribed=self.subscribed,
        )

    async def save_news(self) -> None:
        """Have on disk what QoS 2 depends on, if any of it has changed.

        Raises:
            StorageError: the disk is full or fails.
        """
        async with self._saving:
            if self.outgoing.has_news or self.incoming.has_news:
                await self._save()

    async def save(self) -> None:
        """Have all of it on disk, the cursor too. Raises StorageError."""
        async with self._saving:
            if self.state() != self._saved:
                await self._save()

    async def _save(self) -> None:
        state = self.state()
        self.outgoing.has_news = self.incoming.has_news = False
        try:
            # Not to be cancelled in between: what is on disk would be unknown.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(write_state, self._path, state)
        except StorageError:
            self.outgoing.has_news = self.incoming.has_news = True
            raise
        self._saved = state
