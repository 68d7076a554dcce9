"""Limits of how firmware gets to devices: blocks over MQTT, files over HTTPS, and the budgets of both (docs/LIMITS.md)."""

from __future__ import annotations

from typing import Final

from appliance.core.limits import KIB

# --- Blocks over MQTT (appliance/management/blocks.py, appliance/updates/streams.py) --------------------------
BLOCK_BYTES_MIN: Final = 256
BLOCK_BYTES_MAX: Final = 128 * KIB
"""Both as AWS IoT has them, whose SDKs ask here too."""
BLOCK_COUNT_MAX: Final = 98_304
"""That one request may name: as many bits as its bitmap has."""
BLOCK_BITMAP_BYTES_MAX: Final = BLOCK_COUNT_MAX // 8
"""12 KiB, in base64 16 KiB."""
STREAM_TOKEN_BYTES_MAX: Final = 64
"""Of a client token, which goes back with every block."""
STREAM_ANSWER_DATA_BYTES_MAX: Final = 512 * KIB
"""Of the blocks that answer one request: 2,048 of the smallest, 4 of the largest. A device asks for the rest when it has these."""

# --- Who may have which bytes (appliance/updates/delivery.py) -------------------------------------------------
DELIVERY_RIGHT_MS: Final = 2_000
"""How long a look-up of what a device may have is good: so long a pause may take to reach a download. A device asks up to 20
times a second; a look-up is 0.1 ms of SQLite and a change of threads."""
DELIVERY_RIGHT_COUNT_MAX: Final = 8_192
"""Look-ups remembered, 0.5 KiB each: 4 MiB."""
DELIVERY_PIECE_BYTES_MAX: Final = 16 * 1024 * KIB
"""Of images that are kept in memory as they were read last: all devices of a rollout read the same one, at about the same place, and what is here
needs no change of threads, which costs more than the reading."""
DELIVERY_NOTE_MS: Final = 1_000
"""How often a device's progress is noted at most: a note of a thousand devices is one transaction."""

# --- Budgets (appliance/updates/budget.py) --------------------------------------------------------------------
BUDGET_WAIT_MS: Final = 50_000
"""A piece of a file over HTTPS waits no longer for its turn before it is looked whether the device may still have it; requests over MQTT wait STREAM_WAIT_MS."""
BUDGET_SHARE_MS: Final = 20_000
"""What all that wait are given together is what flows in this time, so that a turn comes about so often. A device that is given one block
less than it asked for asks once more; one that waits for longer than BUDGET_WAIT_MS has waited for nothing."""
BUDGET_TURN_MS: Final = 1_000
"""One turn gives what flows in this time at most, or one block: a link is not filled for longer by one answer."""
BUDGET_BURST_MS: Final = 250
"""What a budget that nobody used may give at once: a quarter of a second's worth, so that the broker's turn stays short."""
BUDGET_ROLLOUT_COUNT_MAX: Final = 256
"""Rollouts whose budgets are remembered; the one unused for longest is forgotten, and begins anew."""

# --- Who fetches now (appliance/updates/line.py) --------------------------------------------------------------
LINE_PLACE_BYTES_S: Final = 32 * KIB
"""A budget serves as many devices at once as have so much each: what a poor cellular link or a slow flash takes. With more
of them all would merely be slower, and more be on its way that the slow ones ask for again."""
LINE_PLACE_COUNT_MIN: Final = 4
LINE_PLACE_COUNT_MAX: Final = 256
"""Of the default budget, 8 MiB/s; also without a bound. With 256 KiB asked for at once 64 MiB are under way at most."""
LINE_IDLE_MS: Final = 20_000
"""So long a device that has a place may ask for nothing while others wait: it writes 256 KiB to a slow flash. One whose download is over, or its
connection, leaves at once."""
LINE_LOOK_MS: Final = 1_000
"""No oftener who waits looks for places that nobody uses; it is the time until one may be that decides, some 15 s."""
LINE_WAITING_COUNT_MAX: Final = 1_024
"""Requests that wait for a place: half of what the broker lets wait (REQUEST_WAITING_COUNT_MAX), the others are of those who have one. Beyond it a
device is told at once when to come again."""
LINE_KEPT_MS: Final = 180_000
"""So long a number is kept for who does not wait now: it comes again after a minute at most, or a reconnect later."""
LINE_NUMBER_COUNT_MAX: Final = 16_384
"""Numbers that are kept, 0.2 KiB each; more than the devices of one site."""
LINE_RETRY_S: Final = 5
LINE_RETRY_SPREAD_S: Final = 10
"""Who has waited for STREAM_WAIT_MS comes again after so long, spread: there is somebody in line whenever a place becomes free, and a thousand that wait ask 20
times a second."""
LINE_FULL_RETRY_S: Final = 30
LINE_FULL_RETRY_SPREAD_S: Final = 60
"""Who does not find room to wait: 9,000 of them ask 150 times a second."""
STREAM_WAIT_MS: Final = 45_000
"""A request waits no longer for place and budget together; then it is told to come again, within the 60 s that the broker and the contract give it."""
DELIVERY_LOOKING_COUNT_MAX: Final = 256
"""Look-ups of rights at once: with what other services ask (REQUEST_ANSWERING_COUNT_MAX) fewer than may wait for the catalog's readers (512)."""

# --- Files over HTTPS (appliance/device_port/dl.py) -----------------------------------------------------------
DOWNLOAD_PIECE_BYTES: Final = 64 * KIB
"""Read, and sent, at once; the budget is asked for as much."""
DOWNLOAD_COUNT_MAX: Final = 192
"""At once: three quarters of the port's connections, so that enrolment and feedback find one."""
DOWNLOAD_PER_DEVICE_COUNT_MAX: Final = 2
"""One that broke may not have been noticed when the next begins."""
DOWNLOAD_URL_MS: Final = 7 * 86_400_000
"""How long a signed address is good: longer than the 72 h that a download may take, a device away for a weekend included."""
RANGE_HEADER_BYTES_MAX: Final = 64
"""`bytes=`, two numbers of 20 digits and a hyphen are 47."""

# --- hawkBit's protocol (appliance/device_port/ddi.py) --------------------------------------------------------
DDI_BODY_BYTES_MAX: Final = 64 * KIB
"""Feedback with 48 lines of an installer's log; SWUpdate's own bound."""
DDI_POLL_S: Final = 300
"""How often a device asks whether something is due."""
DDI_POLL_QUEUED_S: Final = 60
"""While it is chosen for a rollout whose wave has not come to it."""
DDI_ADMISSION_MS: Final = 500
"""So long an answer waits for the engine to let a device begin that has just come: it works every few milliseconds."""
DDI_POLL_BUSY_S: Final = 10
"""While it has something to do; so often it also looks whether a download is to go on."""
DDI_REQUESTS_PER_DEVICE_MAX: Final = 120
"""A minute: an installation is some ten feedbacks, and a look every 10 s, each of two requests."""
DDI_ATTRIBUTE_COUNT_MAX: Final = 32
"""Of configData that are looked at."""
DDI_DETAIL_LENGTH_MAX: Final = 400
"""Characters of what an installer says about a failure that are kept."""
DDI_DESCRIBE_MS: Final = 3_600_000
"""So often a device is asked what it is, apart from updates: one that fell back by itself is noticed within the hour."""
DDI_UPDATE_COUNT_MAX: Final = 8
"""Executions of a device that are looked at: those that have not ended, and the newest of the others."""
DDI_CANCEL_MS: Final = 86_400_000
"""So long after its end a device is told that its action was called off."""
DDI_REMEMBERED_COUNT_MAX: Final = 8_192
"""Actions that were acknowledged; 100 bytes each."""
