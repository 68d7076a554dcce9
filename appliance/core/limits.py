"""Every fixed limit, with its unit in its name and its arithmetic beside it.

What an operator may change is in homeport.toml (appliance/core/config.py); these are the bounds that code
relies on. A limit is enforced where its subject enters, before memory is taken for it.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- The log (docs/LOG_FORMAT.md) ---------------------------------------------------------------------
PAGE_BYTES: Final = 4096
"""Frames are padded to the unit in which the kernel writes back."""
FRAME_BYTES_MAX: Final = 512 * KIB
"""Where a block is closed; one record larger than this has a frame of its own."""
FRAME_BYTES_HARD_MAX: Final = 17 * MIB
"""16 MiB of the largest packet, its topic and properties, and the frame's own columns."""
FRAME_RECORD_COUNT_MAX: Final = 65_535
"""Dictionary indexes are 16-bit."""
SEGMENT_BYTES_DEFAULT: Final = 64 * MIB
LEAF_BYTES: Final = 1 * MIB
"""Unit of hashing and repair in a sealed segment."""

# --- MQTT ------------------------------------------------------------------------------------------------
PACKET_BYTES_HARD_MAX: Final = 16 * MIB
"""Upper bound of the configurable maximum packet size (default 1 MiB)."""
TOPIC_BYTES_MAX: Final = 65_535
"""MQTT's own: UTF-8 strings have a 16-bit length."""
TOPIC_LEVEL_COUNT_MAX: Final = 32
CLIENT_ID_BYTES_MAX: Final = 256
USER_NAME_BYTES_MAX: Final = 256
PASSWORD_BYTES_MAX: Final = 4 * KIB
SUBSCRIPTION_COUNT_MAX: Final = 1024
"""Per session."""
USER_PROPERTY_COUNT_MAX: Final = 64
"""Per packet."""

# --- Readings ----------------------------------------------------------------------------------------------
DEVICE_ID_BYTES_MAX: Final = 128
METRIC_NAME_BYTES_MAX: Final = 256
METRIC_COUNT_PER_MESSAGE_MAX: Final = 1024
JSON_DEPTH_MAX: Final = 16
TEXT_VALUE_BYTES_MAX: Final = 64 * KIB
