"""The one set of parameters. Pure constants.

They were chosen on every second recording of a public benchmark by the sum over them, never by single recordings, and are the same for
every series (docs/ANOMALIES.md says how, and what they score). Counts are of slots that held values; ratios have no unit.
"""

from __future__ import annotations

from typing import Final

SLOT_MS: Final = 10_000
"""Slots of the series' own time. What comes more often is learned from once a slot; what comes less often has its slots for itself."""

# --- Memories, in slots ------------------------------------------------------------------------------------
FAST_SLOTS: Final = 12
"""What is called now: 2 min of a sensor that reports every second, 1 h of one that does every 5 min."""
LEVEL_SLOTS: Final = 300
"""What is called usual."""
SLOW_SLOTS: Final = 60
SLOW_LEVEL_SLOTS: Final = 3_000
"""Drift compares the last 60 with the last 3,000."""
NOISE_SLOTS: Final = 60
NOISE_LEVEL_SLOTS: Final = 1_000

# --- From how many slots on each finding is looked for -----------------------------------------------------
OUTLIER_AGE: Final = 20
SHIFT_AGE: Final = 32
DRIFT_AGE: Final = 80
NOISE_AGE: Final = 80
KNOWN_AGE: Final = LEVEL_SLOTS
"""Until then no finding has more evidence than YOUNG_DECADES: after twenty readings nobody knows what one in ten thousand is, and a machine that
has been in one of its states since it was first seen goes to another."""
YOUNG_DECADES: Final = 3.5
"""A score of 0.997: rules of high sensitivity find it, others don't."""
SETTLED_AGE: Final = 10
"""Until then nothing is clipped: what is usual is not known yet."""

# --- An anomaly doesn't teach itself -----------------------------------------------------------------------
CLIP_SPREADS: Final = 3.0
DEVIATION_CLIP_SPREADS: Final = 12.0
STEP_SHARE: Final = 0.125
"""No spread is less than this share of a usual change, so that a setpoint that is moved now and then has one."""
FLOOR_RATIO: Final = 1e-6
"""Nor less than this share of the value: the last digits of a float are not news."""
QUANTUM_SHARE: Final = 0.25
"""Nor less than this share of the last decimal that the series has had: what is rounded moves by one of them now and then."""

# --- How much each finding weighs, in powers of its tail probability ---------------------------------------
OUTLIER_WEIGHT: Final = 0.6
"""A single value has to be as unlikely as one in 10^5 where a lasting shift has to be as one in 10^3."""
SHIFT_WEIGHT: Final = 1.0
DRIFT_WEIGHT: Final = 0.7
NOISE_WEIGHT: Final = 0.8
LOOKED_FOR_DECADES: Final = 1.0
"""Several findings are looked for at once: the evidence of the best of them is worth a decade less."""

# --- Tails (tail.py) ---------------------------------------------------------------------------------------
OUTLIER_TAIL_FROM: Final = 3.0
OUTLIER_TAIL_SHARE: Final = 0.02
SHIFT_TAIL_FROM: Final = 2.0
SHIFT_TAIL_SHARE: Final = 0.08
TAIL_WEIGHT: Final = 0.25
"""1 / Pareto's exponent, to begin with: a tail like Student's t with four degrees of freedom."""
TAIL_PRIOR_SLOTS: Final = 300.0
TAIL_SLOTS: Final = 5_000.0
TAIL_EXCESS_MAX: Final = 0.7

# --- Profile of day and week (season.py) -------------------------------------------------------------------
PROFILE_AGE: Final = 33
PROFILE_DAY_GAIN: Final = 0.3
PROFILE_WEEK_GAIN: Final = 0.3
PROFILE_ON_RATIO: Final = 0.7
PROFILE_OFF_RATIO: Final = 0.9
PROFILE_WEEK_RATIO: Final = 0.8
PROFILE_JUDGED_HOURS: Final = 84.0
PROFILE_HOURS_MIN: Final = 12.0
PROFILE_WEEK_DAYS: Final = 15
PROFILE_SPREAD_SHARE: Final = 0.5
"""No hour's spread is less than this share of the whole day's."""

# --- What kind of series it is (kinds.py) ------------------------------------------------------------------
COUNTER_AGE: Final = 32
REORIGIN_AGE: Final = 16

# --- Silence (silence.py) ----------------------------------------------------------------------------------
SILENCE_AGE: Final = 20
SILENCE_S_MIN: Final = 30.0
SILENCE_TIMES: Final = (5.0, 10.0, 20.0)
SILENCE_DECADES: Final = (3.3, 4.3, 5.3)
"""Evidence of a silence of 5, 10 and 20 usual gaps: scores of 0.995, 0.9995 and 0.99995, a little more than rules of high, normal and low
sensitivity ask for."""
