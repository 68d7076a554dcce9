"""Blobs at work: what the machine wants read and written of images and archived days, and the look at what is lacking. For trio."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import StorageError
from replication.blobs import Blobs, Written
from replication.effects import Effect, ReadBlob, WriteBlob

LOOK_INTERVAL_S: Final = 5
"""How often it is looked whether a blob is lacking, or new: until a peer has it, it is lost with this box."""
Kind = Literal["image", "day"]
KINDS: Final[tuple[Kind, ...]] = ("image", "day")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobUnit:
    """Something of this box that is one or several blobs, and is safe when a peer has each of them.

    Attributes:
        blobs: With their sizes, bytes.
        instead: Each of these at a peer is as good as all of them: the same readings, of its own making. since_ms: When it was made, UTC ms.
    """

    kind: Kind
    blobs: Mapping[bytes, int]
    since_ms: int
    instead: Mapping[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobLook:
    """What there is and what should be.

    Attributes:
        held, wanted: Sizes of those that are here, and of those that should be and aren't. begun: How much of these was written before.
        units: What counts as safe once others have it.
        lacking: How many blobs are wanted, by what they are of.
        copies_bytes: Of other boxes' days here. left_out_count: Of days that this box should copy, those that its room is too small for.
    """

    held: Mapping[bytes, int] = field(default_factory=dict)
    wanted: Mapping[bytes, int] = field(default_factory=dict)
    begun: Mapping[bytes, int] = field(default_factory=dict)
    units: tuple[BlobUnit, ...] = ()
    lacking: Mapping[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    copies_bytes: int = 0
    left_out_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobSafety:
    """How many units of a kind there are, how many have a copy that counts, and of the others the bytes and the oldest (UTC ms)."""

    kind: Kind
    count: int
    safe_count: int
    unsafe_bytes: int
    oldest_unsafe_ms: int | None


def safety_of(kind: Kind, units: Iterable[BlobUnit], is_safe: Callable[[bytes], bool]) -> BlobSafety:
    """Of the units of one kind. Pure.

    Args:
        is_safe: Whether a peer that counts has a blob.
    """
    count = safe_count = unsafe_bytes = 0
    oldest_ms: int | None = None
    for unit in units:
        if unit.kind != kind:
            continue
        count += 1
        lacking = [size_bytes for blob, size_bytes in unit.blobs.items() if not is_safe(blob)]
        if not lacking or any(map(is_safe, unit.instead)):
            safe_count += 1
            continue
        unsafe_bytes += sum(lacking)
        oldest_ms = unit.since_ms if oldest_ms is None else min(oldest_ms, unit.since_ms)
    return BlobSafety(
        kind=kind, count=count, safe_count=safe_count, unsafe_bytes=unsafe_bytes, oldest_unsafe_ms=oldest_ms
    )


class BlobRoom(Protocol):
    """Blobs on this box's disk. All block."""

    def look(self) -> BlobLook:
        """What there is and what should be.

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
        self.newest = BlobLook()
        """As last looked."""
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
                look = await trio.to_thread.run_sync(self._room.look, limiter=self._one_reads)
            except (StorageError, OSError) as error:
                if str(error) != error_before:
                    log.error("it can't be seen which images and days this box lacks", error=str(error))
                error_before = str(error)
            else:
                error_before, now_ms = "", self._clock.mono_ms()
                self.newest = look
                self._do(self._blobs.holds(look.held, now_ms))
                self._do(self._blobs.wants(look.wanted, now_ms, offsets=look.begun))
                watched: dict[bytes, int] = {}
                for unit in look.units:
                    watched.update(unit.blobs)
                    watched.update(unit.instead)
                self._do(self._blobs.watches(watched, now_ms))
            await trio.sleep(LOOK_INTERVAL_S)
