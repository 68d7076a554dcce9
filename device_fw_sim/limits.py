"""Fixed limits of the simulator, with their arithmetic."""

from __future__ import annotations

from typing import Final

# --- The device --------------------------------------------------------------------------------------------
BACKOFF_MS_MIN: Final = 1_000
BACKOFF_MS_MAX: Final = 300_000
"""Full jitter between 0 and min(5 min, 1 s · 2^attempt): the device contract's reconnect rule."""
BUFFER_MS_MAX: Final = 3_600_000
"""One hour of readings is kept while the broker is away."""
BUFFER_READING_COUNT_MAX: Final = 36_000
"""The same hour at ten readings a second, the fastest a device is meant to go: some 150 bytes each, 5.4 MB."""
PATIENT_COUNT_MAX: Final = 1_000
"""Readings of a recording kept ready; beyond it the recording waits. Fifty windows, so the connection never runs dry."""
INFLIGHT_COUNT_MAX: Final = 20
"""Unacknowledged PUBLISHes of one device; a smaller Receive Maximum of the broker wins."""
CONNECT_TIMEOUT_MS: Final = 20_000
ACK_TIMEOUT_MS: Final = 30_000
"""Without an acknowledgement for this long the connection counts as dead and is made anew."""

ENROL_ANSWER_TIMEOUT_MS: Final = 30_000
"""From connecting to the answer; the appliance gives itself 10 s and says so then."""
ENROL_RETRY_S: Final = 5.0
"""After an answer that did not come."""
ENROLLING_COUNT_MAX: Final = 16
"""Devices of a fleet that ask at once: each is a TLS handshake and a write of the catalog."""

# --- Fleets ------------------------------------------------------------------------------------------------
DEVICE_COUNT_MAX: Final = 10_000
"""One descriptor each, below the file limit of 20,000 that Homeport's unit sets."""
RECEIVE_BYTES: Final = 16 * 1024
PACKET_BYTES_MAX: Final = 256 * 1024
"""A device needs nothing larger; it says so to an MQTT 5 broker."""

# --- Recordings --------------------------------------------------------------------------------------------
CSV_LINE_BYTES_MAX: Final = 4_096
CREDENTIALS_FILE_BYTES_MAX: Final = 8 * 1024 * 1024
"""10,000 entries of a 128-byte id and a token of 64 bytes as JSON are 2.3 MB."""

# --- Load --------------------------------------------------------------------------------------------------
CONNECTION_COUNT_MAX: Final = 20_000
CONNECTING_COUNT_MAX: Final = 128
"""TCP connects under way at once: below the listen backlog of every broker measured (100 for mosquitto, plus accept)."""
WINDOW_COUNT_MAX: Final = 16_384
"""Four bytes of acknowledgement each: one read of 64 KiB holds a whole window."""
RING_COUNT_MIN: Final = 64
"""Different messages a connection cycles through, at least."""
RING_BYTES_MAX: Final = 1024 * 1024 * 1024
"""All rings together: 10,000 connections × 64 messages × 2 (doubled) × 130 bytes are 166 MB."""
PAYLOAD_BYTES_MAX: Final = 64 * 1024
FLOW_COUNT_MAX: Final = 1_000_000
"""Pairs of a publisher and a subscriber that gets its messages: a number in a dictionary each, some 100 MB."""
AGE_COUNT_MAX: Final = 65_536
"""Deliveries between two visits to the histogram: 512 KiB of times."""
LATENCY_BUCKET_COUNT: Final = 64 * 32
"""Log-linear: 32 buckets in every power of two of microseconds, so a percentile is at most 3 % off."""
DESCRIPTOR_RESERVE_COUNT: Final = 64

# --- Firmware ----------------------------------------------------------------------------------------------
IMAGE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Largest image of a simulated device: a block list of 64 MiB / 256 bytes is 262,144 entries, some 20 MB."""
IMAGE_HEADER_BYTES_MAX: Final = 4_096
BOOT_COUNT_MAX: Final = 3
"""Boots of a slot that was never confirmed, before the bootloader goes back to the other one."""
BLOCK_BYTES_MIN: Final = 256
BLOCK_BYTES_MAX: Final = 131_072
"""Of one block over MQTT, as the contract says; base64 makes 174,764 of it, below PACKET_BYTES_MAX."""
BLOCK_BYTES: Final = 16 * 1024
WINDOW_BYTES_MAX: Final = 256 * 1024
"""Asked for at once: 16 blocks of 16 KiB, half of what is answered to one request."""
WINDOW_BYTES_FIRST: Final = 64 * 1024
"""Asked for first, while nobody knows how fast the link is."""
WINDOW_QUICK_MS: Final = 2_000
WINDOW_SLOW_MS: Final = 10_000
"""An answer that comes within the one, from its first block to its last, lets the next window be twice as large; beyond the other half as large. Everything else of the
connection waits behind an answer, and a reading's acknowledgement no longer than a third of ACK_TIMEOUT_MS."""
STREAM_TIMEOUT_MS: Final = 70_000
"""Without a block for this long the rest is asked for again; the box may let a request wait 60 s for its budget."""
STREAM_GAP_MS: Final = 500
"""After a block that does not say how many follow it, and after bytes over HTTPS: what is missing then is asked for anew."""
REQUEST_TIMEOUT_MS: Final = 15_000
"""Without an answer for this long a request is sent again, with the same seq; four times that at most."""
REPORT_COUNT_MAX: Final = 16
"""Reports waiting for their turn: one for each phase (11) and some progress."""
PROGRESS_MS: Final = 10_000
"""Between two reports of a download's progress."""
INSTALL_STEP_BYTES: Final = 64 * 1024
INSTALL_STEP_MS: Final = 20
"""Writing a slot: 3.2 MB/s, as NOR flash on a fast bus does."""
SELF_TEST_MS: Final = 3_000
"""From the first connection after an update to the self-test's result."""
HEALTHY_READING_COUNT: Final = 3
"""Acknowledged readings that a device wants to see before it confirms a slot."""
BOOT_MS: Final = 2_000
COMMAND_ID_COUNT_MAX: Final = 64
"""Command ids remembered with their answers: 64 × 300 bytes are 19 kB of flash."""
POOL_BLOCK_COUNT_MAX: Final = 8_192
"""Blocks that devices of one process share: 128 MiB at 16 KiB each, and never more than the images in flight."""
RESEND_COUNT_MAX: Final = 4
DEFER_MS: Final = 30_000
"""A step that the box won't have yet is asked for again so much later."""
COMMAND_ID_LENGTH_MAX: Final = 128
INTERVAL_S_MIN: Final = 0.01
INTERVAL_S_MAX: Final = 86_400.0
LABEL_LENGTH_MAX: Final = 64
HELD_COUNT_MAX: Final = 64
"""Messages that a slow link or a late report holds back; beyond it the oldest leaves at once."""
AGENT_INFLIGHT_COUNT: Final = 6
"""Places of the window kept for requests: a report, an answer to a command, twin get and update, and two of the past connect."""
SLOW_LINK_MS_MAX: Final = 4_000
LATE_MS_MAX: Final = 20_000
"""A report that leaves so late was given up by then and sent again (REQUEST_TIMEOUT_MS)."""
POWER_CUT_WRITE_COUNT_MAX: Final = 40
"""A planted power cut comes within so many writes to the flash: an update of 16 blocks takes some 60."""
REQUEST_QUEUE_COUNT_MAX: Final = 32
"""Requests of one device that wait for a place: twice what an agent, a twin and a burst of commands make at once."""
RETRY_S_MAX: Final = 3_600
"""Longest time that a device lets itself be put off."""
ASK_AGAIN_MS: Final = 1_000
"""From the end of a job to asking for the next one."""
ASK_AGAIN_DOUBLINGS_MAX: Final = 9
"""The same job again is asked for after twice the time, up to 8.5 min: a box and a device may misunderstand each other for good."""
