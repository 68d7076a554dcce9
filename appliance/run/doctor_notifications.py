"""Whether alarms reach somebody: an on-call list for P1 with a target that is on, and notifications that get out."""

from __future__ import annotations

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.limits_notifications import NOTIFICATION_GIVE_UP_MS
from appliance.run import layout
from appliance.run.doctor_check import Check, Result
from storage.catalog.catalog import Catalog
from storage.catalog.on_call_reach import reaches_anybody

_LATE_MS = 15 * 60_000
_NAME = "notifications"


def check_notifications(config: Config, clock: Clock) -> Check:
    """Look at lists, targets and what waits."""
    if not layout.catalog(config).exists():
        return Check(name=_NAME, result=Result.SKIPPED, detail="There is no catalog yet.")
    now_ms = clock.now_ms()
    catalog = Catalog.open_read_only(layout.catalog(config), clock=clock)
    try:
        reaches = reaches_anybody(catalog, "P1")
        counts = catalog.notification_counts(now_ms - NOTIFICATION_GIVE_UP_MS)
    finally:
        catalog.close()
    if not reaches:
        return Check(
            name=_NAME,
            result=Result.WARNING,
            detail="Nobody is told of urgent alarms (P1).",
            hint="Make a target and an on-call list: 'homeport notify target add' and 'homeport notify list add'.",
        )
    oldest_at_ms = counts.oldest_waiting_due_at_ms
    waits_ms = 0 if oldest_at_ms is None else now_ms - oldest_at_ms
    if counts.given_up_recently or waits_ms >= _LATE_MS:
        detail = f"{counts.given_up_recently} notifications of the last day reached nobody."
        if waits_ms >= _LATE_MS:
            detail += f" One has waited for {waits_ms // 60_000} minutes."
        return Check(
            name=_NAME,
            result=Result.WARNING,
            detail=detail,
            hint="Look at 'homeport notify log --state waiting --state given_up', and try targets with 'homeport notify target test'.",
        )
    return Check(
        name=_NAME, result=Result.OK, detail="Urgent alarms have somebody to tell, and nothing waits."
    )
