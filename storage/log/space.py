"""Watches the space of the log's file system, and keeps a reserve: the ballast.

The ballast is a file of zeros whose blocks are allocated. Its space is given back when an allocation finds the disk full or
hardly anything is left, so that what must go on (session records, the catalog, removing segments) has room; it is taken
again when there is plenty. A ballast that was given up counts as used, so giving it up changes no level.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from appliance.core.limits import BALLAST_SHARE_MAX
from storage.log.disk import Disk
from storage.log.disk_level import DiskLevel, DiskLevels, Space
from storage.log.names import BALLAST

RELEASE_AT: Final = 4
"""The ballast is given up when less is free than a quarter of it,"""
REGAIN_AT: Final = 2
"""and taken again when twice as much is free."""


class SpaceWatch:
    """One file system. `measure` is called from one thread, everything else from any.

    Args:
        directory: Where the ballast is; its file system is what is watched.
        ballast_bytes: Its size; never more than a fiftieth of the file system.
    """

    def __init__(self, disk: Disk, directory: Path, levels: DiskLevels, ballast_bytes: int) -> None:
        self._disk = disk
        self._path = directory / BALLAST
        self._directory = directory
        self._levels = levels
        self._wanted_bytes = ballast_bytes
        self._lock = threading.Lock()
        self._target_bytes = 0
        self.space = Space(total_bytes=0, free_bytes=0)
        self.released_total = 0
        try:
            self.held_bytes = disk.file_size(self._path)
        except FileNotFoundError:
            self.held_bytes = 0
        self.level = DiskLevel.OK

    @property
    def owed_bytes(self) -> int:
        """What of the ballast is not held now."""
        return max(0, self._target_bytes - self.held_bytes)

    @property
    def used_ratio(self) -> float:
        return self.space.used_ratio(self.owed_bytes) if self.space.total_bytes else 0.0

    @property
    def excess_bytes(self) -> int:
        """How much must be freed for the level to be ok again."""
        return self._levels.excess_bytes(self.space, self.owed_bytes)

    def measure(self) -> DiskLevel:
        """Looks at the file system, gives up or takes the ballast, and says the level.

        Raises:
            OSError: the file system doesn't answer, or the ballast can't be changed.
        """
        self.space = self._disk.space(self._directory)
        self._target_bytes = min(self._wanted_bytes, self.space.total_bytes // BALLAST_SHARE_MAX)
        free_bytes = self.space.free_bytes
        with self._lock:
            if self.held_bytes > self._target_bytes:
                self._resize(self._target_bytes)
            elif free_bytes < self._target_bytes // RELEASE_AT:
                self._release()
            elif self.held_bytes < self._target_bytes and free_bytes >= self._target_bytes * REGAIN_AT:
                self._resize(self._target_bytes)
        self.space = self._disk.space(self._directory)
        self.level = self._levels.after(self.level, self.used_ratio)
        return self.level

    def release(self) -> bool:
        """Gives the ballast's space back, because something found the disk full; False when there is none to give.

        Raises:
            OSError: the file can't be cut.
        """
        with self._lock:
            return self._release()

    def _release(self) -> bool:
        if not self.held_bytes:
            return False
        self._resize(0)
        self.released_total += 1
        return True

    def _resize(self, size: int) -> None:
        descriptor = self._disk.open(self._path, create=True)
        try:
            if self._disk.size(descriptor) > size:
                self._disk.truncate(descriptor, size)
            self._disk.allocate(descriptor, size) if size else None
            self._disk.fsync(descriptor)
            self.held_bytes = size
        finally:
            self._disk.close(descriptor)
