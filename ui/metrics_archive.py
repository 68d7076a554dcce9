"""The store's size with its free blocks, the archive and its keeper, as metrics."""

from __future__ import annotations

from appliance.pipeline.keeping import RULES
from ui.metrics_table import Collected
from ui.services import Services


def add_archive(out: Collected, services: Services, disk_room_bytes: int) -> None:
    """Nothing while the archive is not open."""
    keeper = services.keeper
    if keeper is None:
        return
    now, size, forecast = keeper.statistics(), keeper.size, keeper.forecast(disk_room_bytes)
    out.add("table_size_bytes", size.used_bytes, "used")
    out.add("table_size_bytes", size.free_bytes, "free")
    out.add("homeport_store_bytes_per_day", forecast.store_bytes_per_day)
    out.add("homeport_disk_days_left", forecast.days_left)
    out.add("homeport_archive_bytes", now.archive_bytes)
    out.add("homeport_archive_rows", now.archive_rows)
    out.add("homeport_archive_days", now.archive_days)
    out.add("homeport_archive_faulty_days", now.faulty_days)
    out.add("homeport_archive_waiting_days", now.unarchived_days)
    out.add("homeport_archive_failing", now.state == "failing")
    out.add("homeport_archive_generations", now.generations_total)
    out.add("homeport_archive_verified", now.verified_total)
    out.add("homeport_archive_failures", now.failures_total)
    for rule in RULES:
        out.add("homeport_archive_cooled_days", now.cooled_total.get(rule, 0), rule)
