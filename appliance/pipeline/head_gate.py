"""Holds reading up at the log's head while something is changed that holds by position.

What a change says must not hold for records that were read already. So it first holds the readers up at the head of that moment (`hold`), is
then written down, and then let go (`release`): readings wait for as long as the catalog takes to write it. The lock is held
while blocks are read, never while they are decoded or committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Position = tuple[int, int]
"""(epoch, sequence) of a record."""


class HeadGate:
    """From any thread; one change at a time holds.

    Attributes:
        lock: Also guards what is read by position.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._held_at: int | None = None

    @contextmanager
    def reading(self) -> Iterator[int | None]:
        """While blocks are read: the first sequence that is not to be read now."""
        with self.lock:
            yield self._held_at

    def hold(self, read_head: Callable[[], Position]) -> Position:
        """Let nobody read beyond the head, as it is now, until `release`. Blocks while blocks are being read.

        Args:
            read_head: Gives the durable head's (epoch, next sequence); nothing is held up when it raises.
        Returns:
            That position: the first record that the change may hold for.
        """
        with self.lock:
            epoch, seq = read_head()
            self._held_at = seq
            return epoch, seq

    def release(self, change: Callable[[], object]) -> None:
        """Read on, after what was changed is known."""
        with self.lock:
            change()
            self._held_at = None
