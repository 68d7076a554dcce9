"""What the anomaly detectors say of themselves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyStatistics:
    """What is watched, and at what cost.

    Attributes:
        series: That have a place. series_beyond: That have none, for ANOMALY_SERIES_COUNT_MAX.
        profiles, profiles_used: Learned, and explaining their series at present. profiles_refused: Series that have none, for ANOMALY_PROFILE_COUNT_MAX.
        scored, left_out: Readings; left out are those of bad quality, that are no numbers, that arrived too late, or of series without a place.
        memory_bytes: Of columns and profiles.
    """

    series: int
    series_beyond: int
    profiles: int
    profiles_used: int
    profiles_refused: int
    scored: int
    left_out: int
    memory_bytes: int
