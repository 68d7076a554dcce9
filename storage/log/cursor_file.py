"""A cursor that another process keeps: how far it has read, so that the log knows what is still needed.

One page, two slots written in turn, as in the head file and for the same reason. It is written over in place, never
grown: moving a cursor needs no space, so a full disk can't keep the cursor back whose progress would free it. It is
written after what it tells of is durable, so whatever of it reaches the disk is true. A file that can't be read holds
everything.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final, NamedTuple

from appliance.core.limits import PAGE_BYTES
from storage.log.disk import Disk
from storage.log.layout import FORMAT_VERSION, crc32c

MAGIC: Final = b"HPCU"
SLOT_OFFSETS: Final = (0, 2048)
_FIELDS: Final = struct.Struct("<4sHHQQ")
_CRC: Final = struct.Struct("<I")
SLOT_BYTES: Final = _FIELDS.size + _CRC.size


class CursorSlot(NamedTuple):
    """The one with the higher counter counts. Everything before `next_seq` was read."""

    counter: int
    next_seq: int


def encode_cursor_slot(slot: CursorSlot) -> bytes:
    fields = _FIELDS.pack(MAGIC, FORMAT_VERSION, 0, *slot)
    return fields + _CRC.pack(crc32c(0, fields))


def decode_cursor_slot(data: bytes) -> CursorSlot | None:
    """The slot in these bytes, or None when it is not whole."""
    if len(data) != SLOT_BYTES or not data.startswith(MAGIC):
        return None
    if crc32c(0, data[: _FIELDS.size]) != _CRC.unpack_from(data, _FIELDS.size)[0]:
        return None
    _, version, _, counter, next_seq = _FIELDS.unpack_from(data)
    return CursorSlot(counter, next_seq) if version == FORMAT_VERSION else None


def newest_cursor_slot(page: bytes) -> CursorSlot | None:
    """The newest whole slot of a cursor file's page."""
    slots = [decode_cursor_slot(page[offset : offset + SLOT_BYTES]) for offset in SLOT_OFFSETS]
    return max((slot for slot in slots if slot is not None), key=lambda slot: slot.counter, default=None)


def read_cursor(disk: Disk, path: Path) -> int:
    """The sequence before which everything was read; 0 where the file is missing or not whole.

    Raises:
        OSError: it can't be read.
    """
    try:
        descriptor = disk.open(path)
    except FileNotFoundError:
        return 0
    try:
        slot = newest_cursor_slot(disk.pread(descriptor, PAGE_BYTES, 0))
    finally:
        disk.close(descriptor)
    return slot.next_seq if slot is not None else 0


class CursorFile:
    """The reading process's side; for one thread at a time."""

    def __init__(self, disk: Disk, path: Path) -> None:
        """Makes the file when it isn't there.

        Raises:
            OSError: it can't be made; there is no space for its one page.
        """
        disk.make_directory(path.parent)
        self._disk = disk
        self._descriptor = disk.open(path, create=True)
        try:
            if disk.size(self._descriptor) < PAGE_BYTES:
                disk.allocate(self._descriptor, PAGE_BYTES)
                disk.fsync(self._descriptor)
                disk.fsync_directory(path.parent)
            slot = newest_cursor_slot(disk.pread(self._descriptor, PAGE_BYTES, 0))
        except BaseException:
            disk.close(self._descriptor)
            raise
        self._counter = slot.counter if slot is not None else 0

    def publish(self, next_seq: int) -> None:
        """Says that everything before a sequence was read, and that this is durable.

        Raises:
            OSError: the disk failed; the file still says what it said, or nothing.
        """
        self._counter += 1
        slot = encode_cursor_slot(CursorSlot(self._counter, next_seq))
        self._disk.pwritev(self._descriptor, [slot], SLOT_OFFSETS[self._counter & 1])

    def close(self) -> None:
        self._disk.close(self._descriptor)
