"""What people do with drills, for API and page alike: in the audit under their name, then begun or called off."""

from __future__ import annotations

from appliance.management.audit import Act
from appliance.management.drill import DrillProgress, From, check_region
from ui.services import Services


async def start(services: Services, act: Act, *, source: From = "peers", region: str = "") -> DrillProgress:
    """Begin a drill.

    Args:
        region: Of the cloud, by name; "" for the first that can be asked.
    Raises:
        Conflict: `drill_running`. NotFound: `fleet_missing`, `tier_missing`, `tier_region_unknown`.
    """
    desk = services.drills
    if source == "cloud":
        check_region([each.name for each in services.config.tier_region], region)
    begun = desk.reserve(by=act.actor.name, source=source, region=region)
    try:
        await services.catalog.write(
            lambda catalog: catalog.note(
                act.action, object_kind="drill", object_id=begun.drill_id, detail=_detail(source, region)
            ),
            by=act,
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


def _detail(source: From, region: str) -> str:
    return "" if source == "peers" else f"cloud {region}".strip()
