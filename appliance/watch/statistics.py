"""What the watch says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchStatistics:
    """Totals count since the process began, or since the state was begun anew.

    Attributes:
        seen_total: Readings that arrived, numbers only. late_total: Of them, left out because a later one of the series had been seen.
        duplicates_total: Of one series, time and value: counted once. copies_total: Left out because another broker may have kept them.
        early_total: Released before their time, because too many waited.
        held: Readings that wait for earlier ones. watermark_ms: Newest arrival that was seen, UTC ms.
        found_total: Transitions. held_back: Of them, those that are another node's of the site to say; late_total: said all the same after a
            minute; full_total: at once, for want of room.
        rules, anomalies: What the evaluator and the detectors say of themselves; None before the first start, or where there are none.
    """

    seen_total: int
    copies_total: int
    late_total: int
    duplicates_total: int
    early_total: int
    held: int
    watermark_ms: int
    found_total: int
    held_back: int = 0
    held_back_late_total: int = 0
    held_back_full_total: int = 0
    rules: Any
    anomalies: Any
