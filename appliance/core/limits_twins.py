"""Limits of twins and commands, as limits.py has those of everything else."""

from __future__ import annotations

from typing import Final

from appliance.core.limits_updates import DAY_MS

# --- Twins (appliance/twins, storage/catalog/twins.py) -----------------------------------------------------
TWIN_SECTION_BYTES_MAX: Final = 8_192
"""Of desired and of reported each, as compact JSON: a site's settings of one device, not its readings."""
TWIN_DEPTH_MAX: Final = 8
"""Objects and arrays within each other, below desired or reported."""
TWIN_LEAF_COUNT_MAX: Final = 500
"""Values of a section: each has a time of 26 bytes in an answer, so `documents` (before and after, both sections) has at most
2 x 2 x (8 KiB + 8 KiB of names + 500 x 26 bytes) = 115 KiB."""
TWIN_NAME_LENGTH_MAX: Final = 64
TWIN_COUNT_MAX: Final = 16
"""Of a device, the one without a name among them: 10,000 devices with all of them are 2.6 GB at the very most, and 5 MB as they are used."""
TWIN_REQUEST_BYTES_MAX: Final = 2 * TWIN_SECTION_BYTES_MAX + 4_096
"""Both sections, with room for spaces and what stands around them."""
TWIN_TOKEN_BYTES_MAX: Final = 64
"""Of a client token, as with AWS IoT."""
TWIN_DESIRED_BY_DEVICE_COUNT_MAX: Final = 30
"""Changes of what is desired that a device makes itself, at once; then two a minute. Each is replicated, with what was before: 16 KiB at the very most, so that
a device that was taken over fills 46 MB a day. Reported state is no part of that."""
TWIN_DESIRED_BY_DEVICE_WINDOW_S: Final = 900
TWIN_DESIRED_DEVICE_COUNT_MAX: Final = 10_000
DEVICE_WRITE_WAITING_COUNT_MAX: Final = 8_192
"""Changes by devices that wait for the next transaction: twice as many as the broker lets wait; 0.5 KiB each as twins are used."""
DEVICE_WRITE_BATCH_COUNT_MAX: Final = 256
"""Of them in one transaction: about 0.15 ms each, so other writers wait 40 ms."""

# --- Commands (appliance/twins, storage/catalog/commands.py) -----------------------------------------------
COMMAND_OPEN_COUNT_MAX: Final = 64
"""Of a device, queued or sent: what a person or a program still waits for."""
COMMAND_METHOD_LENGTH_MAX: Final = 64
COMMAND_PARAMS_BYTES_MAX: Final = 8_192
COMMAND_ANSWER_BYTES_MAX: Final = 16_384
"""A table of diagnostics; more belongs into readings."""
COMMAND_ERROR_LENGTH_MAX: Final = 1_000
COMMAND_EXPIRY_MS_MIN: Final = 1_000
COMMAND_EXPIRY_MS_MAX: Final = 7 * DAY_MS
COMMAND_EXPIRY_MS_DEFAULT: Final = 60_000
COMMAND_ANSWER_GRACE_MS: Final = 5_000
"""Beyond the expiry, for the answer of a device that began in time: a QoS 1 message that got lost once is resent by then."""
COMMAND_KEPT_MS: Final = 90 * DAY_MS
COMMAND_KEPT_COUNT_MAX: Final = 1_000
"""Ended ones of a device: a command every two hours for 90 days; at 0.5 kB each 5 GB for 10,000 devices at the very most."""
COMMAND_BATCH_COUNT_MAX: Final = 256
"""Marked as sent, ended or removed in one transaction: with their rows in the outbox 0.1 ms each."""
COMMAND_WAIT_S_MAX: Final = 30
"""How long a request may wait for an answer: below what proxies in between put up with."""
COMMAND_WAIT_COUNT_MAX: Final = 256
"""Requests that wait for an answer at once; more are answered with how it stands."""
COMMAND_DEAF_TRY_COUNT_MAX: Final = 8
"""Of a device that listens, and not for commands: so often may its commands be marked as sent and put back, and all of it again after"""
COMMAND_DEAF_TRY_WINDOW_S: Final = 480
"""that is, once a minute: 64 commands of 8 KiB are a megabyte of the outbox each time. A device subscribes within eight of its SUBSCRIBE packets."""
COMMAND_DEAF_DEVICE_COUNT_MAX: Final = 10_000
COMMAND_PRUNE_INTERVAL_MS: Final = 3_600_000
COMMAND_PUSH_COUNT_MAX: Final = 32
"""Devices that are told at once; one answer of the broker takes a millisecond."""
TWIN_UNTOLD_COUNT_MAX: Final = 4_096
"""Deltas and documents that wait to be said: beyond it the oldest are dropped and counted; who listens again is told the delta anew."""
TWIN_TELLING_COUNT_MAX: Final = 32
"""Devices that are told at once; one answer of the broker takes a millisecond."""
TWIN_TELLING_BATCH_COUNT_MAX: Final = 256
"""Devices whose deltas are read together when they begin to listen: 2 MiB of rows at the very most for one twin each."""

# --- Pages (ui/pages/device_twin.py, device_commands.py) ---------------------------------------------------
PAGE_TWIN_ROW_COUNT_MAX: Final = 100
"""Values of a twin that the page shows, those that differ first; 16 twins of them are half a megabyte of HTML."""
PAGE_TWIN_VALUE_LENGTH_MAX: Final = 200
PAGE_COMMAND_COUNT: Final = 50
PAGE_COMMAND_COUNT_NEWEST: Final = 8
"""On the device's page, which has a link to all of them."""
