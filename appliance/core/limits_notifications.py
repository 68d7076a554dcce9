"""Limits of notifications, as limits.py has those of everything else."""

from __future__ import annotations

from typing import Final

from appliance.core.limits import KIB
from appliance.core.limits_updates import DAY_MS

# --- Targets and on-call lists (appliance/management/notification_targets.py, on_call.py) ---------------------
NOTIFICATION_TARGET_COUNT_MAX: Final = 200
"""Each has a task while something waits for it: 200 of them are some MB."""
NOTIFICATION_TARGET_NAME_LENGTH_MAX: Final = 100
NOTIFICATION_URL_LENGTH_MAX: Final = 2_000
NOTIFICATION_ADDRESS_LENGTH_MAX: Final = 254
"""RFC 5321 §4.5.3.1.3: a path has 256 octets, two of them are its brackets."""
NOTIFICATION_SECRET_BYTES_MAX: Final = KIB
NOTIFICATION_CA_BYTES_MAX: Final = 64 * KIB
"""A chain of certificates in PEM has some 2 KiB for each."""
ON_CALL_LIST_COUNT_MAX: Final = 100
ON_CALL_LIST_NAME_LENGTH_MAX: Final = 100
ON_CALL_MEMBER_COUNT_MAX: Final = 50
ON_CALL_TARGETS_OF_MEMBER_COUNT_MAX: Final = 10
ON_CALL_TIME_COUNT_MAX: Final = 50
"""Times of a member, or of quiet hours: seven days with a few each."""
ON_CALL_STEP_COUNT_MAX: Final = 10
ON_CALL_STEP_S_MAX: Final = 7 * 86_400
ON_CALL_REPEAT_S_MIN: Final = 60
"""More often than once a minute tells nobody anything new."""

# --- What is told (appliance/notifications) -----------------------------------------------------------------
NOTIFICATION_LOOK_COUNT_MAX: Final = 500
"""Alarms that one transaction looks at: about 50 ms, so that no other writer waits for long."""
NOTIFICATION_LOOK_INTERVAL_S: Final = 30
"""How long nobody looks whether the clock has jumped; what is due wakes by itself."""
NOTIFICATION_WAITING_COUNT_MAX: Final = 5_000
"""Open ones of a target: five for each of 1,000 devices. What is beyond that is given up at once, and says so."""
NOTIFICATION_COUNT_MAX: Final = 100_000
"""Rows, about 1 KiB each: 100 MB. The oldest of those that are done go."""
NOTIFICATION_AGE_MS_MAX: Final = 400 * DAY_MS
NOTIFICATION_DIGEST_ALARM_COUNT_MAX: Final = 200
"""Alarms that a digest names; how many more there are it says in a number."""
NOTIFICATION_BODY_BYTES_MAX: Final = 128 * KIB
"""200 alarms of a digest with about 600 bytes each."""

# --- Sending (appliance/notifications/sender.py) -------------------------------------------------------------
NOTIFICATION_SENDING_COUNT_MAX: Final = 16
"""At the same time, to as many targets: one for each, so that what is told of an alarm stays in order."""
NOTIFICATION_ATTEMPT_TIMEOUT_S: Final = 20
NOTIFICATION_CONNECT_TIMEOUT_S: Final = 10
NOTIFICATION_RETRY_FIRST_MS: Final = 1_000
NOTIFICATION_RETRY_MS_MAX: Final = 15 * 60_000
NOTIFICATION_GIVE_UP_MS: Final = DAY_MS
"""After so long nobody is helped by being told."""
NOTIFICATION_HEAD_BYTES_MAX: Final = 16 * KIB
NOTIFICATION_ANSWER_BYTES_MAX: Final = 4 * KIB
"""Of an answer's body; what is beyond is not read."""
NOTIFICATION_OUTCOME_LENGTH_MAX: Final = 300
