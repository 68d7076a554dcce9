"""Limits of executions: how long each state may take, how often what is tried, how much of a report is kept."""

from __future__ import annotations

from typing import Final

from appliance.core.limits_updates import DAY_MS, MINUTE_MS

FIRMWARE_VERSION_LENGTH_MAX: Final = 64
SLOT_LENGTH_MAX: Final = 32
HARDWARE_LENGTH_MAX: Final = 64
BOOT_ID_LENGTH_MAX: Final = 128
"""Of a boot's and of a session's name, as presence has it."""
FIRMWARE_EPOCH_MAX: Final = 2**31 - 1
REPORT_SEQ_MAX: Final = 2**53
"""What JSON's numbers hold exactly."""

NOTIFIED_MS_MAX: Final = 15 * MINUTE_MS
"""While it is reachable; then it is told again."""
NOTIFY_COUNT_MAX: Final = 3
NOTIFY_AGAIN_MS: Final = 60 * MINUTE_MS
"""After NOTIFY_COUNT_MAX in vain; a device that ignores its job for a day goes in circles by EXECUTION_TRANSITION_COUNT_MAX."""
DOWNLOAD_STALL_MS_MAX: Final = 10 * MINUTE_MS
"""Without a block or a report, while it is reachable."""
DOWNLOAD_MS_MAX: Final = 3 * DAY_MS
STEP_MS_MAX: Final = 30 * MINUTE_MS
"""To check what was downloaded, to write the other slot."""
WINDOW_GRACE_MS: Final = DAY_MS
"""How long after the end of its window a device is waited for."""
REBOOT_MS_DEFAULT: Final = 10 * MINUTE_MS
CONFIRM_MS_DEFAULT: Final = 15 * MINUTE_MS
SILENT_MS_MAX: Final = DAY_MS
"""After a reboot; then it is lost."""
SUCCESS_WATCH_MS: Final = 7 * DAY_MS
RETRY_BACKOFF_MS: Final = (MINUTE_MS, 5 * MINUTE_MS, 25 * MINUTE_MS)
"""Before the second, third and any later attempt."""
RETRY_JITTER_RATIO: Final = 0.2
"""At most so much is added, at random: devices that failed together don't come back together."""
ROLLBACK_MS_MAX: Final = 15 * MINUTE_MS
"""While it is reachable; then the attempt has failed."""
ROLLBACK_BACKOFF_MS: Final = 5 * MINUTE_MS
"""Times two to the power of the attempts that failed: 10, 20, 40 min."""
ROLLBACK_STUCK_MS: Final = DAY_MS
"""In the middle of a rollback; then a person is told."""
ROLLED_BACK_SETTLE_MS: Final = 5 * MINUTE_MS
"""The old version has to run so long before it is over."""
ROLLBACK_FAILED_ESCALATION_MS: Final = 15 * MINUTE_MS
REGRESSED_ESCALATION_MS: Final = DAY_MS
LOST_ESCALATION_MS: Final = 7 * DAY_MS
STEP_TIMEOUT_MINUTES_MAX: Final = 7 * 24 * 60
"""What a device may ask for as `stepTimeoutInMinutes`; AWS IoT Jobs has the same."""
REPORT_REPEAT_MS: Final = MINUTE_MS
"""Within which the same report without a seq is taken for the same one."""

HEALTH_READING_COUNT_MIN: Final = 3
"""Fresh ones, since the target booted; from a device that sent readings before."""
HEALTH_CUT_COUNT_MAX: Final = 2
"""Connections lost without a goodbye while the target is tested."""
HEALTH_BOOT_COUNT_MAX: Final = 3
"""Boots of the target while it is tested."""

REPORT_ERROR_LENGTH_MAX: Final = 64
REPORT_TEXT_LENGTH_MAX: Final = 500
REPORT_LOG_LENGTH_MAX: Final = 4_096
"""The last lines that a device sends with a failure."""
REPORT_BYTES_MAX: Final = 2**40
PROGRESS_NOTE_INTERVAL_MS: Final = 10_000
"""Between two notes of progress that moves nothing: each is some 2 kB in what is replicated, and a device may report 20 times a second."""
EXECUTION_NOTE_COUNT_MAX: Final = 200
"""Events of one execution beyond which reports that moved nothing are counted and no longer kept."""

UPDATES_QUEUE_DEPTH_MAX: Final = 10_000
"""Requests that wait for the engine: 10,000 devices that report at once, some 1 kB each."""
UPDATES_BATCH_COUNT_MAX: Final = 200
"""Things that happened, in one transaction: 0.5 ms each, so that no other writer waits for much longer than 100 ms."""
UPDATES_ANSWER_TIMEOUT_MS: Final = 10_000
"""A device that gets no answer asks again after about that time."""
UPDATES_LOOK_INTERVAL_MS: Final = 10_000
"""Between two looks at the clock while nothing happens: a jump is noticed within this."""
UPDATES_RETRY_MS: Final = 1_000
"""After the catalog could not be written."""
BROKEN_AGAIN_MS: Final = 10 * MINUTE_MS
"""After what became of an execution could not be worked out: its time comes again, and with it the log's line."""
BLOCK_NOTE_INTERVAL_MS: Final = 10_000
"""Between two notes of how far a download is, of one execution; its time to stall is 60 times that."""
CLOCK_JUMP_MS_MIN: Final = 2_000
"""Wall against monotonic time: less is the clock being slewed (at most 0.5 ms a second), and gathers until it is this much."""
START_GRACE_MS: Final = 60_000
"""After a start no deadline comes before this: devices that spoke while the node was away are heard first."""
REACHED_BY_ASKING_MS: Final = 5 * MINUTE_MS
"""So long after its last request a device without a session counts as reachable."""
ASKED_COUNT_MAX: Final = 20_000
"""Devices whose last request is remembered; twice as many as a box is made for."""
PUSH_TIMEOUT_MS: Final = 5_000
"""For the broker's answer; what is not told then is told again."""
HEALTH_LOOK_MS: Final = 2_000
"""Between two looks at the readings of devices that test an update: three fresh ones are seen within 6 s at the earliest."""
