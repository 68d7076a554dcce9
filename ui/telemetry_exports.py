"""How many exports of readings there are: places for TELEMETRY_EXPORT_COUNT_MAX at once, and what was sent, for the metrics.

An export has a place of its own rather than one among the questions: it lasts for as long as whoever takes it, and two that are
taken slowly must not keep a page waiting. For the event loop only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from appliance.core.errors import LimitExceeded
from appliance.core.limits import TELEMETRY_EXPORT_COUNT_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportStatistics:
    """Since the start but for `running`; `broken_off_total` ended before their last byte, whoever's fault it was."""

    running: int
    completed_total: int
    broken_off_total: int
    refused_total: int
    sent_bytes_total: int


@dataclass(slots=True)
class ExportPlace:
    """What came of one export, as whoever makes it notes."""

    sent_bytes: int = 0
    is_whole: bool = False


class TelemetryExports:
    """The places, and the counts."""

    def __init__(self) -> None:
        self._running = 0
        self._completed_total = 0
        self._broken_off_total = 0
        self._refused_total = 0
        self._sent_bytes_total = 0

    @contextmanager
    def place(self) -> Iterator[ExportPlace]:
        """A place for one export, taken before anything is asked of the store.

        Raises:
            LimitExceeded: `telemetry_export_count`.
        """
        if self._running >= TELEMETRY_EXPORT_COUNT_MAX:
            self._refused_total += 1
            raise LimitExceeded(
                f"{TELEMETRY_EXPORT_COUNT_MAX} exports of readings are being made already.",
                hint="Wait for one to end.",
                code="telemetry_export_count",
            )
        self._running += 1
        place = ExportPlace()
        try:
            yield place
        finally:
            self._running -= 1
            self._sent_bytes_total += place.sent_bytes
            if place.is_whole:
                self._completed_total += 1
            else:
                self._broken_off_total += 1

    def statistics(self) -> ExportStatistics:
        return ExportStatistics(
            running=self._running,
            completed_total=self._completed_total,
            broken_off_total=self._broken_off_total,
            refused_total=self._refused_total,
            sent_bytes_total=self._sent_bytes_total,
        )
