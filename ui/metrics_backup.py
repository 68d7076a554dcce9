"""Backups as metrics."""

from __future__ import annotations

from ui.metrics_table import Collected
from ui.services import Services


def add_backups(out: Collected, services: Services) -> None:
    """How old the newest is, how large, how many were made and failed, and whether the disk is there."""
    now = services.backups.statistics()
    if now.newest is not None:
        age_s = (services.clock.now_ms() - now.newest.started_at_ms) / 1000
        out.add("homeport_backup_age_seconds", age_s)
        out.add("homeport_backup_bytes", now.newest.bytes)
        out.add("homeport_backup_new_bytes", now.newest.new_bytes)
    else:
        for name in ("homeport_backup_age_seconds", "homeport_backup_bytes", "homeport_backup_new_bytes"):
            out.add(name, None)
    out.add("homeport_backups", now.made_total, "made")
    out.add("homeport_backups", now.failed_total, "failed")
    out.add("homeport_backups", now.verify_failed_total, "verify_failed")
    out.add("homeport_backup_running", now.running is not None)
    out.add("homeport_backup_disk_away", now.state == "away")
