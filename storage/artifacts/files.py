"""Open files of blobs: few, shared by all who read, and never closed under somebody's hands."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class _Open:
    descriptor: int
    users: int = 0
    is_forgotten: bool = False


class OpenFiles:
    """Descriptors by path; thread-safe.

    Args:
        count_max: Kept open while nobody reads. Beyond them there are as many as threads read at the same time.
    """

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, _Open] = OrderedDict()

    @contextmanager
    def held(self, path: Path) -> Iterator[int]:
        """A descriptor for reading, which stays open within. Raises OSError."""
        with self._lock:
            found = self._open.get(path)
            if found is None:
                found = self._open[path] = _Open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
            self._open.move_to_end(path)
            found.users += 1
        try:
            yield found.descriptor
        finally:
            with self._lock:
                found.users -= 1
                if found.is_forgotten and not found.users:
                    os.close(found.descriptor)
                self._close_some()

    def forget(self, path: Path) -> None:
        """Have the next who reads open the file anew."""
        with self._lock:
            found = self._open.pop(path, None)
            if found is not None:
                found.is_forgotten = True
                if not found.users:
                    os.close(found.descriptor)

    def close(self) -> None:
        """Close all; those that somebody reads when they are done."""
        for path in list(self._open):
            self.forget(path)

    def _close_some(self) -> None:
        idle = [path for path, each in self._open.items() if not each.users]
        for path in idle[: max(0, len(self._open) - self._count_max)]:
            os.close(self._open.pop(path).descriptor)
