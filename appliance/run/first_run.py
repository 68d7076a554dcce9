"""What must be there before the processes start: folders only we can read, locks, and enough descriptors.

Each function does the same when called again; the first call makes what is missing.
"""

from __future__ import annotations

import fcntl
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from appliance.core import logs
from appliance.core.config import Config
from appliance.core.errors import Conflict, StorageError

_log = logs.get(__name__)

UMASK: Final = 0o077
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def prepare_folders(config: Config) -> None:
    """Make data_dir and run_dir, readable by this user only; root becomes the owner of a data_dir that is there.

    Raises:
        StorageError: one can't be made, isn't a folder, is another user's, or others may read it.
    """
    os.umask(UMASK)
    owner = _other_owner(config.node.data_dir)
    for folder in (config.node.data_dir, config.node.run_dir):
        try:
            is_new = not folder.exists()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if is_new and owner is not None:
                os.chown(folder, owner.st_uid, owner.st_gid, follow_symlinks=False)
        except OSError as error:
            raise StorageError(
                f"{folder} can't be made: {error.strerror}.",
                hint="Make it and give it to this user, or set node.data_dir and node.run_dir.",
                code="folder_missing",
            ) from error
    become_owner(config.node.data_dir)
    for folder in (config.node.data_dir, config.node.run_dir):
        check_folder(folder)


def become_owner(data_dir: Path) -> None:
    """Let root be the user whose data folder it is, for the rest of this process; anybody else stays who they are.

    A file that root left there would be one that the service can't open.
    """
    owner = _other_owner(data_dir)
    if owner is not None:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def _other_owner(data_dir: Path) -> os.stat_result | None:
    """Who owns the folder, if we are root and it is somebody else's."""
    if os.geteuid() != 0 or not data_dir.is_dir():
        return None
    about = data_dir.stat()
    return about if about.st_uid != 0 else None


def check_folder(folder: Path) -> None:
    """See that a folder is ours and nobody else's.

    Raises:
        StorageError: it is missing, no folder, another user's, or others may read it.
    """
    try:
        about = folder.stat()
    except OSError as error:
        raise StorageError(
            f"{folder}: {error.strerror}.", hint="Start Homeport once.", code="folder_missing"
        ) from error
    if not stat.S_ISDIR(about.st_mode):
        raise StorageError(f"{folder} isn't a folder.", hint="Move that file away.", code="folder_missing")
    if about.st_uid != os.geteuid():
        raise StorageError(
            f"{folder} belongs to user {about.st_uid}, and this is user {os.geteuid()}.",
            hint="Run this as the owner, or change the owner.",
            code="folder_not_ours",
        )
    if about.st_mode & _OTHERS:
        raise StorageError(
            f"{folder} can be read by others (mode {about.st_mode & 0o777:o}).",
            hint=f"Run: chmod 700 {folder}",
            code="folder_open_to_others",
        )


def raise_file_limit() -> int:
    """Raise the number of open files to the hard limit; a connection is one.

    Returns:
        The limit from now on, for this process and those it starts.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        # Forbidden by a system call filter, or above what the kernel's fs.nr_open allows.
        _log.warning("the limit of open files stays as it is", limit=soft, error=str(error))
        return soft
    return hard


@contextmanager
def lock(path: Path, *, holder: str) -> Iterator[None]:
    """Hold a lock on a file for as long as the block lasts, or until this process ends however it ends.

    Args:
        path: The lock's file, which stays behind; its folder exists.
        holder: Who takes it, in words, for the error that others get.
    Raises:
        Conflict: another process holds it.
        StorageError: the file can't be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(
            f"{path} can't be made: {error.strerror}.", hint="Look at the folder's owner and mode."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
            raise Conflict(
                f"{path} is held by {other}.",
                hint="Stop that one first, or use another node.data_dir.",
                code="locked",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{holder}, process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
