"""What looks after copies on this box's disk: those that may not be kept any longer go, and it is said how large they all are. For trio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar, TypeVarTuple

import structlog
import trio

from appliance.core.errors import StorageError
from storage.replicas.room import ReplicaRoom
from storage.replicas.streams import StreamHead, StreamId

HOUSE_INTERVAL_S: Final = 10
"""How often copies are looked at that may not be kept any longer."""
Args = TypeVarTuple("Args")
Result = TypeVar("Result")
log = structlog.get_logger(__name__)


class InThread(Protocol):
    """Does work in the one thread that writes copies."""

    async def __call__(self, work: Callable[[*Args], Result], *args: *Args) -> Result: ...


class House:
    """See the module.

    Args:
        write: Does work in the thread that writes copies.
        own_sizes: Bytes of the own streams. Blocks.
        holds: Hears what is held of a copy of which a part went.
    """

    def __init__(
        self,
        room: ReplicaRoom,
        write: InThread,
        own_sizes: Callable[[], dict[StreamId, int]],
        holds: Callable[[StreamId, StreamHead], None],
    ) -> None:
        self._room, self._write, self._own_sizes, self._holds = room, write, own_sizes, holds
        self.sizes: dict[StreamId, int] = {}
        """Bytes of each stream on the disk, as of the last look."""
        self.error = ""
        """Why copies could not be looked after the last time; "" where they could."""

    async def run(self) -> None:
        """Looks after them until cancelled."""
        while True:
            try:
                removals = await self._write(self._room.keep_house)
                self.sizes = await self._write(self._look_at_sizes)
                self.error = ""
            except (StorageError, OSError) as error:
                if str(error) != self.error:
                    log.error("copies can't be looked after", error=str(error))
                self.error = str(error)
                removals = []
            for removal in removals:
                log.info("a part of a copy went", stream=str(removal.stream), rule=removal.rule)
                self._holds(removal.stream, await self._write(self.head_of_copy, removal.stream))
            await trio.sleep(HOUSE_INTERVAL_S)

    def head_of_copy(self, stream: StreamId) -> StreamHead:
        """How far a copy is held, durably. Blocks.

        Raises:
            StorageError, OSError: it can't be opened.
        """
        return self._room.log(stream).head()

    def _look_at_sizes(self) -> dict[StreamId, int]:
        return {**{each.stream: each.bytes for each in self._room.status()}, **self._own_sizes()}
