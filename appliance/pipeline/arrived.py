"""What a batch shows to rules and anomalies: its numbers as columns, not sorted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from appliance.core.arrays import F64, I64, U8, U32
from appliance.management.arrived import Arrived, Heard
from appliance.management.presence import PresenceStep
from appliance.management.watched import PresenceChange
from appliance.pipeline.rows import Resolved


def arrived_of(
    resolved: Sequence[Resolved],
    steps: Sequence[PresenceStep],
    broker_starts: Sequence[int],
    heard: Sequence[Heard] = (),
    newest_own_ms: int | None = None,
) -> Arrived:
    """The numbers and booleans of all groups, without those that may be kept copies (their arrival is negated).

    Args:
        steps: Changes of presence in these records. broker_starts, heard, newest_own_ms: As in Arrived.
    """
    series: list[U32] = []
    observed: list[I64] = []
    received: list[I64] = []
    values: list[F64] = []
    quality: list[U8] = []
    copies = 0
    for item in resolved:
        group = item.group
        columns = [(at, column) for at, column in enumerate(group.columns) if not isinstance(column, list)]
        if not columns:
            continue
        where: I64 | slice = slice(None)
        if (is_copy := group.received < 0).any():
            where = np.flatnonzero(~is_copy)
            copies += int(np.count_nonzero(is_copy)) * len(columns)
        ids = item.ids[group.routes.at[where]]
        for at, column in columns:
            series.append(ids[:, at])
            observed.append(group.observed[where])
            received.append(group.received[where])
            values.append(column[where])
            quality.append(group.quality[where])
    presences = [
        PresenceChange(device_id=device, presence=presence, at_ms=at_ms, expect_ms=expect_ms)
        for device, presence, at_ms, expect_ms in steps
    ]
    if not series:
        return Arrived(
            copies=copies,
            presences=presences,
            broker_starts=broker_starts,
            heard=heard,
            newest_own_ms=newest_own_ms,
        )
    return Arrived(
        series=np.concatenate(series),
        observed_at_ms=np.concatenate(observed),
        received_at_ms=np.concatenate(received),
        values=np.concatenate(values),
        quality=np.concatenate(quality),
        copies=copies,
        presences=presences,
        broker_starts=broker_starts,
        heard=heard,
        newest_own_ms=newest_own_ms,
    )
