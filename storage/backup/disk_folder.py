"""A folder on a disk that may be slow, small, of a simple file system, pulled out at any moment, or not ours.

Files are written beside their name, fsynced and renamed, so that a name stands for a whole file; nothing else is asked
of the file system than that (vfat and exFAT have it), no modes, no links. What is read is opened without following a
link, must be a plain file, and has a size that was allowed before it was read.

Must not know: what is in the files.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.core.errors import Conflict, NotFound, StorageError
from storage.backup.errors import damaged

PART: Final = ".part"
_AWAY: Final = frozenset(
    {errno.ENODEV, errno.ENXIO, errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ENOMEDIUM}
)
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.EROFS})
"""What file systems say that can't fsync a folder: they write its entries through."""


def read_file(path: Path, bytes_max: int) -> bytes:
    """A plain file's content.

    Raises:
        NotFound: `backup_file_missing`. StorageError: `backup_damaged` (no plain file, or too large), `backup_disk_failed`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(
            f"{path} is missing.",
            hint="Look whether the right disk is connected; `homeport backup verify` says what else is missing.",
            code="backup_file_missing",
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise damaged(f"{path} is a link.") from error
        raise disk_failed(path, error) from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise damaged(f"{path} is no plain file.")
        if about.st_size > bytes_max:
            raise damaged(f"{path} has {about.st_size} bytes; at most {bytes_max} are allowed.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(bytes_max)
    except OSError as error:
        raise disk_failed(path, error) from error
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes) -> None:
    """Make or replace a file, whole and durable when this returns.

    Raises:
        StorageError: `backup_disk_full`, `backup_disk_failed`.
    """
    part = path.with_name(path.name + PART)
    try:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()  # also a link that somebody put there
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise disk_failed(path, error) from error


def remove_file(path: Path) -> None:
    """Remove a file if it is there; its folder is synced by whoever removes several. Raises StorageError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_failed(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder below one that is there, durably.

    Raises:
        StorageError: `backup_damaged`: there is a link or a file; the disk failed.
    """
    try:
        if is_folder(path):
            return
        path.mkdir(mode=0o700)
        sync_folder(path.parent)
    except FileExistsError as error:
        raise damaged(f"{path} is no plain folder.") from error
    except OSError as error:
        raise disk_failed(path, error) from error


def is_folder(path: Path) -> bool:
    """Whether there is a folder, and no link to one: what is removed below it must be ours."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def sync_folder(path: Path) -> None:
    """Have a folder's entries be on disk, where the file system can do that. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def names_of(path: Path) -> list[str]:
    """Names in a folder, sorted; none where there is no folder. Raises StorageError."""
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise disk_failed(path, error) from error


def sizes_of(path: Path) -> dict[str, int]:
    """Sizes of the plain files in a folder, by name. Raises StorageError."""
    found = {}
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    found[entry.name] = entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise disk_failed(path, error) from error
    return found


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold a lock file in a folder for as long as the block lasts.

    Yields:
        Whether the folder can be written; one on a disk that only reads is not locked, since nobody changes it.
    Raises:
        Conflict: `backup_in_use`. StorageError: `backup_disk_failed`.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            yield False
            return
        raise disk_failed(path, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"{path.parent} is in use by another backup, verification or restore.",
                hint="Wait until that one is done.",
                code="backup_in_use",
            ) from None
        yield True
    finally:
        os.close(descriptor)


def disk_failed(path: Path, error: OSError) -> StorageError:
    """The error of a backup's disk in words that say what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"The disk with {path.parent} is full.",
            hint="Free space there or use a larger disk; older backups on it are whole.",
            code="backup_disk_full",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StorageError(
            f"{path} can't be used: {error.strerror}.",
            hint="See that the disk is connected for writing and that Homeport's user may write to the folder.",
            code="backup_disk_refuses",
        )
    gone = " It looks as if the disk was taken away." if error.errno in _AWAY else ""
    return StorageError(
        f"{path} can't be used: {error.strerror}.{gone}",
        hint="Connect the disk again; older backups on it are whole, and the next one goes on from there.",
        code="backup_disk_failed",
    )
