"""What of a simulated device survives a power cut: small records, each replaced whole or not at all, and areas of bytes. Pure.

    records   put(name, value) is atomic: after a cut either the old value is there or the new one
    areas     write(area, offset, data) is not: a cut leaves a part of it; whoever writes notes in a record what is whole

`FaultyFlash` can be told to lose its power, or to fail, at the n-th write from now, which is how tests cut a device's power
at every point there is. Everything else of a device is RAM and gone after a cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

import msgspec

from device_fw_sim.errors import SimError
from device_fw_sim.limits import POOL_BLOCK_COUNT_MAX

AREAS: Final = ("A", "B", "staging")
"""Two slots, and where a download lies until it is verified."""


class PowerCut(BaseException):
    """The power is gone in the middle of a write: no error of the program, and nothing that runs may catch it.

    Whoever plays the device drops what it has in RAM and boots it from its flash.
    """


class FlashError(SimError):
    code = "flash_write_failed"


class Flash(Protocol):
    """Persistent memory of one device."""

    def get(self, name: str) -> Any:
        """A record as plain JSON values, None where there is none."""

    def put(self, name: str, value: Any) -> None:
        """Replace a record, atomically. Raises FlashError."""

    def write(self, area: str, offset: int, data: bytes) -> None:
        """Write a block; the offsets of one area are multiples of one block's length. Raises FlashError."""

    def pieces(self, area: str) -> Iterator[bytes]:
        """All of an area in order, in pieces."""

    def erase(self, area: str) -> None:
        """Empty an area. Raises FlashError."""


class BlockPool:
    """Equal blocks once: a thousand devices that download the same image hold it once.

    Args:
        count_max: Blocks kept; the oldest goes first, and then is merely no longer shared.
    """

    def __init__(self, count_max: int = POOL_BLOCK_COUNT_MAX) -> None:
        self._count_max = count_max
        self._blocks: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def shared(self, data: bytes) -> bytes:
        """The object that stands for these bytes."""
        found = self._blocks.setdefault(data, data)
        if len(self._blocks) > self._count_max:
            del self._blocks[next(iter(self._blocks))]
        return found


class MemoryFlash:
    """Flash of a device that ends with the process.

    Args:
        pool: Shared with other devices.
    """

    def __init__(self, pool: BlockPool | None = None) -> None:
        self._pool = BlockPool() if pool is None else pool
        self._records: dict[str, bytes] = {}
        self._areas: dict[str, dict[int, bytes]] = {area: {} for area in AREAS}

    def get(self, name: str) -> Any:
        data = self._records.get(name)
        return None if data is None else msgspec.json.decode(data)

    def put(self, name: str, value: Any) -> None:
        self._records[name] = msgspec.json.encode(value)

    def write(self, area: str, offset: int, data: bytes) -> None:
        self._areas[area][offset] = self._pool.shared(data)

    def pieces(self, area: str) -> Iterator[bytes]:
        blocks = self._areas[area]
        for offset in sorted(blocks):
            yield blocks[offset]

    def erase(self, area: str) -> None:
        self._areas[area] = {}


class FaultyFlash:
    """Flash of a device whose power can be cut, or whose memory can fail, at the n-th write from now.

    Args:
        flash: What is written to until then.
    Attributes:
        is_corrupting: What is downloaded does not come back as it was written.
    """

    def __init__(self, flash: Flash) -> None:
        self._flash = flash
        self.write_count = 0
        self.is_corrupting = False
        self._cut_at: int | None = None
        self._fail_at: int | None = None

    def cut_at(self, write_count: int | None) -> None:
        """Lose the power in the n-th write from now (1 is the next), once; None for not at all."""
        self._cut_at = None if write_count is None else self.write_count + write_count

    def fail_at(self, write_count: int | None) -> None:
        """Fail the n-th write of an area from now on, once; None for none."""
        self._fail_at = None if write_count is None else self.write_count + write_count

    def get(self, name: str) -> Any:
        return self._flash.get(name)

    def put(self, name: str, value: Any) -> None:
        self._count()
        self._flash.put(name, value)

    def write(self, area: str, offset: int, data: bytes) -> None:
        try:
            self._count()
        except PowerCut:
            self._flash.write(area, offset, data[: len(data) // 2])
            raise
        if self._fail_at is not None and self.write_count >= self._fail_at:
            self._fail_at = None
            raise FlashError("The flash memory did not take a write.", hint="Replace the device.")
        if self.is_corrupting and area == "staging":
            data = bytes((data[0] ^ 0x20,)) + data[1:]
        self._flash.write(area, offset, data)

    def pieces(self, area: str) -> Iterator[bytes]:
        return self._flash.pieces(area)

    def erase(self, area: str) -> None:
        self._count()
        self._flash.erase(area)

    def _count(self) -> None:
        self.write_count += 1
        if self._cut_at is not None and self.write_count >= self._cut_at:
            self._cut_at = None
            raise PowerCut
