"""What the readings of a batch say of their devices' clocks: for each device the lowest delay in each slot of arrival.

In columns: a batch costs one `minimum.at` per column group and some Python per topic in it, not per reading. Must not know what a
delay means; appliance/management/clock_offset.py does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from appliance.core.arrays import I64
from appliance.core.limits import CLOCK_SLOT_MS
from appliance.management.clock_offset import NOTHING, ClockSample, lowest_delays
from appliance.management.mapping import Route
from appliance.management.messages import Messages, Routes
from appliance.management.readings import Quality
from appliance.pipeline.rows import Resolved


def clock_samples(resolved: Sequence[Resolved]) -> list[ClockSample]:
    """Of the points that say a time. Arrivals below 0 are of kept copies, which say nothing of now."""
    lowest: dict[tuple[str, int], int] = {}
    for item in resolved:
        group = item.group
        # Without a time of its own a point has that of its arrival and is uncertain at best.
        has_time = (group.quality == Quality.GOOD) | (group.observed != group.received)
        has_time &= group.received >= 0
        _add(group.routes.take(has_time), group.received[has_time], group.observed[has_time], lowest)
    return _samples(lowest)


def absurd_samples(
    messages: Messages, absurd: Sequence[tuple[I64, I64]], kept_copies: I64
) -> list[ClockSample]:
    """Of the times that could not be believed.

    Args:
        absurd: (message indexes, what they said in UTC ms). kept_copies: Records that say nothing of now.
    """
    lowest: dict[tuple[str, int], int] = {}
    for index, said in absurd:
        is_live = ~np.isin(messages.records[index], kept_copies)
        live = index[is_live]
        _add(messages.routes.take(live), messages.received[live], said[is_live], lowest)
    return _samples(lowest)


def _add(routes: Routes, received: I64, said: I64, lowest: dict[tuple[str, int], int]) -> None:
    """Lower the lowest delays by device and slot."""
    if not len(received):
        return
    slots = received // CLOCK_SLOT_MS
    for slot in np.unique(slots).tolist():
        mine = slots == slot
        found = lowest_delays(routes.at[mine], received[mine], said[mine], len(routes.table))
        for number in np.flatnonzero(found != NOTHING).tolist():
            route: Route = routes.table[number]
            key = route.device, slot
            lowest[key] = min(lowest.get(key, NOTHING), int(found[number]))


def _samples(lowest: dict[tuple[str, int], int]) -> list[ClockSample]:
    return [
        ClockSample(device=device, slot=slot, delay_ms=delay_ms)
        for (device, slot), delay_ms in lowest.items()
    ]
