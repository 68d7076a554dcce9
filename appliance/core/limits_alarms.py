"""Limits of rules, alarms and notifications, as limits.py has those of everything else."""

from __future__ import annotations

from typing import Final

from appliance.core.limits_updates import DAY_MS

# --- Rules (appliance/management/rule.py) ------------------------------------------------------------------
RULE_COUNT_MAX: Final = 10_000
"""Of a site: one for each of 10,000 devices, if somebody wants that. A definition is about 300 bytes: 3 MB."""
RULE_FILE_BYTES_MAX: Final = 1_048_576
"""Of an import, as of any body of the API: some 3,000 rules; more come in several files."""
RULE_VERSION_COUNT_MAX: Final = 50_000
"""Of all rules, with those that are over: 20 MB. Those that the log keeps no record of go first; when none can, the rules can't be changed."""
RULE_NAME_LENGTH_MAX: Final = 100
RULE_TEXT_LENGTH_MAX: Final = 1_000
RULE_SCOPE_WORD_COUNT_MAX: Final = 1_000
RULE_STAR_COUNT_MAX: Final = 4
"""Of a metric with `*`: what compares it goes back at each, so time grows by a power of it. 256 characters and 4 stars: 1 ms at worst, once for each name."""
RULE_DELAY_S_MAX: Final = 7 * 86_400
RULE_WINDOW_S_MAX: Final = 7 * 86_400
RULE_REPETITION_COUNT_MAX: Final = 1_000
RULE_INSTANCE_COUNT_MAX: Final = 250_000
"""Rules times the series they are for, as they are evaluated: about 150 bytes each, 40 MB. One that keeps more counts as several (appliance/rules/instances.py)."""
RULE_MOVES_PER_CALL_MAX: Final = 5_000
"""Transitions that one kind tells of one call; 20 µs each, so 0.1 s. When there are more, each slot tells its first and its last: its state is right, what
happened in between is counted and not told. One device that alternates on every reading would hold up everybody's readings otherwise."""
RULE_HELD_COUNT_MAX: Final = 20
"""Episodes of one alarm that wait for their explanation; what comes beyond is one long one. A device that reconnects five times a second has 3,000 in 10 min."""
RULE_STUCK_STEP_COUNT_MAX: Final = 64
"""Parts of time that stuck values are looked at for all series at once, 50 µs each: 3 ms. What a series has beyond is gone through by itself, 1 µs a reading."""

# --- Alarms (appliance/alarms, storage/catalog/alarms.py) --------------------------------------------------
ALARM_COUNT_MAX: Final = 50_000
"""Rows of alarms, most of them long over; when there are more, the oldest of those that are normal go."""
ALARM_DEVICE_COUNT_MAX: Final = 1_000
"""Of one device that aren't normal: five rules about each of 200 metrics. Without it one device that makes up metrics takes the room of all others."""
ALARM_EVENT_AGE_MS_MAX: Final = 400 * DAY_MS
"""A year and what a report for it needs."""
ALARM_EVENT_COUNT_MAX: Final = 1_000
"""Events of one alarm that are kept: of one that comes and goes every minute, the last 8 hours; what was found twice is known by them."""
ALARM_APPLY_COUNT_MAX: Final = 500
"""Transitions, or alarms that are set aside or stand again, in one transaction: about 0.2 ms each with history and capture, so that no other
writer of the catalog waits longer than CATALOG_CHUNK_MS."""
ALARM_LOOK_INTERVAL_MS: Final = 1_000
"""At least so often the desk looks whether something was found, or has ended; so long a wall clock that jumped goes unnoticed."""
ALARM_OUTBOX_LOOK_MS: Final = 10_000
"""So often the desk looks into the store's outbox without having been told that something is there: each look is a turn of the pipeline's thread."""
ALARM_OUTBOX_TIMEOUT_MS: Final = 5_000
"""A store that takes longer is away, or rebuilt: what ends by itself must not wait for it."""
ALARM_RETRY_MS: Final = 2_000
"""After a transaction that failed: what was found waits in the store's outbox."""
ALARM_TIDY_INTERVAL_MS: Final = 600_000
ALARM_BULK_COUNT_MAX: Final = 1_000
"""Alarms that somebody acknowledges or shelves at once: a page of the API."""
ALARM_NOTE_LENGTH_MAX: Final = 500
ALARM_SHELVE_MS_MAX: Final = 7 * DAY_MS
"""Longer than that a rule is to be changed instead."""
ALARM_CARRY_OVER_MS_MIN: Final = 120_000
"""So long after a change of its rule, and the rule's on-delay, an alarm stays active for the new version to find it: two readings of a device that
sends one a minute."""
ALARM_CARRY_OVER_MS_MAX: Final = 3_600_000
ALARM_EXPLANATION_BYTES_MAX: Final = 4_096
"""JSON of what a rule says about what it found: a sentence and a dozen numbers. What is larger is kept as its sentence alone."""

# --- Maintenance (storage/catalog/maintenances.py) ---------------------------------------------------------
MAINTENANCE_COUNT_MAX: Final = 1_000
"""Those that are over are removed after MAINTENANCE_AGE_MS_MAX; so many planned ones nobody needs."""
MAINTENANCE_AGE_MS_MAX: Final = 400 * DAY_MS
MAINTENANCE_DURATION_MS_MAX: Final = 31 * DAY_MS
MAINTENANCE_AHEAD_MS_MAX: Final = 366 * DAY_MS

# --- The node itself (appliance/alarms/node_watch.py) ------------------------------------------------------
NODE_WATCH_INTERVAL_MS: Final = 10_000
NODE_WATCH_RATE_MS: Final = 3_600_000
"""Of totals that count by the hour: 360 numbers each."""
