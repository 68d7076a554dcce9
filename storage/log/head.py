"""The durable head: how far the log is fsynced, published through a small file that other processes map.

Two slots are written in turn, each with a counter and a CRC. A reader takes the valid slot with the highest
counter: one of the two is always whole, also when the writer was killed in the middle of a copy. (A single
slot with a sequence lock would stay unreadable then.) The file is never fsynced on its own: it is written
only after the fdatasync of what it tells of, so whatever of it reaches the disk is true.

After a power cut it may be older than the log, until the writer has recovered. A slot names the boot of the machine
in which it was written, so that a reader can tell that from a log which lost data.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from appliance.core.errors import LogDamaged
from appliance.core.limits import PAGE_BYTES
from storage.log.disk import Disk, SharedMap
from storage.log.layout import FORMAT_VERSION, ZERO_HASH, crc32c
from storage.log.names import HEAD

MAGIC: Final = b"HPHD"
SLOT_OFFSETS: Final = (0, 2048)
_FIELDS: Final = struct.Struct("<4sHHQIIQQQ32s16s")
_CRC: Final = struct.Struct("<I")
SLOT_BYTES: Final = _FIELDS.size + _CRC.size
SLOTS_END: Final = SLOT_OFFSETS[-1] + SLOT_BYTES
"""All that is said stands before it in the file."""
HEAD_FILE_BYTES: Final = PAGE_BYTES
READ_ATTEMPTS_MAX: Final = 1000
"""Both slots unreadable means that the writer lapped us twice within one copy of 100 bytes; 1,000 in a row is damage."""


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


class Slot(NamedTuple):
    """One slot: the one with the higher counter counts. `boot_id` (16 bytes) is the machine's when it was written."""

    counter: int
    boot_id: bytes
    head: Head


def encode_slot(slot: Slot) -> bytes:
    """The bytes of one slot; its counter rises by one with each."""
    counter, boot_id, head = slot
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
        boot_id,
    )
    return fields + _CRC.pack(crc32c(0, fields))


def decode_slot(data: bytes) -> Slot | None:
    """The slot in these bytes, or None when it is not whole."""
    if len(data) != SLOT_BYTES or not data.startswith(MAGIC):
        return None
    if crc32c(0, data[: _FIELDS.size]) != _CRC.unpack_from(data, _FIELDS.size)[0]:
        return None
    _, version, _, counter, epoch, _, next_seq, segment_first_seq, offset, frame_hash, boot_id = (
        _FIELDS.unpack_from(data)
    )
    if version != FORMAT_VERSION:
        return None
    return Slot(counter, boot_id, Head(epoch, next_seq, frame_hash, segment_first_seq, offset))


def newest_slot(mapped: SharedMap) -> Slot | None:
    """The newest whole slot of a head file, or None."""
    slots = [decode_slot(mapped[offset : offset + SLOT_BYTES]) for offset in SLOT_OFFSETS]
    return max((slot for slot in slots if slot is not None), key=lambda slot: slot.counter, default=None)


def read_slot(mapped: SharedMap, path: Path) -> Slot:
    """The durable head, as another process published it.

    Raises:
        LogDamaged: neither slot is whole.
    """
    for _ in range(READ_ATTEMPTS_MAX):
        slot = newest_slot(mapped)
        if slot is not None:
            return slot
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
        self._counter = found.counter if found else 0
        self._boot_id = disk.boot_id()
        self.found: Head | None = found.head if found else None
        """What the last writer published last; None when the file is new or damaged."""

    def publish(self, head: Head) -> None:
        """Makes the head visible to every process. Only after the fdatasync of all that it covers."""
        self._counter += 1
        offset = SLOT_OFFSETS[self._counter & 1]
        self._map[offset : offset + SLOT_BYTES] = encode_slot(Slot(self._counter, self._boot_id, head))

    def close(self) -> None:
        self._map.close()
        self._disk.close(self._descriptor)


def read_head(disk: Disk, directory: Path) -> Head:
    """What a stream's head file says; NOTHING_YET where it says nothing.

    Raises:
        OSError: it can't be read.
    """
    try:
        descriptor = disk.open(directory / HEAD)
    except FileNotFoundError:
        return NOTHING_YET
    try:
        if disk.size(descriptor) < HEAD_FILE_BYTES:
            return NOTHING_YET
        mapped = disk.map_shared(descriptor, HEAD_FILE_BYTES, write=False)
        try:
            return read_slot(mapped, directory / HEAD).head
        except LogDamaged:
            return NOTHING_YET  # whoever writes it makes it whole when it is opened
        finally:
            mapped.close()
    finally:
        disk.close(descriptor)
