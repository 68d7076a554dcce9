"""A new generation of the cloud tier's key, for API and page alike: recorded in the catalog with who asked for it, then told to the replicator."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.errors import Unavailable
from appliance.management.audit import Act
from appliance.management.tier_key import SETTING, check_sealing, next_generation
from storage.catalog import Catalog
from ui.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """Attributes: is_in_use: this box seals with it already; else as soon as its replicator is there."""

    generation: int
    is_in_use: bool


async def rotate(services: Services, act: Act) -> Rotated:
    """Begin a generation: it seals what this site's boxes put into the cloud from now on. What lies there stays readable.

    Raises:
        NotFound: `tier_missing`. Conflict: `tier_not_sealed`, `tier_key_generations`.
    """
    config = services.config
    check_sealing(len(config.tier_region), is_sealed=config.tier.encrypt == "on")

    def write(catalog: Catalog) -> int:
        found = next_generation(config.tier.key_generation, catalog.get_setting(SETTING))
        catalog.set_setting(SETTING, found)
        catalog.note(act.action, object_kind="tier_key", object_id=str(found))
        return found

    generation = await services.catalog.write(write, by=act)
    try:
        said = await services.seal_with(generation)
    except Unavailable:
        return Rotated(generation=generation, is_in_use=False)  # it is told when it is there
    return Rotated(generation=generation, is_in_use=said.get("generation") == generation)
