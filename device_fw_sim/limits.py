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
