"""Keeps the log from being shortened while it is copied, and lets go by itself when whoever copies it dies.

Whoever makes a backup holds a lock on `data_dir/backup.lock`; the log's writer, in another process, asks whether somebody
does. The kernel lets go of the lock with the process that had it, so an interrupted backup holds nothing back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.core.errors import Conflict, StorageError

NAME: Final = "backup.lock"
NEEDS_NOTHING: Final = 2**63
NEEDS_EVERYTHING: Final = 0
_TRIES: Final = 20
_PAUSE_S: Final = 0.05
"""Asking takes the lock for a moment: a second is enough to know that it is really held."""


def needed_seq(path: Path) -> int:
    """The first record of the log that a backup under way needs: all of them, or none where there is none.

    Raises:
        OSError: it can't be known.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return NEEDS_NOTHING
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return NEEDS_EVERYTHING
    finally:
        os.close(descriptor)
    return NEEDS_NOTHING


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the log, and be the only backup of this box, for as long as the block lasts.

    Raises:
        Conflict: `backup_running`. StorageError: the file can't be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(
            f"{path} can't be made: {error.strerror}.", hint="Look at the data folder's disk and owner."
        ) from error
    try:
        for left in reversed(range(_TRIES)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise Conflict(
                        "A backup of this box is being made already.",
                        hint="Wait until that one is done; the page Backups shows how far it is.",
                        code="backup_running",
                    ) from None
            time.sleep(_PAUSE_S)
        yield
    finally:
        os.close(descriptor)
