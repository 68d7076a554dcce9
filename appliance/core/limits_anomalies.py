"""Limits of what is learned about series (appliance/anomalies), as limits.py has those of everything else."""

from __future__ import annotations

from typing import Final

ANOMALY_SERIES_COUNT_MAX: Final = 500_000
"""Series that are learned about: 10,000 devices with 50 metrics. 100 bytes each: 50 MB. What is beyond has no score and is counted."""
ANOMALY_PROFILE_COUNT_MAX: Final = 65_535
"""Series with a profile of day and week; 433 bytes each: 28 MB. Series beyond it are watched without one and counted."""
ANOMALY_MAGNITUDE_MAX: Final = 1e30
"""Values beyond are left out, as infinite ones are: squares of deviations would leave 32-bit floats."""
ANOMALY_SLOT_VALUES_MAX: Final = 65_535
"""Values of a series that are learned from in a slot of 10 s: 6.5 kHz. All are scored."""
ANOMALY_BACKLOG_MS_MAX: Final = 12 * 3_600_000
"""Readings that arrived later than so long after they were measured are left out: 4,320 slots of a series that one call may have to take one after the
other, 70 µs each, 0.3 s. Devices keep an hour; half a day is what a clock in another time zone is off at most."""
