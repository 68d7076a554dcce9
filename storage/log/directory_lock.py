"""One writer for a directory: an exclusive flock, which the kernel lets go of when its process ends, however it ends."""

from __future__ import annotations

from pathlib import Path

from appliance.core.errors import LogLocked
from storage.log.disk import Disk
from storage.log.names import LOCK


def take_lock(disk: Disk, directory: Path) -> int:
    """Makes the directory and takes its lock; gives the descriptor that holds it.

    Raises:
        LogLocked: another process has it.
        OSError: the directory or the file can't be made.
    """
    disk.make_directory(directory)
    descriptor = disk.open(directory / LOCK, create=True)
    try:
        is_ours = disk.lock(descriptor)
    except OSError:
        disk.close(descriptor)
        raise
    if is_ours:
        return descriptor
    disk.close(descriptor)
    raise LogLocked(
        f"Another process writes the log in {directory}.",
        hint="Stop the other homeport that uses this data directory, then start again.",
    )
