"""Blobs at work: what the machine wants read and written of images, and the look at what is lacking. For trio."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import StorageError
from replication.blobs import Blobs, Written
from replication.effects import Effect, ReadBlob, WriteBlob

LOOK_INTERVAL_S: Final = 5
"""How often it is looked whether an image is lacking, or new: until a peer has it, it is lost with this box."""
log = structlog.get_logger(__name__)


class BlobRoom(Protocol):
    """Images of artifacts on this box's disk. All block."""

    def look(self) -> tuple[dict[bytes, int], dict[bytes, int], dict[bytes, int]]:
        """Sizes of those that are here, of those that should be and aren't, and how much of these was written before.

        Raises:
            StorageError, OSError: the catalog, or a folder, can't be read.
        """

    def read(self, blob: bytes, offset: int, bytes_max: int) -> tuple[bytes | None, int]: ...

    def write(self, blob: bytes, size_bytes: int, offset: int, data: bytes) -> Written: ...


class BlobWork:
    """See the module.

    Args:
        do: Carries out what the machine says.
        one_reads, one_writes: Bound the threads that use the disk.
    """

    def __init__(
        self,
        room: BlobRoom,
        blobs: Blobs,
        do: Callable[[Iterable[Effect]], None],
        *,
        clock: Clock,
        one_reads: trio.CapacityLimiter,
        one_writes: trio.CapacityLimiter,
    ) -> None:
        self._room = room
        self._blobs = blobs
        self._do = do
        self._clock = clock
        self._one_reads, self._one_writes = one_reads, one_writes

    async def read(self, effect: ReadBlob) -> None:
        """Bytes for a peer."""
        ask = (effect.blob, effect.offset, effect.bytes_max)
        data, size_bytes = await trio.to_thread.run_sync(self._room.read, *ask, limiter=self._one_reads)
        self._do(self._blobs.blob_read(effect, data, size_bytes, self._clock.mono_ms()))

    async def write(self, effect: WriteBlob) -> None:
        """A piece that came."""
        piece = (effect.blob, effect.size_bytes, effect.offset, effect.data)
        written = await trio.to_thread.run_sync(self._room.write, *piece, limiter=self._one_writes)
        self._do(self._blobs.blob_written(effect, written, self._clock.mono_ms()))

    async def run(self) -> None:
        """Look for what is lacking, until cancelled."""
        error_before = ""
        while True:
            try:
                held, wanted, begun = await trio.to_thread.run_sync(self._room.look, limiter=self._one_reads)
            except (StorageError, OSError) as error:
                if str(error) != error_before:
                    log.error("it can't be seen which images this box lacks", error=str(error))
                error_before = str(error)
            else:
                error_before, now_ms = "", self._clock.mono_ms()
                self._do(self._blobs.holds(held, now_ms))
                self._do(self._blobs.wants(wanted, now_ms, offsets=begun))
            await trio.sleep(LOOK_INTERVAL_S)
