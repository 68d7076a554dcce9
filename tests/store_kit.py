"""Readings into a store without a log and without decoding: as columns, from a list of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from appliance.management.readings import Scalar, ValueKind
from storage.telemetry.batch import (
    DAY_MS,
    Counts,
    Cursor,
    NewestRows,
    NewSeries,
    NumberRows,
    StoreBatch,
    TextRows,
)
from storage.telemetry.store import TelemetryStore


class Reading(NamedTuple):
    device: str
    metric: str
    at_ms: int
    value: Scalar
    quality: int = 0


def kind_of(value: Scalar) -> ValueKind:
    if isinstance(value, str):
        return ValueKind.TEXT
    return ValueKind.BOOLEAN if isinstance(value, bool) else ValueKind.NUMBER


class Feeder:
    """Commits readings to one store, one batch after another. `first_own_day`: Days before it share tables."""

    def __init__(self, store: TelemetryStore, first_own_day: int = 0) -> None:
        self.store = store
        self.first_own_day = first_own_day
        self.cursor = store.read_cursor()
        self.ids: dict[tuple[str, str, ValueKind], int] = {}

    def commit(self, readings: Sequence[Reading]) -> None:
        before = self.cursor
        self.cursor = Cursor(1, before.next_seq + len(readings), b"h", 0)
        counts = Counts(records=len(readings), readings=len(readings), rows=len(readings))
        batch = StoreBatch(before, self.cursor, counts, [(len(readings), len(readings))])
        by_table: dict[tuple[int | None, bool], list[tuple[int, Reading]]] = {}
        for reading in readings:
            kind = kind_of(reading.value)
            name = (reading.device, reading.metric, kind)
            if name not in self.ids:
                self.ids[name] = len(self.ids) + 1
                batch.new_series.append(NewSeries(self.ids[name], reading.device, reading.metric, kind))
            day = reading.at_ms // DAY_MS
            own = day if day >= self.first_own_day else None
            by_table.setdefault((own, kind is ValueKind.TEXT), []).append((self.ids[name], reading))
        for (table_day, is_text), rows in by_table.items():
            series = np.array([number for number, _ in rows], np.uint32)
            observed = np.array([r.at_ms for _, r in rows], np.int64)
            quality = np.array([r.quality for _, r in rows], np.uint8)
            if is_text:
                batch.texts[table_day] = TextRows(series, observed, [str(r.value) for _, r in rows], quality)
            else:
                numbers = np.array([float(r.value) for _, r in rows], np.float64)
                batch.numbers[table_day] = NumberRows(series, observed, numbers, quality)
        newest = list(batch.numbers.values())
        if newest:
            joined = [
                np.concatenate([getattr(part, name) for part in newest])
                for name in ("series", "observed", "numbers", "quality")
            ]
            batch.newest_numbers = NewestRows(joined[0], joined[1], joined[1], joined[2], [], joined[3])
        self.store.commit(replace(batch))
