"""What classes take, and how long the disk lasts: arithmetic."""

from __future__ import annotations

import pytest

from appliance.management.retention import Retention, RetentionClass, default_class
from appliance.pipeline.keeper_forecast import forecast
from storage.archive.manifest import ArchiveFile, Manifest, Position

VIB = RetentionClass(class_id="vib", metric="vib_*", hot_days=5, archive_days=0)
RETENTION = Retention((VIB,), default_class(10, 100))


def manifest(**rows: int) -> Manifest:
    files = tuple(
        ArchiveFile(
            name=f"{class_id}-000.parquet", class_id=class_id, rows=count, bytes=count * 8, sha256="0" * 64,
            first_device="a", last_device="b", first_ms=0, last_ms=1,
        )
        for class_id, count in rows.items()
    )  # fmt: skip
    return Manifest(
        format_version=1, day="2026-01-01", generation=1, through=Position(epoch=1, next_seq=1), made_at_ms=0,
        classes=(), rows=sum(rows.values()), bytes=8 * sum(rows.values()), content_sum="0", content_hash="", files=files,
    )  # fmt: skip


def test_each_class_takes_its_days() -> None:
    days = [manifest(default=1_000, vib=100), manifest(default=3_000, vib=300, gone=200)]
    found = forecast(days, RETENTION, used_bytes=20_000, hot_rows=2_000, room_bytes=100_000)
    vib, default = found.classes
    assert (vib.rows_per_day, vib.store_bytes, vib.archive_bytes) == (200, 200 * 10 * 5, None)
    assert (default.rows_per_day, default.store_bytes, default.archive_bytes) == (
        2_100,
        210_000,
        2_100 * 8 * 100,
    )
    assert (found.store_bytes_per_day, found.archive_bytes_per_day) == (23_000, 18_400)
    assert found.days_left == pytest.approx(100_000 / 41_400)


def test_without_a_rate_nothing_is_foretold() -> None:
    found = forecast([], RETENTION, used_bytes=0, hot_rows=0, room_bytes=1_000)
    assert (found.days_left, found.store_bytes_per_day) == (None, 0)
    assert [each.rows_per_day for each in found.classes] == [0, 0]


def test_more_than_ten_years_is_not_said() -> None:
    found = forecast([manifest(default=1)], RETENTION, used_bytes=0, hot_rows=0, room_bytes=10**9)
    assert found.days_left is None
