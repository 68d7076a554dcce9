"""How much each retention class takes, and how long the disk lasts at the present rate. Pure arithmetic, shown with the result.

    rows a day          mean of the newest archived days, RATE_DAYS at most, by the class their files are of
    store, bytes a row  the store's used bytes by the rows in it
    archive, bytes      of the same days' files
    days left           free room ÷ (rows a day × bytes a row + archive's bytes a day)

It is a lower bound: from the first day on that leaves the store its room is used again, and what leaves the archive frees the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.management.retention import FOR_EVER, Retention
from storage.archive.manifest import Manifest

RATE_DAYS: Final = 7
STORE_ROW_BYTES: Final = 21.0
"""Before anything was measured (storage/telemetry/DESIGN.md)."""
DAYS_LEFT_MAX: Final = 3_650


@dataclass(frozen=True, slots=True)
class ClassForecast:
    """What a class takes once its days are full. archive_bytes is None for no end."""

    class_id: str
    rows_per_day: float
    store_bytes: float
    archive_bytes: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """For all classes together, bytes a day; days_left is None without a rate, or beyond ten years."""

    classes: tuple[ClassForecast, ...]
    store_bytes_per_day: float
    archive_bytes_per_day: float
    days_left: float | None


def forecast(
    newest: Sequence[Manifest],
    retention: Retention,
    *,
    used_bytes: int,
    hot_rows: int,
    room_bytes: int,
) -> Forecast:
    """What the classes take.

    Args:
        newest: The newest archived days, RATE_DAYS of them.
        used_bytes, hot_rows: Of the store. room_bytes: Free within the store and on the disk.
    """
    days = max(1, len(newest))
    row_bytes = used_bytes / hot_rows if hot_rows and used_bytes else STORE_ROW_BYTES
    rows: dict[str, float] = {}
    files: dict[str, float] = {}
    for manifest in newest:
        for file in manifest.files:
            class_id = retention.named(file.class_id).class_id
            rows[class_id] = rows.get(class_id, 0) + file.rows / days
            files[class_id] = files.get(class_id, 0) + file.bytes / days
    classes = tuple(
        ClassForecast(
            each.class_id,
            rows.get(each.class_id, 0.0),
            rows.get(each.class_id, 0.0) * row_bytes * each.hot_days,
            None if each.archive_days == FOR_EVER else files.get(each.class_id, 0.0) * each.archive_days,
        )
        for each in retention.all()
    )
    store_rate, archive_rate = sum(rows.values()) * row_bytes, sum(files.values())
    left = room_bytes / (store_rate + archive_rate) if store_rate + archive_rate else None
    return Forecast(classes, store_rate, archive_rate, None if left is None or left > DAYS_LEFT_MAX else left)
