"""Reading a file past the page cache: what is in the cache need not be on the disk.

After a failed write-back the kernel may call the very pages clean that never arrived. Only a read that goes to the
disk says what is there. A file system without O_DIRECT (tmpfs) is read through the cache, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.core.limits import PAGE_BYTES
from storage.log.disk import NO_DIRECT_IO, Disk
from storage.log.window import ReadAt


@dataclass(frozen=True, slots=True)
class DirectRead:
    """How to read one file.

    Args:
        read_at: (length, offset) → bytes, both multiples of 4,096.
        refused: Why the page cache could not be avoided; "" when it was.
    """

    read_at: ReadAt
    refused: str


@contextmanager
def past_the_cache(disk: Disk, path: Path, descriptor: int) -> Iterator[DirectRead]:
    """Opens a file once more, for reading from the disk itself.

    Args:
        descriptor: Of the same file, read instead where there is no O_DIRECT.
    Raises:
        OSError: opening failed, or the disk can't be read.
    """
    direct: int | None = None
    refused = ""
    try:
        try:
            direct = disk.open_direct(path)
            disk.pread_direct(direct, PAGE_BYTES, 0)
        except OSError as error:
            if error.errno not in NO_DIRECT_IO:
                raise
            refused = f"the file system has no O_DIRECT: {error.strerror}"
        usable = direct if not refused else None

        def read_at(length: int, offset: int) -> bytes:
            if usable is None:
                return disk.pread(descriptor, length, offset)
            return disk.pread_direct(usable, length, offset)

        yield DirectRead(read_at, refused)
    finally:
        if direct is not None:
            disk.close(direct)
