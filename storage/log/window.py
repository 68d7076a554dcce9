"""Reading a segment front to back through a buffer of 1 MiB, from the page cache or past it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.core.limits import MIB, PAGE_BYTES
from storage.log.layout import round_to_page

WINDOW_BYTES: Final = 1 * MIB
_ZEROS: Final = bytes(WINDOW_BYTES)

ReadAt = Callable[[int, int], bytes]
"""(length, offset) → bytes, fewer only at the end; both are multiples of 4,096 when a window asks."""


class Window:
    """Gives any range of a file out of larger, page-aligned reads.

    Args:
        read_at: How to read.
        size: The file's size, bytes.
    """

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self._read_at = read_at
        self.size = size
        self._start = 0
        self._data = b""

    def get(self, offset: int, length: int) -> bytes:
        """The bytes from offset on, fewer than `length` only at the end of the file."""
        length = min(length, max(0, self.size - offset))
        relative = offset - self._start
        if relative < 0 or relative + length > len(self._data):
            self._start = offset - offset % PAGE_BYTES
            relative = offset - self._start
            self._data = self._read_at(round_to_page(max(WINDOW_BYTES, relative + length)), self._start)
        return self._data[relative : relative + length]

    def find_pages(self, offset: int, prefix: bytes) -> int | None:
        """The first page at or after `offset` that begins with `prefix`; None when there is none."""
        position = round_to_page(offset)
        while position < self.size:
            chunk = self.get(position, WINDOW_BYTES)
            if not chunk:
                return None
            hit = chunk.find(prefix)
            while hit >= 0 and hit % PAGE_BYTES:
                hit = chunk.find(prefix, hit + 1)
            if hit >= 0:
                return position + hit
            position += len(chunk)
        return None

    def content_end(self, offset: int) -> int:
        """Where the last page that holds anything but zeros ends; `offset` when all from there on is zero."""
        position = offset
        end = offset
        while position < self.size:
            chunk = self.get(position, WINDOW_BYTES)
            if not chunk:
                break
            if chunk != _ZEROS[: len(chunk)]:
                end = position + min(len(chunk), round_to_page(len(chunk.rstrip(b"\0"))))
            position += len(chunk)
        return end
