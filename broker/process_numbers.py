"""What the broker process takes of the machine, and how much room its disk has; looked at in a thread, since a disk that
fails may not answer.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import trio

SAMPLE_INTERVAL_S: Final = 5.0
KIB: Final = 1024
_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessNumbers:
    """Resident memory of this process now and at most; free (for who isn't root) and total bytes of the disk."""

    memory_bytes: int = 0
    memory_bytes_most: int = 0
    disk_free_bytes: int = 0
    disk_total_bytes: int = 0


def sample(path: Path) -> ProcessNumbers:
    """Look now. Blocks.

    Args:
        path: On the disk in question; of one that isn't there yet, the folder it will be in.
    Raises:
        OSError: the disk or the process can't be looked at.
    Source: proc(5), /proc/pid/statm; getrusage(2), whose ru_maxrss is in KiB.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    disk = os.statvfs(path)
    resident_pages = int(_STATM.read_text(encoding="ascii").split()[1])
    memory_bytes = resident_pages * _PAGE_BYTES
    return ProcessNumbers(
        memory_bytes=memory_bytes,
        memory_bytes_most=max(memory_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB),
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        disk_total_bytes=disk.f_blocks * disk.f_frsize,
    )


class ProcessWatch:
    """Samples from time to time; `newest` is all zeros until the first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.newest = ProcessNumbers()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sample now and at every interval. Runs until cancelled."""
        await self._sample()
        task_status.started()
        while True:
            await trio.sleep(SAMPLE_INTERVAL_S)
            await self._sample()

    async def _sample(self) -> None:
        try:
            self.newest = await trio.to_thread.run_sync(sample, self._path, abandon_on_cancel=True)
        except OSError as error:
            log.error("the disk can't be looked at", error=str(error), hint="Look at the disk.")
