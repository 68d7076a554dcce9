"""Limits of the watch, which shows readings to rules and anomalies (appliance/watch)."""

from __future__ import annotations

from typing import Final

WATCH_INSTANT_MS: Final = 10_000
"""What compares series is decided at whole multiples of this."""
WATCH_HELD_COUNT_MAX: Final = 4_000_000
"""Readings that wait for earlier ones: 8 s of 500,000 a second, 33 bytes each and half as much again while they are sorted: 200 MB."""
WATCH_INSTANT_COUNT_MAX: Final = 8_640
"""Instants that are decided one by one when nothing arrived for long: a day."""
WATCH_OUTBOX_COUNT_MAX: Final = 100_000
"""Transitions that wait to be applied, about 500 bytes each: 50 MB. When there are more, rules wait where they are and go on from the log."""
WATCH_CHECKPOINT_BYTES_MAX: Final = 512 * 1024 * 1024
"""State as it is saved, before it is packed: a million series of 400 bytes, and what is held."""
WATCH_CLOCK_BACK_MS: Final = 3_600_000
"""Arrival so long before what arrived already: the clock was ahead, and nothing that waits for its time would come due until it is so late."""
WATCH_CLOCK_AHEAD_MS: Final = 10_000
"""Wall against monotonic time: less counts as time that passed, and lets a silence be found too soon by as much."""
WATCH_HELD_BACK_MS: Final = 60_000
"""For so long what another node of the site is to say is held back here: its catalog has come long before, or the node is gone."""
WATCH_HELD_BACK_COUNT_MAX: Final = 50_000
"""Transitions that are held back, about 500 bytes each: 25 MB. Beyond, they are passed on at once, which is known or said twice."""
WATCH_NODE_HERE_MS: Final = 300_000
"""A node of the site that was not heard of for so long says nothing about the site any more."""
