"""All that the log asks of an operating system, as a Protocol, so that tests inject errors, delays and crashes.

Every method raises OSError as the system call does. Nothing here retries: what a failure means is for the
caller to say.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from appliance.core.limits import MIB, PAGE_BYTES
from storage.log.disk_level import Space

DIRECT_READ_BYTES: Final = 1 * MIB
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
NO_DIRECT_IO: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP})
"""What a file system says that has no O_DIRECT."""
NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What it says when it is full."""


class SharedMap(Protocol):
    """A small shared memory map of a file."""

    def __getitem__(self, index: slice, /) -> bytes: ...
    def __setitem__(self, index: slice, data: bytes, /) -> None: ...
    def close(self) -> None: ...


class Disk(Protocol):
    """Files and directories."""

    def make_directory(self, path: Path) -> None:
        """Creates it, and the ones above, mode 0700, durably; fine when it is there."""

    def names(self, directory: Path) -> list[str]:
        """What is in a directory, in no order."""

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        """A descriptor, closed on exec. `create` makes the file (mode 0600) when it isn't there."""

    def open_direct(self, path: Path) -> int:
        """A descriptor for reading past the page cache."""

    def close(self, descriptor: int) -> None: ...

    def size(self, descriptor: int) -> int:
        """The file's size, bytes."""

    def file_size(self, path: Path) -> int:
        """The size of a file by its name, bytes."""

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""

    def pread_direct(self, descriptor: int, length: int, offset: int) -> bytes:
        """As pread, past the page cache; offset and length are multiples of 4,096."""

    def pwritev(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        """Bytes written, which may be fewer than given."""

    def fdatasync(self, descriptor: int) -> None: ...
    def fsync(self, descriptor: int) -> None: ...
    def fsync_directory(self, path: Path) -> None: ...

    def allocate(self, descriptor: int, size: int) -> None:
        """Makes the file at least `size` bytes long with the space reserved."""

    def truncate(self, descriptor: int, size: int) -> None: ...
    def make_read_only(self, descriptor: int) -> None: ...
    def rename(self, source: Path, target: Path) -> None: ...
    def unlink(self, path: Path) -> None: ...

    def space(self, path: Path) -> Space:
        """Of the file system that a directory is on."""

    def lock(self, descriptor: int) -> bool:
        """Takes the file's exclusive lock; False when another process has it."""

    def map_shared(self, descriptor: int, size: int, *, write: bool) -> SharedMap:
        """A shared map of the file's first `size` bytes."""

    def boot_id(self) -> bytes:
        """16 bytes that change with each start of the machine; zeros where there is no such thing."""


class OsDisk:
    """The real one."""

    def make_directory(self, path: Path) -> None:
        if path.is_dir():
            return
        self.make_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        self.fsync_directory(path.parent)

    def names(self, directory: Path) -> list[str]:
        return os.listdir(directory)

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        flags = (os.O_RDWR if write or create else os.O_RDONLY) | (os.O_CREAT if create else 0) | os.O_CLOEXEC
        return os.open(path, flags, 0o600)

    def open_direct(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def file_size(self, path: Path) -> int:
        return path.stat().st_size

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        data = os.pread(descriptor, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
        got = len(data)
        while got < length:
            data = os.pread(descriptor, length - got, offset + got)
            if not data:
                break
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def pread_direct(self, descriptor: int, length: int, offset: int) -> bytes:
        assert offset % PAGE_BYTES == 0
        assert length % PAGE_BYTES == 0
        with mmap.mmap(-1, length) as buffer:  # anonymous memory begins on a page, as O_DIRECT wants
            got = 0
            while got < length:
                with memoryview(buffer) as whole, whole[got:] as rest:
                    n = os.preadv(descriptor, [rest], offset + got)
                got += n
                if n % PAGE_BYTES or not n:
                    break
            return buffer[:got]

    def pwritev(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        return os.pwritev(descriptor, buffers, offset)

    def fdatasync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def fsync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def allocate(self, descriptor: int, size: int) -> None:
        os.posix_fallocate(descriptor, 0, size)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def make_read_only(self, descriptor: int) -> None:
        os.fchmod(descriptor, 0o400)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def space(self, path: Path) -> Space:
        found = os.statvfs(path)
        # What is reserved for root is neither ours nor used: as df counts.
        total = found.f_blocks - (found.f_bfree - found.f_bavail)
        return Space(total_bytes=total * found.f_frsize, free_bytes=found.f_bavail * found.f_frsize)

    def lock(self, descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def map_shared(self, descriptor: int, size: int, *, write: bool) -> SharedMap:
        return mmap.mmap(descriptor, size, access=mmap.ACCESS_WRITE if write else mmap.ACCESS_READ)

    def boot_id(self) -> bytes:
        try:
            return bytes.fromhex(BOOT_ID.read_text().strip().replace("-", ""))
        except FileNotFoundError:
            return bytes(16)


def write_all(disk: Disk, descriptor: int, buffers: Sequence[bytes], offset: int) -> int:
    """Writes all of the buffers from `offset` on, going on after a short write; gives the number of bytes.

    Raises:
        OSError: as pwritev; EIO when it says it wrote nothing.
    """
    total = sum(map(len, buffers))
    done = disk.pwritev(descriptor, buffers, offset)
    while done < total:
        rest = memoryview(b"".join(buffers))[done:]
        n = disk.pwritev(descriptor, [rest], offset + done)
        if n <= 0:
            raise OSError(errno.EIO, "a write made no progress")
        done += n
    return total
