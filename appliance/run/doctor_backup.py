"""Whether backups are made, and a restore is not half done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.run import layout
from appliance.run.doctor_check import Check, Result
from storage.backup import switch
from storage.catalog.catalog import Catalog
from ui.backup_desk import DIRECTORY_SETTING

HOUR_MS: Final = 3_600_000
HINT: Final = "Connect the disk, and look at 'homeport backup list'."


def check_backups(config: Config, clock: Clock) -> Iterable[Check]:
    """Look at the newest backup that the catalog knows of, and for a restore that is not finished."""
    plan = switch.pending(config.node.data_dir) if config.node.data_dir.is_dir() else None
    if plan is not None:
        yield Check(
            name="restore",
            result=Result.FAILED,
            detail=f"Restoring the backup {plan.backup_id} is not finished.",
            hint="Start Homeport, which finishes it first.",
        )
    if not layout.catalog(config).exists():
        yield Check(name="backup", result=Result.SKIPPED, detail="There is no catalog yet.")
        return
    catalog = Catalog.open_read_only(layout.catalog(config), clock=clock)
    try:
        done = next((row for row in catalog.backups() if row.state == "done"), None)
        directory = catalog.get_setting(DIRECTORY_SETTING)
    finally:
        catalog.close()
    if done is None:
        yield Check(
            name="backup",
            result=Result.WARNING,
            detail="No backup was made: what is on this box is lost with its disk.",
            hint="Connect a disk and run 'homeport backup now FOLDER'.",
        )
        return
    hours = (clock.now_ms() - done.started_at_ms) // HOUR_MS
    is_old = hours > 2 * config.backup.interval_hours
    place = (
        f"in {directory}"
        if directory
        else "by hand; no folder is chosen for backups that are made by themselves"
    )
    yield Check(
        name="backup",
        result=Result.WARNING if is_old or not directory else Result.OK,
        detail=f"The newest is {hours} h old, made {place}.",
        hint=HINT if is_old else "" if directory else "Choose one: 'homeport backup schedule FOLDER'.",
    )
