"""Says what of the log is needed: the cursor, or what a rebuild would begin with. In the pipeline's thread, but for `is_due`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.core.clock import Clock
from appliance.core.errors import StorageError
from appliance.pipeline.rebuild import Rebuild
from storage.telemetry.store import TelemetryStore

NEEDED_INTERVAL_MS: Final = 10_000
"""How often it is worked out, with a rebuild to come, what of the log is needed: some milliseconds."""


class NeededOfLog:
    """Args as those of Pipeline."""

    def __init__(
        self, rebuild: Rebuild | None, on_cursor: Callable[[int], StorageError | None], clock: Clock
    ) -> None:
        self._rebuild = rebuild
        self._on_cursor = on_cursor
        self._clock = clock
        self._at_mono_ms = 0

    @property
    def follows_days(self) -> bool:
        """Whether it changes also while nothing comes: a day begins, a day is archived."""
        return self._rebuild is not None

    def is_due(self) -> bool:
        return self._rebuild is None or self._clock.mono_ms() >= self._at_mono_ms

    def say(self, store: TelemetryStore, complete_seq: int) -> StorageError | None:
        """Publish it; while that fails the log keeps more than it must, which is shown.

        Raises:
            StorageError: the store can't say.
        """
        if self._rebuild is None:
            return self._on_cursor(complete_seq)
        self._at_mono_ms = self._clock.mono_ms() + NEEDED_INTERVAL_MS
        return self._rebuild.say_needed(store, self._on_cursor)
