"""Whether devices wait for somebody after an update, or run something else than they should."""

from __future__ import annotations

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.run import layout
from appliance.run.doctor_check import Check, Result
from storage.catalog.catalog import Catalog


def check_updates(config: Config, clock: Clock) -> Check:
    """Look at the work queue, and at what devices reported."""
    if not layout.catalog(config).exists():
        return Check(name="updates", result=Result.SKIPPED, detail="There is no catalog yet.")
    catalog = Catalog.open_read_only(layout.catalog(config), clock=clock)
    try:
        found = catalog.update_numbers().sentences()
    finally:
        catalog.close()
    if not found:
        detail = "Nobody needs a hand, and every device runs what its last update ended with."
        return Check(name="updates", result=Result.OK, detail=detail)
    return Check(
        name="updates",
        result=Result.WARNING,
        detail=" ".join(found),
        hint="Look at 'homeport work-queue list' and 'homeport work-queue drift'.",
    )
