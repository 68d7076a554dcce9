"""What people do with drills, for API and page alike: in the audit under their name, then begun or called off."""

from __future__ import annotations

from appliance.management.audit import Act
from appliance.management.drill import DrillProgress
from ui.services import Services


async def start(services: Services, act: Act) -> DrillProgress:
    """Begin a drill.

    Raises:
        Conflict: `drill_running`. NotFound: `fleet_missing`.
    """
    desk = services.drills
    begun = desk.reserve(by=act.actor.name)
    try:
        await services.catalog.write(
            lambda catalog: catalog.note(act.action, object_kind="drill", object_id=begun.drill_id), by=act
        )
    except BaseException:
        desk.release()
        raise
    desk.begin()
    return begun


async def stop(services: Services, act: Act) -> DrillProgress:
    """Call off the one that is under way. Raises NotFound: `drill_unknown`."""
    begun = services.drills.call_off()
    await services.catalog.write(
        lambda catalog: catalog.note(act.action, object_kind="drill", object_id=begun.drill_id), by=act
    )
    return begun
