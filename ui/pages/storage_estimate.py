"""How long the disk lasts at a chosen rate of messages. Pure arithmetic, which the page shows beside the result.

A message is in the log as it came, and each of its values is a row of the store. A block of the log holds what arrives within
`log.linger_ms` and fills whole pages of 4 KiB, so a lone message takes a page: measured, 4,096 bytes each. The log takes its share of the disk
(`log.keep_percent`) and then lets its oldest segments go; rows stay. Room is what is free below the level at which
devices' readings are not taken any more (`log.disk_hold_percent`). So:

    days = room ÷ (log + store)                 while the log is below its share
    days = (room - what the log still takes) ÷ store    if the share is reached before

It is a lower bound: from `log.disk_low_percent` on, the log makes room for the store.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from appliance.core.limits import PAGE_BYTES

DAY_S: Final = 86_400
RECORD_BYTES: Final = 100
"""Of a message beside its payload: topic, client id, times."""
BLOCK_BYTES: Final = 140
"""Of a block: header and trailer (docs/LOG_FORMAT.md)."""
ROW_BYTES: Final = 21
"""Series, time, number and quality before compression (storage/telemetry/DESIGN.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What devices send: messages a minute of all together, bytes of a payload, values in one."""

    messages_per_minute: int
    payload_bytes: int
    value_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The data folder's disk. Percentages are the configuration's."""

    total_bytes: int
    free_bytes: int
    log_bytes: int
    keep_percent: int
    hold_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Bytes a day of log and store, and days until the disk holds no more; None for more than ten years."""

    block_messages: float
    log_bytes_per_message: float
    log_bytes_per_day: float
    store_bytes_per_day: float
    room_bytes: int
    log_share_bytes: int
    days: float | None
    log_days: float | None
    """How far back the log then goes."""


DAYS_MAX: Final = 3_650


def estimate(
    load: Load,
    disk: Disk,
    *,
    linger_ms: int,
    log_bytes_per_message: float | None = None,
    bytes_per_row: float | None = None,
) -> Estimate:
    """How long the disk lasts.

    Args:
        linger_ms: `log.linger_ms`.
        log_bytes_per_message: Measured on this box; None to reckon with blocks of what arrives within linger_ms.
        bytes_per_row: The same of the store.
    """
    messages_per_day = load.messages_per_minute * 60 * 24
    block_messages = 1 + load.messages_per_minute / 60_000 * linger_ms
    block_bytes = BLOCK_BYTES + block_messages * (load.payload_bytes + RECORD_BYTES)
    pages = math.ceil(block_bytes / PAGE_BYTES)
    log_each = log_bytes_per_message or pages * PAGE_BYTES / block_messages
    log_rate = messages_per_day * log_each
    store_rate = messages_per_day * load.value_count * (ROW_BYTES if bytes_per_row is None else bytes_per_row)
    used_bytes = disk.total_bytes - disk.free_bytes
    room = max(0, disk.total_bytes * disk.hold_percent // 100 - used_bytes)
    share = disk.total_bytes * disk.keep_percent // 100
    to_take = min(room, max(0, share - disk.log_bytes))
    return Estimate(
        block_messages=block_messages,
        log_bytes_per_message=log_each,
        log_bytes_per_day=log_rate,
        store_bytes_per_day=store_rate,
        room_bytes=room,
        log_share_bytes=share,
        days=_capped(_days(room, to_take, log_rate, store_rate)),
        log_days=_capped((disk.log_bytes + to_take) / log_rate if log_rate else None),
    )


def _days(room: int, log_room: int, log_rate: float, store_rate: float) -> float | None:
    if log_rate + store_rate == 0:
        return None
    days_until_share = log_room / log_rate if log_rate else float("inf")
    if days_until_share * (log_rate + store_rate) >= room:
        return room / (log_rate + store_rate)
    return (room - log_room) / store_rate if store_rate else None


def _capped(days: float | None) -> float | None:
    return None if days is None or days > DAYS_MAX else days
