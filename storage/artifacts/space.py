"""How much room artifacts may take: one image, all together, and what the disk must keep for readings."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage.artifacts import errors
from storage.log.disk_level import Space


def space_of(folder: Path) -> Space:
    """Of the file system that a folder is on, without what is reserved for root. Raises OSError."""
    found = os.statvfs(folder)
    total = found.f_blocks - (found.f_bfree - found.f_bavail)
    return Space(total_bytes=total * found.f_frsize, free_bytes=found.f_bavail * found.f_frsize)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is allowed.

    Attributes:
        size_bytes_max: Of one image.
        quota_bytes: Of all, uploads with the size that they are to have.
        used_percent_max: Of the disk, with the image on it: above it, readings come first.
        space: Looks at the disk.
    """

    size_bytes_max: int
    quota_bytes: int
    used_percent_max: int
    space: Callable[[Path], Space] = space_of

    def check(self, folder: Path, *, size_bytes: int, used_bytes: int) -> None:
        """Refuse an image before its first byte.

        Args:
            used_bytes: By all other artifacts and uploads.
        Raises:
            LimitExceeded: `artifact_too_large`, `artifact_quota`. StorageError: `disk_full`.
        """
        if size_bytes > self.size_bytes_max:
            raise errors.too_large(size_bytes, self.size_bytes_max)
        if used_bytes + size_bytes > self.quota_bytes:
            raise errors.over_quota(used_bytes, size_bytes, self.quota_bytes)
        self.check_disk(folder, size_bytes)

    def check_disk(self, folder: Path, more_bytes: int) -> None:
        """Refuse bytes that the disk has no room for. Raises StorageError."""
        try:
            found = self.space(folder)
        except OSError as error:
            raise errors.failed("Looking at the disk", error) from error
        if found.used_ratio(more_bytes) * 100 > self.used_percent_max:
            raise errors.disk_full()
