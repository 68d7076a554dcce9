"""Whether a small block waits for company: one fsync per reading wears out a flash card."""

from __future__ import annotations

from typing import Final

from appliance.core.limits import PAGE_BYTES

LOAD_RECORD_COUNT: Final = 16
"""As many records within one linger time are load, and load does not linger."""
FRAME_OVERHEAD_BYTES: Final = 256


class Linger:
    """Counts what comes in windows of one linger time.

    Args:
        linger_ms: How long a block smaller than a page waits, when there is no load.
    """

    def __init__(self, linger_ms: int) -> None:
        self._linger_ms = linger_ms
        self._window_since_mono_ms = 0
        self._window_began_at = 0
        self._was_loaded = False

    def left_ms(self, mono_ms: int, since_mono_ms: int) -> int:
        """What is left of a block's time at most, ms."""
        return since_mono_ms + self._linger_ms - mono_ms

    def should_wait(
        self, mono_ms: int, *, since_mono_ms: int, body_bytes: int, received_messages: int
    ) -> bool:
        """Whether to wait on; a block that fills a page costs the disk no more than a smaller one, so it never does.

        Args:
            since_mono_ms: When the block's first record came.
            received_messages: The broker's counter since its start.
        """
        if body_bytes >= PAGE_BYTES - FRAME_OVERHEAD_BYTES:
            return False
        window_ms = mono_ms - self._window_since_mono_ms
        in_window = received_messages - self._window_began_at
        if window_ms >= self._linger_ms:
            self._was_loaded = in_window >= LOAD_RECORD_COUNT and window_ms <= 2 * self._linger_ms
            self._window_since_mono_ms, self._window_began_at = mono_ms, received_messages
        if self._was_loaded or in_window >= LOAD_RECORD_COUNT:
            return False
        return mono_ms - since_mono_ms < self._linger_ms
