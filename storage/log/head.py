"""The durable head: how far the log is fsynced, published through a small file that other processes map.

Two slots are written in turn, each with a counter and a CRC. A reader takes the valid slot with the highest
counter: one of the two is always whole, also when the writer was killed in the middle of a copy. (A single
slot with a sequence lock would stay unreadable then.) The file is never fsynced on its own: it is written
only after the fdatasync of what it tells of, so whatever of it reaches the disk is true.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.errors import LogDamaged
from appliance.core.limits import PAGE_BYTES
from storage.log.disk import Disk, SharedMap
from storage.log.layout import FORMAT_VERSION, ZERO_HASH, crc32c

MAGIC: Final = b"HPHD"
SLOT_OFFSETS: Final = (0, 2048)
_FIELDS: Final = struct.Struct("<4sHHQIIQQQ32s")
_CRC: Final = struct.Struct("<I")
SLOT_BYTES: Final = _FIELDS.size + _CRC.size
HEAD_FILE_BYTES: Final = PAGE_BYTES
READ_ATTEMPTS_MAX: Final = 1000
"""Both slots unreadable means that the writer lapped us twice within one copy of 84 bytes; 1,000 in a row is damage."""


@dataclass(frozen=True, slots=True)
class Head:
    """A position up to which everything is on disk.

    Args:
        epoch: Of the segment that is written to.
        next_seq: The first sequence that is not in the log yet.
        hash: Of the frame before next_seq (a stream's genesis hash when there is none).
        segment_first_seq: With the epoch, names the segment that is written to.
        offset: Where the next frame begins in it, bytes.
    """

    epoch: int
    next_seq: int
    hash: bytes
    segment_first_seq: int
    offset: int


NOTHING_YET: Final = Head(0, 1, ZERO_HASH, 1, 0)
"""What a reader sees of a stream that was never opened for writing."""


def encode_slot(head: Head, counter: int) -> bytes:
    """One slot; `counter` rises by one with each."""
    fields = _FIELDS.pack(
        MAGIC,
        FORMAT_VERSION,
        0,
        counter,
        head.epoch,
        0,
        head.next_seq,
        head.segment_first_seq,
        head.offset,
        head.hash,
    )
    return fields + _CRC.pack(crc32c(0, fields))


def decode_slot(slot: bytes) -> tuple[int, Head] | None:
    """(counter, head), or None for a slot that is not whole."""
    if len(slot) != SLOT_BYTES or not slot.startswith(MAGIC):
        return None
    if crc32c(0, slot[: _FIELDS.size]) != _CRC.unpack_from(slot, _FIELDS.size)[0]:
        return None
    _, version, _, counter, epoch, _, next_seq, segment_first_seq, offset, frame_hash = _FIELDS.unpack_from(
        slot
    )
    if version != FORMAT_VERSION:
        return None
    return counter, Head(epoch, next_seq, frame_hash, segment_first_seq, offset)


def newest_slot(mapped: SharedMap) -> tuple[int, Head] | None:
    """The newest whole slot of a head file, or None."""
    slots = [decode_slot(mapped[offset : offset + SLOT_BYTES]) for offset in SLOT_OFFSETS]
    whole = [slot for slot in slots if slot is not None]
    return max(whole, key=lambda slot: slot[0]) if whole else None


def read_head(mapped: SharedMap, path: Path) -> Head:
    """The durable head, as another process published it.

    Raises:
        LogDamaged: neither slot is whole.
    """
    for _ in range(READ_ATTEMPTS_MAX):
        slot = newest_slot(mapped)
        if slot is not None:
            return slot[1]
    raise LogDamaged(
        f"The head file {path} is not readable.",
        hint="Start the process that writes this log: it finds the head from the segments and writes the file again.",
    )


class HeadFile:
    """The writer's side. Keeps the file in place, since readers have it mapped."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._descriptor = disk.open(path, create=True)
        self._disk = disk
        try:
            if disk.size(self._descriptor) != HEAD_FILE_BYTES:
                disk.truncate(self._descriptor, HEAD_FILE_BYTES)
                disk.fsync(self._descriptor)
            self._map = disk.map_shared(self._descriptor, HEAD_FILE_BYTES, write=True)
        except BaseException:
            disk.close(self._descriptor)
            raise
        found = newest_slot(self._map)
        self._counter = found[0] if found else 0
        self.found: Head | None = found[1] if found else None
        """What the last writer published last; None when the file is new or damaged."""

    def publish(self, head: Head) -> None:
        """Makes the head visible to every process. Only after the fdatasync of all that it covers."""
        self._counter += 1
        offset = SLOT_OFFSETS[self._counter & 1]
        self._map[offset : offset + SLOT_BYTES] = encode_slot(head, self._counter)

    def close(self) -> None:
        self._map.close()
        self._disk.close(self._descriptor)
